"""Puts an endpoint's elements into the packet filter. Before that it repairs what other programs have removed."""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import endpoint_elements, firewall_state, foreign_accepts, foreign_bridges
from cni_cnm.cnm.packet_filter.firewall_state import HAIRPIN_RULES, NO_HAIRPIN_RULES
from cni_cnm.cnm.records import load_network, load_owner
from cni_cnm.errors import PortTaken
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.packet_filter.firewall_state import State
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.firewall import Policy
    from cni_cnm.kernel import Transaction
    from cni_cnm.model import IPNetwork


def enforce_endpoint(host: Host, record: EndpointRecord, policy: Policy) -> tuple[str, ...]:
    """Returns warnings: other firewalls that drop, or may drop, packets of the endpoint, and rules that cannot be.

    PortTaken if another endpoint has published one of the ports.
    """
    if not policy.bridge and not (record.ports and policy.publishes):
        return ()
    key = foreign_accepts.key_of(record, policy)
    state = ensure(host, key, policy)
    subnets: Iterable[IPNetwork] = ()
    if policy.masquerade_except:
        from cni_cnm.cnm.packet_filter import network_elements

        subnets = network_elements.excepted_subnets(load_network(host.store, record.network), record.addresses)
    _put(host, record, endpoint_elements.with_network(record, policy, subnets), state)
    warnings: tuple[str, ...] = ()
    if policy.unicast_hairpin and not {HAIRPIN_RULES, NO_HAIRPIN_RULES}.intersection(state.declared):
        from cni_cnm.cnm.packet_filter import hairpin_rules

        warnings = hairpin_rules.declare_once(host)
    obstacles = foreign_accepts.recorded_obstacles(state, key)
    return (*warnings, *(one.sentence for one in foreign_accepts.of_addresses(obstacles, record.addresses)))


def ensure(host: Host, key: str = "", policy: Policy | None = None, *, anew: bool = False) -> State:
    """Repair what differs from the recorded state, for all networks and endpoints. 0.1 ms if nothing differs.

    With `policy` other programs' firewalls also accept the packets of `key`: the id of a network, or of an endpoint
    alone on its link (foreign_accepts.key_of). `anew`: repair whatever the recorded state says. Returns the new state.
    """
    state = firewall_state.load(host)
    if not anew and _is_current(host, state, key, policy):
        return state
    from cni_cnm.cnm.packet_filter import firewall_reconcile

    with firewall_state.lock(host):
        state = firewall_state.load(host)
        if anew or not _is_current(host, state, key, policy):
            state = firewall_reconcile.repair(host, state, {key: policy} if policy and policy.alone else {})
    return state


def _put(host: Host, record: EndpointRecord, transaction: Transaction, state: State) -> None:
    if not (transaction.put or transaction.claim):
        return

    def alive(owner: str) -> bool:
        return any(name.startswith(owner) for name in host.store.names(ENDPOINTS))

    declared = firewall_state.is_declared(state, transaction.declare)
    try:
        endpoint_elements.put(host.nft, record, transaction, alive, declare=not declared)
    except PortTaken as taken:
        holder = load_owner(host.store, taken.holder)
        if holder is not None and holder.pod.name:  # elements have no room for it
            taken.msg = f"{taken.msg} ({holder.pod.label})"
        raise
    if not declared:
        firewall_state.remember(host, transaction.declare)


def _is_current(host: Host, state: State, key: str, policy: Policy | None) -> bool:
    if not (firewall_state.is_intact(host, state) and foreign_accepts.are_current(host, state, key, policy)):
        return False
    if policy is None or not policy.isolates:
        return True
    if policy.bridge in state.foreign:
        return False
    if host.watches_bridges and state.bridges:  # not recorded before the first network that isolates
        return True
    return foreign_bridges.are_current(host, state)
