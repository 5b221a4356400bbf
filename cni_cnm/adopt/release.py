"""Leaves a network to the reference plugins again, in place: what was taken over, and what was made since.

    state on disk ──► each attachment: the plugins' rules and limits ──► the runtime's file ──► each attachment:
    libcni's file, then elements and record are removed ──► once more, for what was made meanwhile ──► the network

As take_over.py in the other direction. The packet filter of both stands at once for a moment.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager

from cni_cnm import text_file
from cni_cnm.adopt import adoption, deleted, fused, one_attachment
from cni_cnm.adopt.adoption import RELEASED
from cni_cnm.adopt.look import Look
from cni_cnm.adopt.owners import UNKNOWN
from cni_cnm.cnm.endpoint import locked_endpoint
from cni_cnm.cnm.network.delete_network import endpoints_of, remove_network
from cni_cnm.cnm.records import READY as READY_RECORD
from cni_cnm.cnm.records import endpoint_records, load_endpoint, load_network
from cni_cnm.conflists import folder
from cni_cnm.conflists.conflist import parse
from cni_cnm.errors import CnmError, Conflict, Forbidden, IoFailed, NotFound, file_hint
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.reference import cache, host_rules
from cni_cnm.reference.configuration import IPTABLES
from cni_cnm.reference.forms import as_older_portmap
from cni_cnm.state.store import ADOPT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.adopt.adoption import Adoption
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.reference.attachment import Attachment
    from cni_cnm.reference.cache import Cached

_ROUNDS = 20
PAUSE_S = 0.3
"""A runtime has read its file, and has not called yet."""
_SETTLED_S, _LOOK_AGAIN_S = 5.0, 0.1
READY, REFUSED = "ready", "refused"


class Return(NamedTuple):
    """One endpoint of the network."""

    record: EndpointRecord
    reason: str = ""
    """Why the reference plugins cannot have it, a clause; "" if they can."""
    attachment: Attachment | None = None
    """As the plugins would have made it."""
    passing: bool = False
    """The reason may be gone in a moment: a runtime is making it, or deleting it."""


class Plan(NamedTuple):
    state: Adoption
    edited: str
    """`edited`: the runtime's file has this program's entry, and not as it was written. `removed`; else ""."""
    returns: Sequence[Return]

    @property
    def network(self) -> str:
        return self.state.network


def make(host: Host, network: str) -> Plan:
    """NotFound if the network was not taken over."""
    state = adoption.load(host.store, network)
    if state is None:
        raise NotFound(
            f"the network {network} was not taken over from the reference plugins",
            hint="`cni-cnm network ls` lists all networks; one that was made here cannot be released",
        )
    return Plan(state, _edited(state), list(_returns(host, state)))


def changes(plan: Plan) -> Iterator[str]:
    """A sentence for each file and each table that is changed."""
    number = len(plan.returns)
    some = "1 attachment" if number == 1 else f"{number} attachments"
    yield f"{plan.state.path}: what it had before the network was taken over"
    if number:
        yield f"{plan.state.cache}: the configuration of the plugins in the files of {some}"
        yield f"packet filter: the rules of the plugins in the place of cni-cnm's, for {some}"
    yield f"{plan.network}: cni-cnm forgets the network; its bridge stays"


def release(host: Host, network: str, *, discard_edit: bool = False) -> None:
    """The caller holds the adoption's lock.

    Raises:
        NotFound: the network was not taken over.
        Forbidden: the plugins cannot have one of the endpoints. Nothing is changed then.
        Conflict: the runtime's file was edited, and `discard_edit` is false.
        Unfinished: containers come faster than they are released.
    """
    earlier = adoption.load(host.store, network)
    if earlier is not None:
        deleted.remove_rest(host, earlier)
    plan = _settled(host, network)
    if plan.edited and not discard_edit:
        raise Conflict(
            f"{plan.state.path} was {plan.edited} since the network {network} was taken over",
            hint="--discard-edit puts back what it had before; keep a copy of it if you need the edit",
        )
    for _ in range(_ROUNDS):
        state = _begin(host, plan)
        with _locked(host, plan.returns):
            ready = [one for one in plan.returns if load_endpoint(host.store, one.record.id) == one.record]
            for one in ready:
                # Without a link it was deleted, or is being: the plugins' DEL has nothing to remove then.
                if one.attachment is not None and host.stack.link(one.record.host_ifname) is not None:
                    one_attachment.write_rules(host, one.attachment)
            if discard_edit or _content(state.path) == state.after:
                _put_file_back(state)
            for one in ready:
                _hand_over(host, state, one)
        time.sleep(PAUSE_S)
        deleted.remove_rest(host, state)
        plan = _settled(host, network)
        if not plan.returns and _forget_network(host, network):
            _restore_cached(state)
            host.store.delete(ADOPT, network)
            return
    raise adoption.unfinished(plan.state)


def _settled(host: Host, network: str) -> Plan:
    """Waits for what a runtime is making or deleting. Forbidden if the plugins cannot have one of the endpoints."""
    deadline = time.monotonic() + _SETTLED_S
    while True:
        plan = make(host, network)
        refused = [one for one in plan.returns if one.reason]
        if not refused:
            return plan
        if time.monotonic() > deadline or not all(one.passing for one in refused):
            raise Forbidden(
                f"the reference plugins cannot have {refused[0].record.shown}: {refused[0].reason}",
                hint="remove that endpoint, then release the network",
            )
        time.sleep(_LOOK_AGAIN_S)


def _begin(host: Host, plan: Plan) -> Adoption:
    """The intent, on the disk before anything is changed, with libcni's file of each as it is going to be."""
    files = {one.record.id: cache.render(one.attachment.cached) for one in plan.returns if one.attachment is not None}
    state = plan.state._replace(way=RELEASED, done=False, cached={**plan.state.cached, **files})
    state.save(host)
    return state


def _returns(host: Host, state: Adoption) -> Iterator[Return]:
    network = load_network(host.store, state.network)
    if network is None:
        return
    look, seen = Look(host, network, state.cache, lambda _: UNKNOWN), host_rules.read()
    used: set[str] = set()
    for record in endpoint_records(host.store):
        if record.network_id != network.id or record.epoch != host.epoch or deleted.is_deleted(host, state, record):
            continue
        found = _wanted(look, state, record, seen)
        if record.container_id in used and _is_named_by_container(found.attachment):
            twice = "its container has another interface on this network, and their rules would have one name"
            found = Return(record, twice)
        used.add(record.container_id)
        yield found


def _is_named_by_container(made: Attachment | None) -> bool:
    """Whether the names of its rules say nothing of the interface. In nftables they do."""
    return made is not None and IPTABLES in (made.masquerade, made.ports)


def _wanted(look: Look, state: Adoption, record: EndpointRecord, seen: host_rules.HostRules) -> Return:
    if record.docker_network:
        return Return(record, "it is of a container of Docker")
    if record.state != READY_RECORD and record.id not in state.cached:  # else a killed run has written it
        return Return(record, "it is unfinished: DEL it", passing=True)
    try:
        cached = look.cached(record.key)
        if cached is None:
            why = "libcni's cache does not know it, so no runtime would delete it with the plugins"
            return Return(record, why, passing=True)
        attachment = look.attachment(_as_before(state, record, cached), seen)
    except CnmError as error:  # a link that vanishes while it is looked at
        return Return(record, error.msg, passing=True)
    if attachment.configuration.not_understood:
        return Return(record, attachment.configuration.not_understood[0])
    return Return(record, "", one_attachment.as_made_by_plugins(_with_forms(attachment, state, seen), record))


def _with_forms(found: Attachment, state: Adoption, seen: host_rules.HostRules) -> Attachment:
    """Masquerade and ports as the plugins had them when the network was taken over, else as they are asked for."""
    bridge, portmap = found.configuration.bridge, found.configuration.portmap
    forms = state.forms or ("", "")
    if found.masquerade and bridge is not None:
        found = found._replace(masquerade=forms[0] or bridge.backend or found.masquerade)
    if found.ports and portmap is not None:
        found = found._replace(ports=forms[1] or portmap.backend or found.ports)
        if state.older_portmap:
            found = as_older_portmap(found, seen)
    return found


def _as_before(state: Adoption, record: EndpointRecord, cached: Cached) -> Cached:
    """libcni's file with the configuration that the attachment was made with, or the one before for a newer one."""
    original = state.cached.get(record.id)
    if original is not None:
        return cached._replace(config=cache.parse(original).config)
    return cached._replace(config=state.before) if fused.is_ours(cached.config) else cached


@contextmanager
def _locked(host: Host, returns: Sequence[Return]) -> Iterator[None]:
    """ADD and DEL of these endpoints wait until the plugins have all of it.

    A DEL of this program between the two steps would leave the plugins' rules: it does not know of them.
    """
    with ExitStack() as locks:
        for identity in sorted(one.record.id for one in returns):
            locks.enter_context(locked_endpoint.lock(host, identity))
        yield


def _hand_over(host: Host, state: Adoption, one: Return) -> None:
    """libcni's file, then elements and record."""
    if one.attachment is not None and os.path.exists(cache.path(one.record.key, state.cache)):
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


def _forget_network(host: Host, name: str) -> bool:
    """False if an endpoint has come. The bridge stays: the plugins need it."""
    with host.store.lock(f"network/{name}"):
        network = load_network(host.store, name)
        if network is None:
            return True
        if any(True for _ in endpoints_of(host, network)):
            return False
        remove_network(host, network._replace(owns_data_path=False))
        return True


def _edited(state: Adoption) -> str:
    content = _content(state.path)
    if content in (state.before, state.after):
        return ""
    if not content:
        return "removed"
    try:
        return "edited" if parse(state.path, content).ours is not None else ""
    except CnmError:
        return "edited"


def _put_file_back(state: Adoption) -> None:
    if os.path.exists(state.path):
        folder.replace(state.path, state.before)
    else:
        folder.create(state.path, state.before)


def _content(path: str) -> bytes:
    try:
        return text_file.read(path)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise IoFailed(f"{path} cannot be read: {error.strerror}", hint=file_hint(error)) from error
