"""Bridges of other programs: isolated networks and they cannot reach each other. The set `foreign` has their names.

A foreign bridge has an address that is routed, no port that leads out of this host, and no default route. One with
such a port or route is the host's uplink. Bridges of our networks are not foreign, also if another program made them.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from cni_cnm.cnm.packet_filter import firewall_state
from cni_cnm.cnm.records import damaged_networks, network_records
from cni_cnm.firewall import INET, isolation
from cni_cnm.kernel import link_name
from cni_cnm.model import stable_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.packet_filter.firewall_state import State
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Json

_OUTWARD_KINDS = ("", "bond", "team", "vlan")
"""Of ports that lead out of the host; hardware has no kind."""
_OUTSIDE = (IPv4Address("1.0.0.1"), IPv6Address("2600::1"))
"""Addresses that only a default route leads to. Nothing is sent there."""


def are_current(host: Host, state: State) -> bool:
    """True if the bridges of this host, and where its default routes lead, are as recorded.

    One answer for each bridge, though the kernel passes over all links (0.5 ms per 1,000): a service, which is told of
    changes, does not ask. It is also told that a bridge got a port or an address.
    """
    return bool(_stamp(host, state.foreign) == state.bridges)


def put_all(host: Host, state: State, *, isolates: bool) -> State:
    """Make the set as it should be: empty if no network `isolates`. The caller holds the lock.

    Returns the state with what to compare from now on.
    """
    if not (isolates or state.foreign):
        return state
    names = find(host) if isolates else set()
    there = {link_name(element.key) for element in host.nft.elements(INET, "foreign")}
    transaction = isolation.change_foreign(sorted(names - there), sorted(there - names))
    if transaction.put or transaction.remove:
        host.nft.commit(transaction, declare=not firewall_state.is_declared(state, transaction.declare))
    foreign = tuple(sorted(names))
    return state._replace(bridges=_stamp(host, foreign) if isolates else (), foreign=foreign)


def forget(host: Host) -> None:
    """After a network is removed: its bridge may be foreign from now on. With the last one that isolates, all go.

    The caller holds the lock.
    """
    state = firewall_state.load(host)
    if not (state.bridges or state.foreign):
        return
    isolates = any(record.policy.isolates for record in network_records(host.store))
    if not isolates and not damaged_networks(host.store):
        state = put_all(host, state, isolates=False)
    firewall_state.store(host, state._replace(bridges=()), state.chains, state.declared)


def missing(host: Host) -> str:
    """A sentence about a foreign bridge that is not in the set; "" if all are. Writes nothing."""
    there = {link_name(element.key) for element in host.nft.elements(INET, "foreign")}
    lacking = sorted(find(host) - there)
    return f"the bridge {lacking[0]} of another program is not isolated from this network" if lacking else ""


def find(host: Host) -> set[str]:
    """The names of the foreign bridges, as they are now."""
    stack = host.stack
    ours = {record.policy.bridge for record in network_records(host.store)}
    bridges = [link for link in stack.links(kind="bridge") if link.name not in ours]
    if bridges and damaged_networks(host.store):  # one that this program made may be that network's
        bridges = [link for link in bridges if link.mac != stable_mac("bridge", link.name)]
    if not bridges:
        return set()
    outward = {route.link for route in stack.routes() if not route.dst.prefixlen} | set(_ways_out(stack))
    return {link.name for link in bridges if link.ifindex not in outward and _is_inward(stack, link.ifindex)}


def _is_inward(stack: Stack, bridge: int) -> bool:
    """Whether a bridge has an address, and its ports stay on this host."""
    routed = any(not address.ip.is_link_local for address in stack.addresses(bridge))
    return routed and not any(port.kind in _OUTWARD_KINDS for port in stack.links(master=bridge))


def _stamp(host: Host, foreign: Collection[str]) -> Json:
    bridges = [[link.ifindex, link.name] for link in host.stack.links(kind="bridge")]
    return [bridges, _ways_out(host.stack) if foreign else []]


def _ways_out(stack: Stack) -> list[int]:
    return [stack.route_link(address) for address in _OUTSIDE]
