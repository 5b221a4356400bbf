"""Opening two networks to each other, and closing them again. Open pairs are recorded, so that a flush is repaired."""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import enforce, firewall_state, network_elements
from cni_cnm.cnm.records import load_network
from cni_cnm.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord


def allow(host: Host, one: NetworkRecord, other: NetworkRecord) -> None:
    """Open two networks to each other, until `revoke` or until one of them is deleted."""
    # The element belongs to the first network by name, now and whenever it is put back.
    one, other = sorted((one, other), key=lambda record: record.name)
    _require_sides(one, other)
    enforce.ensure(host)
    with firewall_state.lock(host):
        network_elements.record_pair(host, one.name, other.name)
        transaction = network_elements.opened(one, other)
        host.nft.commit(transaction, declare=True)
    firewall_state.remember(host, transaction.declare)


def revoke(host: Host, one: NetworkRecord, other: NetworkRecord) -> None:
    """The reverse, also for connections that exist. No error if the networks are not open to each other."""
    _require_sides(one, other)
    with firewall_state.lock(host):
        network_elements.forget_pairs(host, {one.name, other.name})
        host.nft.commit(network_elements.closed(one.policy, other.policy))


def revoke_all(host: Host, network: NetworkRecord) -> None:
    """Close a network that is being removed to all others. The caller holds the lock `firewall`."""
    for pair in network_elements.allowed_pairs(host):
        for name in pair if network.name in pair else ():
            if name != network.name and (other := load_network(host.store, name)):
                host.nft.commit(network_elements.closed(network.policy, other.policy))
    network_elements.forget_pairs(host, {network.name})


def _require_sides(one: NetworkRecord, other: NetworkRecord) -> None:
    for record in (one, other):
        if not record.policy.side:
            raise InvalidConfig(f"the network {record.name} has the driver {record.driver}, which nothing isolates")
    if one.name == other.name:
        raise InvalidConfig(f"{one.name} is one network; name two different networks")
