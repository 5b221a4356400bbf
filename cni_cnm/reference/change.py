"""Puts the reference's form of an attachment back, or removes it: packet filter, rate limits, tuning's saved state.

    write()     what is missing is made, in the reference's order; with nothing missing it changes nothing
    remove()    what is this attachment's is removed; what other pods need stays

iptables' programs make one transaction for each family, nft makes one for all its tables. If a step fails, those before
it are undone. libcni's cache and leases stay as they are.
"""

from __future__ import annotations

from cni_cnm.errors import CnmError, Conflict, KernelFeatureMissing
from cni_cnm.kernel import iptables, nft_text
from cni_cnm.reference import compare, host_rules, limits, names, saved_tuning
from cni_cnm.reference.plan import plan, without
from cni_cnm.reference.rules import isolation_of, rules_of, shared_rules_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cni_cnm.kernel import Stack
    from cni_cnm.reference.attachment import Attachment
    from cni_cnm.reference.plan import Plan
    from cni_cnm.reference.rule import Rule

_TRIES = 5
"""Other programs change the packet filter at the same time."""


def write(attachment: Attachment, stack: Stack) -> None:
    """`stack` is the host's, whose network namespace the calling thread is in. Conflict, KernelError, IoFailed."""
    require_understood(attachment)
    undo: list[Callable[[], None]] = []
    try:
        before = _own_now(attachment)
        undo.append(lambda: _apply(attachment, before, ()))
        write_rules(attachment)
        if attachment.limits is not None:
            found = limits.read(stack, attachment.host_link, names.ifb(attachment.key))
            if found != attachment.limits:
                undo.append(lambda: _limits_as(stack, attachment, found))
                limits.write(stack, attachment.limits)
        if attachment.tuning is not None:
            saved_tuning.write(_saved_place(attachment), attachment.tuning)
    except BaseException:
        _undo(undo)
        raise


def remove(attachment: Attachment, stack: Stack) -> None:
    """As `write`. No error for what is absent."""
    require_understood(attachment)
    undo: list[Callable[[], None]] = []
    try:
        before = _own_now(attachment)
        undo.append(lambda: _apply(attachment, before, shared_rules_of(attachment)))
        remove_rules(attachment)
        if attachment.limits is not None:
            undo.append(lambda: limits.write(stack, attachment.limits) if attachment.limits else None)
            limits.remove(stack, attachment.limits)
        if attachment.tuning is not None:
            saved_tuning.remove(_saved_place(attachment))
    except BaseException:
        _undo(undo)
        raise


def write_rules(attachment: Attachment) -> None:
    """Only the packet filter."""
    require_understood(attachment)
    _apply(attachment, rules_of(attachment), shared_rules_of(attachment))


def remove_rules(attachment: Attachment, seen: host_rules.HostRules | None = None) -> None:
    """Only the packet filter. The shared rules and chains stay, as after the reference's DEL.

    `seen`: what was read a moment ago, for many attachments. It is read again where it has changed since.
    """
    require_understood(attachment)
    if seen is not None:
        try:
            _change(plan(attachment, (), (), seen))
            return
        except CnmError:
            pass  # another program has removed one of them
    _apply(attachment, (), ())


def remove_isolation(bridge: str) -> None:
    """Remove the rules of a bridge that keep other bridges out (`ingressPolicy`). `write` puts them back.

    The plugins never remove them. For a bridge on which no attachment is theirs any more.
    """
    rules = isolation_of(bridge)
    _until_done(lambda: without(rules, host_rules.read()), f"the isolation of {bridge}")


def require_understood(attachment: Attachment) -> None:
    """Conflict with the first reason."""
    if attachment.not_understood:
        name = f"{attachment.key.ifname} of the container {attachment.key.container_id}"
        raise Conflict(f"{name} is not as the reference plugins make it: {attachment.not_understood[0]}")


def _apply(attachment: Attachment, own: Sequence[Rule], shared: Sequence[Rule]) -> None:
    name = f"the rules of the container {attachment.key.container_id}"
    _until_done(lambda: plan(attachment, own, shared, host_rules.read()), name)


def _until_done(make_plan: Callable[[], Plan], name: str) -> None:
    """Read, plan and change, again as long as another program changes what was read."""
    before = None
    for _ in range(_TRIES):
        wanted = make_plan()
        if not wanted:
            return
        try:
            _change(wanted)
        except CnmError:
            if wanted == before:  # no other program has changed it: it is refused as it is
                raise
            before = wanted
    if make_plan():
        raise Conflict(
            f"{name} cannot be changed",
            hint="another program changes the packet filter all the time: stop it, or try again",
        )


def _change(wanted: Plan) -> None:
    for program, script in wanted.scripts:
        if not iptables.restore(program, script):
            raise KernelFeatureMissing(f"{program}-restore is not installed", hint="install iptables")
    if wanted.nft:
        nft_text.run(wanted.nft)


def _own_now(attachment: Attachment) -> tuple[Rule, ...]:
    return tuple(found.rule for found in compare.own_rules(attachment, host_rules.read()))


def _limits_as(stack: Stack, attachment: Attachment, before: limits.Limits | None) -> None:
    if attachment.limits is not None:
        limits.remove(stack, attachment.limits)
    if before is not None:
        limits.write(stack, before)


def _saved_place(attachment: Attachment) -> str:
    tuning = attachment.configuration.tuning
    assert tuning is not None
    return saved_tuning.path(attachment.key, tuning.data_dir)


def _undo(steps: list[Callable[[], None]]) -> None:
    """In reverse order. What cannot be undone is left; the error that is raised names the cause."""
    for step in reversed(steps):
        try:
            step()
        except CnmError:
            continue
