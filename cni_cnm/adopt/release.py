"""Leaves a network to the reference plugins again, in place: what was taken over, and what was made since.

    state on disk ──► each attachment: the plugins' rules and limits ──► the runtime's file ──► each attachment:
    libcni's file, then elements and record are removed ──► once more, for what was made meanwhile ──► the network

As take_over.py in the other direction. The packet filter of both stands at once for a moment.
"""

from __future__ import annotations

from contextlib import ExitStack

from cni_cnm import text_file
from cni_cnm.adopt import adoption, fused, one_attachment
from cni_cnm.adopt.adoption import RELEASED
from cni_cnm.adopt.look import Look
from cni_cnm.adopt.owners import UNKNOWN
from cni_cnm.cnm.endpoint import locked_endpoint
from cni_cnm.cnm.network.delete_network import remove_network
from cni_cnm.cnm.records import READY as READY_RECORD
from cni_cnm.cnm.records import endpoint_records, load_endpoint, load_network
from cni_cnm.conflists import folder
from cni_cnm.conflists.conflist import parse
from cni_cnm.errors import CnmError, Conflict, Forbidden, IoFailed, NotFound, root_hint
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.reference import cache, host_rules
from cni_cnm.state.store import ADOPT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.adopt.adoption import Adoption
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.reference.attachment import Attachment
    from cni_cnm.reference.cache import Cached

_ROUNDS = 5
READY, REFUSED = "ready", "refused"


class Return(NamedTuple):
    """One endpoint of the network."""

    record: EndpointRecord
    reason: str = ""
    """Why the reference plugins cannot have it, a clause; "" if they can."""
    attachment: Attachment | None = None
    """As the plugins would have made it."""


class Plan(NamedTuple):
    state: Adoption
    edited: bool
    """The runtime's file has this program's entry, and not as it was written."""
    returns: Sequence[Return]

    @property
    def network(self) -> str:
        return self.state.network


def make(host: Host, network: str) -> Plan:
    """NotFound if the network was not taken over."""
    state = adoption.load(host.store, network)
    if state is None:
        raise NotFound(f"the network {network} was not taken over from the reference plugins")
    return Plan(state, _is_edited(state), list(_returns(host, state)))


def changes(plan: Plan) -> Iterator[str]:
    """A sentence for each file and each table that is changed."""
    number = len(plan.returns)
    some = "1 attachment" if number == 1 else f"{number} attachments"
    yield f"{plan.state.path}: what it had before the network was taken over"
    if number:
        yield f"{plan.state.cache}: the configuration of the plugins in the files of {some}"
        yield f"packet filter: the rules of the plugins in the place of cni-cnm's, for {some}"
    yield f"{plan.network}: cni-cnm forgets the network; its bridge stays"


def release(host: Host, plan: Plan, *, discard_edit: bool = False) -> None:
    """The caller holds the adoption's lock.

    Raises:
        Forbidden: the plugins cannot have one of the endpoints. Nothing is changed then.
        Conflict: the runtime's file was edited, and `discard_edit` is false.
    """
    for one in plan.returns:
        if one.reason:
            raise Forbidden(
                f"the reference plugins cannot have {one.record.shown}: {one.reason}",
                hint="remove that endpoint, then release the network",
            )
    if plan.edited and not discard_edit:
        raise Conflict(
            f"{plan.state.path} was edited since the network {plan.network} was taken over",
            hint="--discard-edit puts back what it had before; keep a copy of it if you need the edit",
        )
    state = plan.state._replace(way=RELEASED, done=False)
    state.save(host)
    for _ in range(_ROUNDS):
        with ExitStack() as locks:
            for one in sorted(plan.returns, key=lambda one: one.record.id):
                locks.enter_context(locked_endpoint.lock(host, one.record.id))
            ready = [one for one in plan.returns if load_endpoint(host.store, one.record.id) == one.record]
            for one in ready:
                if one.attachment is not None:
                    one_attachment.write_rules(host, one.attachment)
            if discard_edit or _content(state.path) == state.after:
                folder.replace(state.path, state.before)
            for one in ready:
                _hand_over(host, state, one)
        plan = make(host, plan.network)
        if not plan.returns:
            break
    _restore_cached(state)
    _forget_network(host, state.network)
    host.store.delete(ADOPT, state.network)


def _returns(host: Host, state: Adoption) -> Iterator[Return]:
    network = load_network(host.store, state.network)
    if network is None:
        return
    look, seen = Look(host, network, state.cache, lambda _: UNKNOWN), host_rules.read()
    used: set[str] = set()
    for record in endpoint_records(host.store):
        if record.network_id != network.id or record.epoch != host.epoch:
            continue
        try:
            why, attachment = _wanted(look, state, record, seen)
        except CnmError as error:
            why, attachment = error.msg, None
        if not why and record.container_id in used:
            why = "its container has another interface on this network, and their rules would have one name"
        used.add(record.container_id)
        yield Return(record, why, attachment)


def _wanted(
    look: Look, state: Adoption, record: EndpointRecord, seen: host_rules.HostRules
) -> tuple[str, Attachment | None]:
    """Why the plugins cannot have an endpoint, or it as they would have made it."""
    if record.docker_network:
        return "it is of a container of Docker", None
    if record.state != READY_RECORD and record.id not in state.cached:  # else a killed `adopt` has written it
        return "it was never finished; DEL it", None
    cached = look.cached(record.key)
    if cached is None:
        return "libcni's cache does not know it, so no runtime would delete it with the plugins", None
    attachment = look.attachment(_as_before(state, record, cached), seen)
    if attachment.configuration.not_understood:
        return attachment.configuration.not_understood[0], None
    return "", one_attachment.as_made_by_plugins(_with_forms(attachment, state), record)


def _with_forms(found: Attachment, state: Adoption) -> Attachment:
    """Masquerade and ports where the plugins had them when the network was taken over, else where they are asked to."""
    bridge, portmap = found.configuration.bridge, found.configuration.portmap
    forms = state.forms or ("", "")
    if found.masquerade and bridge is not None:
        found = found._replace(masquerade=forms[0] or bridge.backend or found.masquerade)
    if found.ports and portmap is not None:
        found = found._replace(ports=forms[1] or portmap.backend or found.ports)
    return found


def _as_before(state: Adoption, record: EndpointRecord, cached: Cached) -> Cached:
    """libcni's file with the configuration that the attachment was made with, or the one before for a newer one."""
    original = state.cached.get(record.id)
    if original is not None:
        return cached._replace(config=cache.parse(original).config)
    return cached._replace(config=state.before) if fused.is_ours(cached.config) else cached


def _hand_over(host: Host, state: Adoption, one: Return) -> None:
    if one.attachment is not None:
        cache.write(one.attachment.cached, state.cache)
    one_attachment.forget(host, one.record)
    if one.attachment is not None:
        one_attachment.remove_own_ifb(host, one.record, one.attachment)


def _restore_cached(state: Adoption) -> None:
    """Files of attachments that have no record any more, as after a reboot."""
    for cached in cache.read_all(state.cache)[0]:
        if cached.key.network == state.network and fused.is_ours(cached.config):
            original = state.cached.get(cached.key.id)
            config = cache.parse(original).config if original is not None else state.before
            cache.write(cached._replace(config=config), state.cache)


def _forget_network(host: Host, name: str) -> None:
    with host.store.lock(f"network/{name}"):
        network = load_network(host.store, name)
        if network is not None:
            remove_network(host, network._replace(owns_data_path=False))


def _is_edited(state: Adoption) -> bool:
    content = _content(state.path)
    if content in (state.before, state.after):
        return False
    try:
        return parse(state.path, content).ours is not None
    except CnmError:
        return True


def _content(path: str) -> bytes:
    try:
        return text_file.read(path)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise IoFailed(f"{path} cannot be read: {error.strerror}", hint=root_hint(error)) from error
