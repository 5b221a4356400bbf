"""The nftables elements of a network: its isolation, and the networks it is open to.

STATE_DIR/allowed/pairs.json     names of the networks that are open to each other, two by two, each two sorted
"""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import endpoint_elements
from cni_cnm.cnm.records import load_network, network_records
from cni_cnm.firewall import isolation
from cni_cnm.kernel import Transaction, merge
from cni_cnm.state.store import ALLOWED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.firewall.isolation import Side

_PAIRS = "pairs"


def elements_of(host: Host, record: NetworkRecord) -> Transaction:
    """What a network has in the packet filter apart from its endpoints."""
    policy = record.policy
    if not policy.side:
        return Transaction()
    parts = [isolation.allow(record.id, record.name, policy.side, side) for side in _allowed_sides(host, record)]
    if policy.isolates:
        parts.append(endpoint_elements.of_network(record.id, record.name, policy))
    return merge(*parts)


def elements_of_all(host: Host) -> Transaction:
    return merge(*(elements_of(host, record) for record in network_records(host.store)))


def remove_isolation(host: Host, record: NetworkRecord) -> None:
    """Take the network's isolation out of the packet filter, unless another network has the same bridge."""
    policy = record.policy
    if policy.isolates and not shares_side(host, record):
        host.nft.commit(isolation.remove_network(policy.side))


def shares_side(host: Host, network: NetworkRecord) -> bool:
    """True if another network has the same bridge or link group."""
    others = (other for other in network_records(host.store) if other.id != network.id)
    return any(other.policy.side == network.policy.side for other in others)


def allowed_pairs(host: Host) -> list[list[str]]:
    return list(host.store.get(ALLOWED, _PAIRS) or ())


def record_pair(host: Host, one: str, other: str) -> None:
    pair = sorted((one, other))
    host.store.put(ALLOWED, _PAIRS, sorted([*(known for known in allowed_pairs(host) if known != pair), pair]))


def forget_pairs(host: Host, names: set[str]) -> None:
    """Delete the pairs that have all of these names."""
    known = allowed_pairs(host)
    kept = [pair for pair in known if not names <= set(pair)]
    if kept != known:
        host.store.put(ALLOWED, _PAIRS, kept)


def _allowed_sides(host: Host, record: NetworkRecord) -> list[Side]:
    """Of the networks that this one is open to. An element of a pair belongs to the first of its two names."""
    names = (other for first, other in allowed_pairs(host) if first == record.name)
    networks = (load_network(host.store, name) for name in names)
    return [side for network in networks if network and (side := network.policy.side)]
