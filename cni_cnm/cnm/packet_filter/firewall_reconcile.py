"""Keeps the packet filter as the records say: puts back what others flushed, and is accepted where others drop.

What everything looked like when it was last well is on record (`State`). A glance at the kernel that finds it so is
all that a pod pays, 0.1 ms; any difference is put right under the lock `firewall`, for all networks and endpoints.
Whoever takes an endpoint's or a network's part out holds that lock shared until the record is gone, too: so nothing
is put back for what is on its way out.
"""

from __future__ import annotations

from typing import NamedTuple

from cni_cnm.cnm.packet_filter import endpoint_elements
from cni_cnm.cnm.records import READY, EndpointRecord, NetworkRecord
from cni_cnm.drivers import drivers
from cni_cnm.errors import CheckFailed, InvalidConfig
from cni_cnm.firewall import isolation
from cni_cnm.kernel import Transaction, merge
from cni_cnm.model import digest
from cni_cnm.state.files import ALLOWED, ENDPOINTS, FIREWALL, NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.firewall import Policy
    from cni_cnm.firewall.foreign_accept import Accepted
    from cni_cnm.kernel import Handle
    from cni_cnm.model import Json
    from cni_cnm.state.lock import Lock

_STATE = "state"
_PAIRS = "pairs"
_BATCH = 500
"""Endpoints in one transaction of a restore."""


class State(NamedTuple):
    epoch: str = ""
    tables: Mapping[str, int] = {}
    """Our tables and their handles: a table that was deleted and made again has another one."""
    chains: tuple[str, ...] = ()
    """Our chains with a hook, as `FAMILY TABLE CHAIN`."""
    declared: tuple[str, ...] = ()
    """Digests of the declarations that were run since these tables were made."""
    others: Json = ()
    """The stamp of other firewalls; `[]`: there are none."""
    watched: tuple[str, ...] = ()
    """Their chains that the stamp is of."""
    accepted: Mapping[str, Json] = {}
    """By id of the network, or of an endpoint alone on its link: what was accepted there
    (firewall/foreign_accept.py)."""


def lock(controller: Controller, *, shared: bool = False) -> Lock:
    return controller.store.lock("firewall", shared=shared)


def ensure(controller: Controller, whose: str = "", policy: Policy | None = None) -> State:
    """All as it was when it was well; with `policy` the network (or endpoint) is accepted by other firewalls, too."""
    state = _load(controller)
    if _is_well(controller, state, whose, policy):
        return state
    with lock(controller):
        state = _load(controller)
        if not _is_well(controller, state, whose, policy):
            state = _repair(controller, state, {whose: policy} if policy and policy.alone else {})
    return state


def mend(controller: Controller, owners: Collection[str] | None = None) -> None:
    """Rules and elements that are gone are put back, also where a glance sees nothing: it sees base chains alone.

    `owners`: only theirs (the first 12 digits of networks' and endpoints' ids), None: everybody's.
    """
    with lock(controller):
        networks = list(network_records(controller))
        if owners is None or any(record.id[:12] in owners for record in networks):
            endpoint_elements.mend(controller.nft, merge(*(_of_network(controller, record) for record in networks)), ())
    names = [name for name in controller.store.names(ENDPOINTS) if owners is None or name[:12] in owners]
    for start in range(0, len(names), _BATCH):
        with lock(controller):
            some = (_ready(controller, name) for name in names[start : start + _BATCH])
            records = [record for record in some if record is not None]
            endpoint_elements.mend(controller.nft, endpoint_elements.of_endpoints(records), records)


def whose(record: EndpointRecord, policy: Policy) -> str:
    """Id of what other firewalls accept for an endpoint: its network, or itself where nobody shares its link."""
    return record.id if policy.alone else record.network_id


def is_declared(state: State, declare: str) -> bool:
    """Whether the kernel has the rules of a declaration. One that was not run since a flush may have lost them."""
    return _digest(declare) in state.declared


def remember(controller: Controller, declare: str) -> None:
    """After a commit: the chains that it brought belong to what is looked at from now on."""
    with lock(controller):
        known = _load(controller)
        _store(controller, known, (*known.chains, *base_chains(declare)), (*known.declared, _digest(declare)))


def withdraw(controller: Controller, network: NetworkRecord, policy: Policy) -> None:
    """Take back what other firewalls accept of a network that goes. The caller holds the lock."""
    if policy.bridge:
        _withdraw(controller, network.id, policy, forget=not shared(controller, network, policy))


def withdraw_endpoint(controller: Controller, record: EndpointRecord, policy: Policy) -> None:
    """The same of an endpoint that is alone on its link."""
    if policy.bridge and policy.alone:
        with lock(controller):
            _withdraw(controller, record.id, policy, forget=True)


def _withdraw(controller: Controller, whose: str, policy: Policy, *, forget: bool) -> None:
    others = controller.others
    if others is None:
        return
    state = _load(controller)
    if others.stamp(state.watched):
        from cni_cnm.firewall import foreign_accept

        others.rewrite(lambda _, saved: foreign_accept.withdraw(saved, whose))
        if forget and others.firewalld():
            others.forget(policy.bridge, policy.zone)
    if whose in state.accepted:
        accepted = {key: value for key, value in state.accepted.items() if key != whose}
        _store(controller, state._replace(accepted=accepted), state.chains, state.declared)


def shared(controller: Controller, network: NetworkRecord, policy: Policy) -> bool:
    """Whether another network has the same bridge."""
    others = (other for other in network_records(controller) if other.id != network.id)
    return any(policy_of(other).bridge == policy.bridge for other in others)


def allow(controller: Controller, one: NetworkRecord, other: NetworkRecord) -> None:
    """Open two networks to each other, until `revoke` or until one of them goes; on record, so that it comes back."""
    one, other = sorted((one, other), key=lambda record: record.name)  # the first one's, now and when it comes back
    bridges = _bridges(one, other)
    ensure(controller)
    with lock(controller):
        pair = [one.name, other.name]
        controller.store.put(ALLOWED, _PAIRS, sorted([*(known for known in pairs(controller) if known != pair), pair]))
        transaction = isolation.allow(one.id, one.name, *bridges)
        controller.nft.commit(transaction, declare=True)
    remember(controller, transaction.declare)


def revoke(controller: Controller, one: NetworkRecord, other: NetworkRecord) -> None:
    """The reverse, at once also for connections that exist. Not allowed is done."""
    bridges = _bridges(one, other)
    with lock(controller):
        _forget_pairs(controller, {one.name, other.name})
        controller.nft.commit(isolation.revoke(*bridges))


def close_to_all(controller: Controller, network: NetworkRecord) -> None:
    """Revoke all that a network that goes was opened to. The caller holds the lock."""
    bridge = policy_of(network).bridge
    for pair in pairs(controller):
        for friend in pair if network.name in pair else ():
            if friend != network.name and (raw := controller.store.get(NETWORKS, friend)):
                controller.nft.commit(isolation.revoke(bridge, policy_of(NetworkRecord.from_json(raw)).bridge))
    _forget_pairs(controller, {network.name})


def pairs(controller: Controller) -> list[list[str]]:
    """Names of the networks that are open to each other, two by two, each two sorted."""
    return list(controller.store.get(ALLOWED, _PAIRS) or ())


def _forget_pairs(controller: Controller, names: set[str]) -> None:
    """Those that have all of these names."""
    known = pairs(controller)
    kept = [pair for pair in known if not names <= set(pair)]
    if kept != known:
        controller.store.put(ALLOWED, _PAIRS, kept)


def _bridges(one: NetworkRecord, other: NetworkRecord) -> tuple[str, str]:
    bridges = policy_of(one).bridge, policy_of(other).bridge
    for record, bridge in zip((one, other), bridges, strict=True):
        if not bridge:
            raise InvalidConfig(f"the network {record.name} has no bridge, so nothing isolates it")
    if one.name == other.name:
        raise InvalidConfig(f"{one.name} is one network, two are opened to each other")
    return bridges


def check(controller: Controller, record: EndpointRecord, policy: Policy) -> None:
    """CheckFailed naming what is missing of an endpoint, its network, or their accept elsewhere. Writes nothing."""
    raw = controller.store.get(NETWORKS, record.network)
    network = _of_network(controller, NetworkRecord.from_json(raw)) if raw else Transaction()
    endpoint_elements.check(lambda: controller.nft, record, policy, network)
    others = controller.others
    if others is None or not policy.bridge:
        return
    if _is_accepted(controller, _load(controller), whose(record, policy), policy):
        return
    from cni_cnm.firewall import foreign_accept

    wanted = accepted_of(whose(record, policy), policy)
    missing: list[str] = []

    def look(_: str, saved: str) -> str:
        if foreign_accept.accept(saved, *wanted[:2], **wanted.options()):
            missing.append(f"iptables drops what {policy.bridge} forwards: the accept of it is missing from FORWARD")
        return ""

    others.rewrite(look)
    if others.firewalld() and others.trusts(policy.bridge, policy.zone) is False:
        missing.append(f"{policy.bridge} is not in the zone {policy.zone or 'trusted'} of firewalld")
    if missing:
        raise CheckFailed(missing[0], hint="the next ADD puts it back")


def accepted_of(whose: str, policy: Policy) -> Accepted:
    """An open network takes unasked traffic; of an internal one only what stays within is accepted."""
    from cni_cnm.firewall.foreign_accept import Accepted

    inbound = policy.ingress == "open"
    return Accepted(whose, policy.bridge, policy.admin_chain, inbound, policy.internal, policy.zone)


def base_chains(declare: str) -> list[str]:
    """The chains with a hook that a declaration makes, as `FAMILY TABLE CHAIN`."""
    lines = (line.split() for line in declare.splitlines())
    return [" ".join(words[2:5]) for words in lines if words[:2] == ["add", "chain"] and "hook" in words]


def _is_well(controller: Controller, state: State, whose: str, policy: Policy | None) -> bool:
    if state.epoch != controller.epoch or not _stands(controller, state):
        return False
    return _is_accepted(controller, state, whose, policy)


def _stands(controller: Controller, state: State) -> bool:
    if not state.tables:
        return True
    seen = controller.nft.handles([*state.tables, *state.chains])
    tables, chains = seen[: len(state.tables)], seen[len(state.tables) :]
    handles = zip(tables, state.tables.values(), strict=True)
    return all(one and one.handle == handle for one, handle in handles) and all(one and one.use for one in chains)


def _is_accepted(controller: Controller, state: State, whose: str, policy: Policy | None) -> bool:
    if controller.others is None:
        return True
    stamp = controller.others.stamp(state.watched)
    if not stamp and not state.others:
        return True
    wanted = list(accepted_of(whose, policy)) if policy and policy.bridge else None
    return bool(stamp == state.others) and (wanted is None or state.accepted.get(whose) == wanted)


def _repair(controller: Controller, state: State, more: Mapping[str, Policy]) -> State:
    """`more`: policies by id of whose accept is not known yet. The caller holds the lock."""
    chains, declared, before = state.chains, state.declared, state.accepted
    if state.epoch != controller.epoch or not _stands(controller, state):
        chains, declared = _restore(controller), ()
        state = State()
    policies = {record.id: policy_of(record) for record in network_records(controller)} | dict(more)
    accepted = {key: accepted_of(key, policy) for key, policy in policies.items() if policy.bridge}
    accepted |= _alone(controller, {key: value for key, value in before.items() if key not in policies})
    watched = _accept(controller, list(accepted.values()))
    state = state._replace(watched=watched, accepted={key: list(value) for key, value in accepted.items()})
    return _store(controller, state, chains, declared)


def _alone(controller: Controller, before: Mapping[str, Json]) -> Mapping[str, Accepted]:
    """Of those accepted before the endpoints that are still there."""
    if not before:
        return {}
    from cni_cnm.firewall.foreign_accept import Accepted

    return {key: Accepted(*value) for key, value in before.items() if controller.store.get(ENDPOINTS, key)}


def _store(controller: Controller, state: State, chains: Iterable[str], declared: Iterable[str]) -> State:
    """Record how things are now, of what was known and what is new."""
    chains = tuple(dict.fromkeys(chains))
    tables = tuple(dict.fromkeys(" ".join(chain.split(" ")[:2]) for chain in chains))
    seen: Sequence[Handle | None] = controller.nft.handles([*tables, *chains]) if tables else ()
    there = {name: one for name, one in zip((*tables, *chains), seen, strict=True) if one}
    state = state._replace(
        epoch=controller.epoch,
        tables={table: there[table].handle for table in tables if table in there},
        chains=tuple(chain for chain in chains if chain in there),
        declared=tuple(dict.fromkeys(declared)),
        others=controller.others.stamp(state.watched) if controller.others else (),
    )
    controller.store.put(FIREWALL, _STATE, state._asdict())
    return state


def _load(controller: Controller) -> State:
    raw = controller.store.get(FIREWALL, _STATE)
    if not raw or raw.get("epoch") != controller.epoch:
        return State()
    lists = {field: tuple(raw[field]) for field in ("chains", "declared", "watched")}
    return State(raw["epoch"], raw["tables"], others=raw["others"], accepted=raw["accepted"], **lists)


def _accept(controller: Controller, networks: Sequence[Accepted]) -> tuple[str, ...]:
    """Accepted wherever others drop; the chains to watch from now on."""
    others = controller.others
    if others is None or not others.stamp(()):
        return ()
    from cni_cnm.firewall import foreign_accept

    watched: dict[str, None] = {}

    def accept(family: str, saved: str) -> str:
        script = foreign_accept.accept_all(saved, networks)
        if family:
            names = [*foreign_accept.entered(saved), *(one.admin_chain for one in networks if one.admin_chain)]
            watched.update(dict.fromkeys(f"{family} {name}" for name in names))
        return script

    others.rewrite(accept)
    if others.firewalld():
        for network in networks:
            if not others.trusts(network.bridge, network.zone):
                others.trust(network.bridge, network.zone)
    return tuple(watched)


def _restore(controller: Controller) -> tuple[str, ...]:
    """Every network's and every ready endpoint's part again, declarations too; the chains with a hook among them."""
    chains: dict[str, None] = {}
    for transaction, records in _parts(controller):
        if not (transaction.put or transaction.claim):
            continue
        endpoint_elements.put_back(controller.nft, transaction, records)
        chains.update(dict.fromkeys(base_chains(transaction.declare)))
    return tuple(chains)


def _digest(declare: str) -> str:
    return digest(declare)[:12]


def _parts(controller: Controller) -> Iterator[tuple[Transaction, Sequence[EndpointRecord]]]:
    yield merge(*(_of_network(controller, record) for record in network_records(controller))), ()
    records: list[EndpointRecord] = []
    for name in controller.store.names(ENDPOINTS):
        if (record := _ready(controller, name)) is not None:
            records.append(record)
        if len(records) == _BATCH:
            yield endpoint_elements.of_endpoints(records), records
            records = []
    yield endpoint_elements.of_endpoints(records), records


def _ready(controller: Controller, endpoint_id: str) -> EndpointRecord | None:
    raw = controller.store.get(ENDPOINTS, endpoint_id)
    there = raw and raw["state"] == READY and raw["epoch"] == controller.epoch
    return EndpointRecord.from_json(raw) if there else None


def _of_network(controller: Controller, record: NetworkRecord) -> Transaction:
    names = [other for first, other in pairs(controller) if first == record.name]
    friends = (controller.store.get(NETWORKS, name) for name in names)
    bridges = [policy_of(NetworkRecord.from_json(friend)).bridge for friend in friends if friend]
    return endpoint_elements.of_network(record, policy_of(record), [bridge for bridge in bridges if bridge])


def network_records(controller: Controller) -> Iterator[NetworkRecord]:
    for name in controller.store.names(NETWORKS):
        raw = controller.store.get(NETWORKS, name)
        if raw:
            yield NetworkRecord.from_json(raw)


def policy_of(record: NetworkRecord) -> Policy:
    return drivers.get(record.driver).policy(record.options)
