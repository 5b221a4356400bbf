"""The nftables elements of a network: its isolation, the networks it is open to, and what is not masqueraded.

STATE_DIR/allowed/pairs.json     names of the networks that are open to each other, two by two, each two sorted
"""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import endpoint_elements
from cni_cnm.cnm.record_json import named_subnets
from cni_cnm.cnm.records import damaged_networks, endpoint_records, load_network, network_records
from cni_cnm.firewall import isolation, masquerade
from cni_cnm.kernel import Transaction, merge
from cni_cnm.state.record_reader import read
from cni_cnm.state.store import ALLOWED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.firewall import Policy
    from cni_cnm.model import Address, IPNetwork

_PAIRS = "pairs"


def elements_of(host: Host, record: NetworkRecord, subnets: Collection[IPNetwork] | None = None) -> Transaction:
    """What a network has in the packet filter apart from its endpoints.

    `subnets`: those whose exceptions from masquerade are needed. None: those of all endpoints.
    """
    policy = record.policy
    if not policy.side:
        return Transaction()
    parts = [_exceptions(host, record, subnets)] if policy.masquerade_except else []
    parts += [opened(record, other) for other in _allowed(host, record)]
    if policy.isolates:
        parts.append(endpoint_elements.of_network(record.id, record.name, policy))
    if policy.outside:
        from cni_cnm.cnm.packet_filter import overlay_elements

        parts.append(overlay_elements.of_network(record))
    if record.names is not None:
        from cni_cnm.cnm.packet_filter import name_elements

        parts.append(name_elements.of_network(host, record))
    return merge(*parts)


def change_exceptions(host: Host, old: NetworkRecord, new: NetworkRecord | None) -> None:
    """What is not masqueraded, from a record to the one that replaces it; None: to nothing.

    The caller holds the lock `firewall`.
    """
    if not old.policy.masquerade_except and not (new and new.policy.masquerade_except):
        return
    others = [one for one in network_records(host.store) if one.id != old.id and one.policy.masquerade_except]
    wanted = merge(*(_exceptions(host, one) for one in (*others, *([new] if new else []))))
    there = {element.place for element in wanted.put}
    gone = [element for element in masquerade.exceptions_of(old.id, host.nft) if element.place not in there]
    host.nft.commit(wanted._replace(remove=tuple(gone)))


def change_overlay(host: Host, old: NetworkRecord, new: NetworkRecord | None) -> None:
    """The same for what a network of several hosts has beside."""
    if old.policy.outside or (new and new.policy.outside):
        from cni_cnm.cnm.packet_filter import overlay_elements

        overlay_elements.change(host, old, new)


def change_names(host: Host, old: NetworkRecord, new: NetworkRecord | None) -> None:
    """The same for the gateways that answer names."""
    if old.names is not None or (new and new.names is not None):
        from cni_cnm.cnm.packet_filter import name_elements

        name_elements.change(host, old, new)


def _exceptions(host: Host, record: NetworkRecord, subnets: Collection[IPNetwork] | None = None) -> Transaction:
    if subnets is None:
        endpoints = (one for one in endpoint_records(host.store) if one.network_id == record.id)
        subnets = excepted_subnets(record, [address for one in endpoints for address in one.addresses])
    return masquerade.add_exceptions(record.id, record.name, subnets, record.policy.masquerade_except)


def excepted_subnets(network: NetworkRecord | None, addresses: Iterable[Address]) -> Collection[IPNetwork]:
    """The subnets of a network that addresses of its endpoints are in, each once: none overlaps another one.

    An endpoint that joined before the subnet was changed has the prefix length of that time. Where the network names no
    subnet, that is what counts.
    """
    named = named_subnets(network.ipam) if network is not None else ()
    found: dict[IPNetwork, None] = {}
    for address in addresses:
        ip = address.interface.ip
        found[next((subnet for subnet in named if ip in subnet), address.interface.network)] = None
    return found


def elements_of_all(host: Host) -> Transaction:
    return merge(*(elements_of(host, record) for record in network_records(host.store)))


def remove_isolation(host: Host, record: NetworkRecord) -> None:
    """Take the network's isolation out of the packet filter, unless another network has the same bridge."""
    policy = record.policy
    if policy.isolates and not shares_side(host, record):
        host.nft.commit(isolation.remove_network(policy.side, policy.trusted))


def shares_side(host: Host, network: NetworkRecord) -> bool:
    """True if another network has the same bridge or link group, or may have it: its record is damaged."""
    others = (other for other in network_records(host.store) if other.id != network.id)
    return any(other.policy.side == network.policy.side for other in others) or bool(damaged_networks(host.store))


def allowed_pairs(host: Host) -> list[list[str]]:
    return read(host.store, ALLOWED, _PAIRS, _pairs) or []


def _pairs(raw: Any) -> list[list[str]]:
    return [[one + "", other + ""] for one, other in raw]


def record_pair(host: Host, one: str, other: str) -> None:
    pair = sorted((one, other))
    host.store.put(ALLOWED, _PAIRS, sorted([*(known for known in allowed_pairs(host) if known != pair), pair]))


def forget_pairs(host: Host, names: set[str]) -> None:
    """Delete the pairs that have all of these names."""
    known = allowed_pairs(host)
    kept = [pair for pair in known if not names <= set(pair)]
    if kept != known:
        host.store.put(ALLOWED, _PAIRS, kept)


def opened(one: NetworkRecord, other: NetworkRecord) -> Transaction:
    """What opens two networks to each other. Its owner is the first of them."""
    parts = [isolation.allow(one.id, one.name, one.policy.sides, other.policy.sides)]
    if one.policy.outside or other.policy.outside:
        from cni_cnm.firewall import overlay

        for into, source in ((one, other), (other, one)):
            parts.append(overlay.allow(one.id, one.name, into.policy, source.policy.sides))
    return merge(*parts)


def closed(one: Policy, other: Policy) -> Transaction:
    """The reverse of `opened`."""
    parts = [isolation.revoke(one.sides, other.sides)]
    if one.outside or other.outside:
        from cni_cnm.firewall import overlay

        parts += [overlay.revoke(one, other.sides), overlay.revoke(other, one.sides)]
    return merge(*parts)


def _allowed(host: Host, record: NetworkRecord) -> list[NetworkRecord]:
    """The networks that this one is open to. An element of a pair belongs to the first of its two names."""
    names = (other for first, other in allowed_pairs(host) if first == record.name)
    networks = (load_network(host.store, name) for name in names)
    return [network for network in networks if network and network.policy.side]
