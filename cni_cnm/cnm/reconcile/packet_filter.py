"""Our tables, their rules and elements, and the accepts in other programs' firewalls."""

from __future__ import annotations

from cni_cnm.cnm.endpoint import locked_endpoint
from cni_cnm.cnm.packet_filter import (
    enforce,
    firewall_reconcile,
    firewall_state,
    foreign_accepts,
    ownerless_elements,
)
from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.cnm.records import PENDING, load_endpoint, network_records
from cni_cnm.errors import DamagedRecord
from cni_cnm.firewall import isolation
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.packet_filter.firewall_state import State
    from cni_cnm.cnm.reconcile.changed import Changed

_LOCK_S = 10.0
"""A request that holds an endpoint longer than this waits for something else than the packet filter."""
_OBJECT = "the packet filter"
TABLES, ACCEPTS, OWNERLESS, FOREIGN, MISSING = "tables", "accepts", "ownerless", "foreign", "missing "
"""Keys. The last one is followed by owners of elements, as digits of their ids with spaces between; none: of all."""


def compare(host: Host, changed: Changed) -> Iterator[Difference]:
    change = changed.packet_filter
    if change.rules:
        yield from _recorded(host, anew=change.hooks)
    if change.broken or change.owners:
        yield from _missing(host, None if change.broken else change.owners)
    if change.added and (owners := ownerless_elements.find(host)):
        yield Difference(_OBJECT, f"{len(owners)} owners of elements do not exist", OWNERLESS)
    if changed.bridges or change.broken or isolation.FOREIGN in change.owners:
        yield Difference(_OBJECT, "", FOREIGN)


def repair(host: Host, difference: Difference) -> str:
    key = difference.key
    if key in (TABLES, ACCEPTS):
        enforce.ensure(host, anew=True)
        _put_back_pending(host)
        return "put back" if difference.found else ""
    if key == OWNERLESS:
        gone = ownerless_elements.remove(host)
        return f"removed their elements: {', '.join(gone)}" if gone else ""
    if key == FOREIGN:
        firewall_reconcile.put_foreign_bridges(host)
        return ""  # other programs' bridges came or went: nothing was missing
    owners = key.removeprefix(MISSING).split()
    found = firewall_reconcile.put_back_missing(host, owners or None)
    _put_back_pending(host)
    return "put back" if found else ""


def _put_back_pending(host: Host) -> None:
    """Endpoints that a request is about to finish: their elements may have been removed before they are on record."""
    for name in [one for one in host.store.names(ENDPOINTS) if _is_pending(host, one)]:
        with locked_endpoint.lock(host, name, timeout_s=_LOCK_S):
            pass  # the request has ended
        firewall_reconcile.put_back_missing(host, [name[:12]])


def _is_pending(host: Host, name: str) -> bool:
    try:
        record = load_endpoint(host.store, name)
    except DamagedRecord:
        return False
    return record is not None and record.state == PENDING and record.epoch == host.epoch


def _recorded(host: Host, *, anew: bool) -> Iterator[Difference]:
    """Differences from the recorded state. `anew`: look also if there is none."""
    state = firewall_state.load(host)
    if state.epoch == host.epoch and not firewall_state.is_intact(host, state):
        yield Difference(_OBJECT, "tables or rules are missing", TABLES)
    elif anew or not foreign_accepts.are_current(host, state):
        yield Difference(_OBJECT, ", ".join(_lacking_accepts(host, state)), ACCEPTS)


def _lacking_accepts(host: Host, state: State) -> list[str]:
    """Of networks that have had one."""
    policies = [(record.id, record.policy) for record in network_records(host.store) if record.id in state.accepted]
    found = (foreign_accepts.missing(host, key, policy) for key, policy in policies)
    return [sentence for sentence in found if sentence]


def _missing(host: Host, owners: Collection[str] | None) -> Iterator[Difference]:
    for missing in firewall_reconcile.find_missing(host, owners):
        if missing.sentence:
            key = MISSING + " ".join(sorted(missing.owners))
            yield Difference(_OBJECT, missing.sentence, key)
