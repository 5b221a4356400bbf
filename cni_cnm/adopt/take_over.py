"""Takes a network over from the reference plugins, in place.

    state on disk ──► each attachment: record, elements ──► the runtime's file ──► each attachment: libcni's file, then
    the plugins' rules are removed ──► once more, for what was made or deleted meanwhile ──► done

Both sets of rules stand at once for a moment and do the same, so no packet is lost. Connections keep what the kernel
tracks of them. Each step can be repeated: a second run goes on where a killed one stopped.
"""

from __future__ import annotations

import time

from cni_cnm import text_file
from cni_cnm.adopt import adoption, deleted, fused, isolation, one_attachment, release
from cni_cnm.adopt import plan as plans
from cni_cnm.adopt.adoption import TAKEN, Adoption
from cni_cnm.adopt.look import LEFT
from cni_cnm.adopt.look import READY as NOT_YET
from cni_cnm.adopt.look import TAKEN as TAKEN_OVER
from cni_cnm.cnm.endpoint import locked_endpoint
from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
from cni_cnm.cnm.network.ensure_network import ensure_network
from cni_cnm.cnm.records import load_endpoint
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.conflists import folder
from cni_cnm.errors import CnmError, Conflict, IoFailed
from cni_cnm.reference import cache, host_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.adopt.look import Look, Pod
    from cni_cnm.adopt.plan import Plan
    from cni_cnm.cnm.host import Host
    from cni_cnm.reference.host_rules import HostRules

_ROUNDS = 5
"""A runtime that has not read its new file yet makes containers the old way for a moment."""


def take_over(host: Host, plan: Plan) -> list[str]:
    """Returns what was left alone although it was ready before, a sentence each. The caller holds the adoption's lock.

    The attachments are looked at again: those of the plan may be of some time ago.

    A failure is undone, unless the network was this program's before. Conflict if the runtime's file was edited
    meanwhile.
    """
    earlier = adoption.load(host.store, plan.network)
    if earlier is None:
        isolation.require_same_reach(host, plan.look.network)
    try:
        if earlier is not None:
            deleted.remove_rest(host, earlier)
        return _take_over(host, plans.again(host, plan))
    except CnmError as error:
        if earlier is None or not earlier.done:
            try:
                release.release(host, plan.network)
            except CnmError as second:
                error.add_note(f"while undoing: {second}")
        raise


def _take_over(host: Host, plan: Plan) -> list[str]:
    look, state, notes = plan.look, _begin(host, plan), list[str]()
    ensure_network(host, plan.configured, Rollback())
    refused: set[str] = set()
    for _ in range(_ROUNDS):
        ours = [pod for pod in plan.pods if pod.state != LEFT]
        seen = host_rules.read()  # once: to read them costs more than the rest
        for pod in ours:
            if why := _stand(host, pod, look, seen):
                refused.add(pod.key.id)
                notes.append(f"{pod.shown} is left alone: {why}")
        _write_conflist(state)
        seen = host_rules.read()  # each attachment's rules change only by its own removal
        for pod in ours:
            if pod.key.id not in refused:
                _hand_over(host, state, pod, look, seen)
        time.sleep(release.PAUSE_S)
        plan = plans.again(host, plan)
        new = [pod for pod in plan.pods if pod.state == NOT_YET and pod.key.id not in refused]
        state = _remember(host, state, plan, refused)
        if not new:
            break
    if all(pod.state == TAKEN_OVER for pod in plan.pods):
        isolation.remove_rules(look.network.policy.bridge, look.folder)
    state._replace(done=True).save(host)
    return notes


def _begin(host: Host, plan: Plan) -> Adoption:
    """The intent, on the disk before anything is changed."""
    earlier = adoption.load(host.store, plan.network)
    state = Adoption(plan.network, TAKEN, False, plan.conflist.path, plan.before, plan.after, plan.look.folder)
    if earlier is not None:
        state = state._replace(cached=earlier.cached, forms=earlier.forms, older_portmap=earlier.older_portmap)
    return _remember(host, state, plan, frozenset())


def _remember(host: Host, state: Adoption, plan: Plan, refused: frozenset[str] | set[str]) -> Adoption:
    """With libcni's file of each attachment, as it was before."""
    cached, forms, older = dict(state.cached), state.forms, state.older_portmap
    for pod in plan.pods:
        if pod.key.id in refused:
            cached.pop(pod.key.id, None)
        elif pod.cached is not None and pod.state != LEFT and not fused.is_ours(pod.cached.config):
            cached[pod.key.id] = cache.render(pod.cached)
        if pod.attachment is not None:
            found = (pod.attachment.masquerade, pod.attachment.ports)
            forms = tuple(old or new for old, new in zip(forms or ("", ""), found, strict=True))
            older |= pod.attachment.older_portmap
    changed = state._replace(cached=cached, forms=forms, older_portmap=older)
    changed.save(host)
    return changed


def _stand(host: Host, pod: Pod, look: Look, seen: HostRules) -> str:
    """The record and the elements of an attachment. Looks at it again before that. Why it is left alone; "" if not.

    ADD and DEL of this endpoint wait meanwhile, where they are this program's.
    """
    with locked_endpoint.lock(host, pod.key.id):
        now = look.once_more(pod.key, seen)
        if now is None:
            return "it was deleted meanwhile"
        if now.state == TAKEN_OVER:
            return ""
        if now.living is None:
            return now.reason
        try:
            one_attachment.record(host, now.living)
        except CnmError as error:
            return error.msg
        return ""


def _write_conflist(state: Adoption) -> None:
    try:
        now = text_file.read(state.path)
    except OSError as error:
        raise IoFailed(f"{state.path} cannot be read: {error.strerror}") from error
    if now == state.after:
        return
    if now != state.before:
        raise Conflict(
            f"{state.path} was edited while the network {state.network} was taken over",
            hint="adopt it again when the edit is finished",
        )
    folder.replace(state.path, state.after)


def _hand_over(host: Host, state: Adoption, pod: Pod, look: Look, seen: HostRules) -> None:
    """libcni's file, then the plugins' rules. An attachment that was deleted meanwhile is taken down.

    One that the plugins have made again meanwhile stays as it is: it is looked at in the next round.
    """
    with locked_endpoint.lock(host, pod.key.id):
        made = load_endpoint(host.store, pod.key.id)
        cached = look.cached(pod.key)
        if cached is None and made is not None:  # deleted by the plugins, with their configuration
            deleted.take_down(LockedEndpoint(host, made))
        if cached is not None and made is not None and not fused.is_ours(cached.config):
            if not look.is_of(made, cached):
                return
            cache.write(cached._replace(config=state.after), state.cache)
        original = state.cached.get(pod.key.id)
        if original is not None:
            before = cache.parse(original)
            one_attachment.remove_rules(look.attachment(before, seen), seen)
            if cached is not None and cached.result != before.result:  # made again since, with another address
                again = look.attachment(before._replace(result=cached.result), seen)
                one_attachment.remove_rules(again, host_rules.read())
