"""Keeps the packet filter as the records say: rules and elements that another program removed are put back.

repair             an ADD found a difference from the recorded state (enforce.py)
put_back_missing   the kernel has reported what another program removed: every element is compared
"""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import (
    endpoint_elements,
    firewall_state,
    foreign_accepts,
    foreign_bridges,
    hairpin_rules,
    network_elements,
    ownerless_elements,
    restore_elements,
)
from cni_cnm.cnm.packet_filter.firewall_state import HAIRPIN_RULES
from cni_cnm.cnm.packet_filter.restore_elements import Missing
from cni_cnm.cnm.records import READY, damaged_networks, load_endpoint, network_records
from cni_cnm.errors import DamagedRecord
from cni_cnm.firewall import reflection
from cni_cnm.kernel import Transaction
from cni_cnm.model import digest
from cni_cnm.state.record_reader import note
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.packet_filter.firewall_state import State
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.firewall import Accepted, Policy
    from cni_cnm.model import Json

_BATCH = 500
"""Endpoints in one transaction."""


def repair(host: Host, state: State, more: Mapping[str, Policy]) -> State:
    """Restore all tables if they are not intact, then all accepts. `more`: policies of keys not recorded yet.

    The caller holds the lock.
    """
    chains, declared, before = state.chains, state.declared, state.accepted
    if firewall_state.is_intact(host, state):
        alone = _of_live_endpoints(host, state.accepted)
    else:
        chains, alone = _restore(host)
        declared, state = (), firewall_state.State()
        ownerless_elements.remove_locked(host)
    policies = {record.id: record.policy for record in network_records(host.store)} | dict(more)
    if not declared and any(one.unicast_hairpin for one in policies.values()) and not hairpin_rules.declare(host):
        declared = (HAIRPIN_RULES,)
    unknown = [digest(name) for name in damaged_networks(host.store)]
    isolates = bool(unknown) or any(policy.isolates for policy in policies.values())
    state = foreign_bridges.put_all(host, state, isolates=isolates)
    accepted = {key: foreign_accepts.accept_of(key, policy) for key, policy in policies.items() if policy.bridge}
    kept = {key: foreign_accepts.from_json(before[key]) for key in unknown if key in before}
    accepted = {**alone, **kept, **accepted}
    stamp, watched, obstacles = foreign_accepts.put_all(host, list(accepted.values()))
    recorded = {key: foreign_accepts.to_json(accept) for key, accept in accepted.items()}
    state = state._replace(foreign_stamp=stamp, watched=watched, accepted=recorded, obstacles=obstacles)
    return firewall_state.store(host, state, chains, declared)


def find_missing(host: Host, owners: Collection[str] | None = None) -> Iterator[Missing]:
    """Rules and elements that are missing, also where the recorded state shows no difference. Writes nothing.

    `owners`: only theirs, by the first 12 digits of networks' and endpoints' ids. None: all.
    """
    if _concerns_networks(host, owners):
        yield restore_elements.find_missing(host.nft, network_elements.elements_of_all(host))
    for records in _batches(host, owners):
        yield restore_elements.find_missing(host.nft, endpoint_elements.of_endpoints(records))
    if owners is None:
        yield _missing_hairpin_rules(host)


def put_back_missing(host: Host, owners: Collection[str] | None = None) -> Sequence[str]:
    """Put them back. Returns what was missing, a phrase for each part."""
    found = []
    with firewall_state.lock(host):
        if _concerns_networks(host, owners):
            found.append(restore_elements.put_back_missing(host.nft, network_elements.elements_of_all(host), ()))
    names = list(_endpoints(host, owners))
    for start in range(0, len(names), _BATCH):
        with firewall_state.lock(host):
            records = [record for name in names[start : start + _BATCH] if (record := _load_ready(host, name))]
            found.append(restore_elements.put_back_missing(host.nft, endpoint_elements.of_endpoints(records), records))
    if owners is None:
        with firewall_state.lock(host):
            missing = _missing_hairpin_rules(host)
            if missing.sentence:
                restore_elements.put_back(host.nft, missing.transaction, ())
            found.append(missing.sentence)
    return [phrase for phrase in found if phrase]


def put_foreign_bridges(host: Host) -> None:
    """For the service, which is told of links, addresses and routes: compare all of it, and put the difference."""
    with firewall_state.lock(host):
        state = firewall_state.load(host)
        if state.epoch != host.epoch:  # the next ADD does it with everything else
            return
        isolates = any(record.policy.isolates for record in network_records(host.store))
        isolates = isolates or bool(damaged_networks(host.store))
        found = foreign_bridges.put_all(host, state, isolates=isolates)
        if found == state:
            return
        firewall_state.store(host, found, found.chains, found.declared)
        # A network may have been made since its bridge was taken for foreign. One that is recorded only after this look
        # finds its bridge in the state, and puts it right itself (enforce.py).
        if any(record.policy.bridge in found.foreign for record in network_records(host.store)):
            found = foreign_bridges.put_all(host, found, isolates=isolates)
            firewall_state.store(host, found, found.chains, found.declared)


def _missing_hairpin_rules(host: Host) -> Missing:
    """Of those that were written, while a network needs them. They belong to no owner of elements."""
    needed = any(record.policy.unicast_hairpin for record in network_records(host.store))
    if not needed or HAIRPIN_RULES not in firewall_state.load(host).declared:
        return Missing()
    rules = restore_elements.missing_rules(host.nft, reflection.DECLARE)
    return Missing(Transaction(reflection.DECLARE), tuple(rules))


def _concerns_networks(host: Host, owners: Collection[str] | None) -> bool:
    return owners is None or any(record.id[:12] in owners for record in network_records(host.store))


def _endpoints(host: Host, owners: Collection[str] | None) -> Iterator[str]:
    return (name for name in host.store.names(ENDPOINTS) if owners is None or name[:12] in owners)


def _batches(host: Host, owners: Collection[str] | None = None) -> Iterator[list[EndpointRecord]]:
    """Ready endpoints, some at a time."""
    records: list[EndpointRecord] = []
    for name in _endpoints(host, owners):
        if (record := _load_ready(host, name)) is not None:
            records.append(record)
        if len(records) == _BATCH:
            yield records
            records = []
    yield records


def _of_live_endpoints(host: Host, recorded: Mapping[str, Json]) -> Mapping[str, Accepted]:
    """Of the recorded accepts those of endpoints alone on their links that still exist."""
    there = (key for key in recorded if host.store.has(ENDPOINTS, key))
    return {key: foreign_accepts.from_json(recorded[key]) for key in there}


def _restore(host: Host) -> tuple[tuple[str, ...], dict[str, Accepted]]:
    """Put in every network's and every ready endpoint's elements again.

    Returns the chains with a hook, and the accepts of endpoints alone on their links.
    """
    chains: dict[str, None] = {}
    alone: dict[str, Accepted] = {}
    for transaction, records in _parts(host):
        policies = [(record.id, record.policy) for record in records]
        alone.update((key, foreign_accepts.accept_of(key, one)) for key, one in policies if one.alone and one.bridge)
        if transaction.put or transaction.claim:
            restore_elements.put_back(host.nft, transaction, records)
            chains.update(dict.fromkeys(firewall_state.base_chains(transaction.declare)))
    return tuple(chains), alone


def _parts(host: Host) -> Iterator[tuple[Transaction, Sequence[EndpointRecord]]]:
    yield network_elements.elements_of_all(host), ()
    for records in _batches(host):
        yield endpoint_elements.of_endpoints(records), records


def _load_ready(host: Host, endpoint_id: str) -> EndpointRecord | None:
    try:
        record = load_endpoint(host.store, endpoint_id)
    except DamagedRecord as error:
        note(error)
        return None
    return record if record and record.state == READY and record.epoch == host.epoch else None
