"""The nftables elements of a network that answers names: its gateways, put in and taken out."""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.firewall import names
from cni_cnm.kernel import Transaction
from cni_cnm.model import IpamSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import IPInterface


def of_network(host: Host, record: NetworkRecord) -> Transaction:
    """None for a network that does not answer names."""
    if record.names is None:
        return Transaction()
    return names.add_network(record.id, record.name, record.policy.bridge, gateways_of(host, record))


def change(host: Host, old: NetworkRecord, new: NetworkRecord | None) -> None:
    """From a record to the one that replaces it; None: to nothing. The caller holds the lock `firewall`."""
    before, after = of_network(host, old), of_network(host, new) if new is not None else Transaction()
    there = {element.place for element in after.put}
    gone = tuple(element for element in before.put if element.place not in there)
    host.nft.commit(after._replace(remove=gone))


def gateways_of(host: Host, record: NetworkRecord) -> Sequence[IPInterface]:
    """The gateways of its subnets on this host."""
    pool = ipam.configure(record.name, IpamSpec(record.ipam_type, record.ipam), None, host)
    return [subnet.gateway for subnet in ipam.subnets(pool) if subnet.gateway is not None]
