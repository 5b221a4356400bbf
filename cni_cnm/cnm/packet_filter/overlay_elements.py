"""The nftables elements of a network of several hosts, beside those that every isolated network has.

They follow from its record alone, and are put in when it is made or gets a further block: an endpoint adds none.
"""

from __future__ import annotations

from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.packet_filter import firewall_state
from cni_cnm.firewall import overlay
from cni_cnm.kernel import Transaction
from cni_cnm.model import ip_interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import IPInterface


def of_network(record: NetworkRecord) -> Transaction:
    """Nothing for a network of this host alone."""
    policy = record.policy
    if not policy.outside:
        return Transaction()
    return overlay.add_network(record.id, record.name, policy, gateways(record))


def put(host: Host, record: NetworkRecord) -> None:
    """For a network that was made just now."""
    transaction = of_network(record)
    with firewall_state.lock(host):
        host.nft.commit(transaction, declare=True)
    firewall_state.remember(host, transaction.declare)


def change(host: Host, old: NetworkRecord, new: NetworkRecord | None) -> None:
    """From a record to the one that replaces it; None: to nothing. The caller holds the lock `firewall`."""
    before, after = of_network(old), of_network(new) if new is not None else Transaction()
    there = {element.place for element in after.put}
    gone = tuple(element for element in before.put if element.place not in there)
    if gone:  # first: what is put in may overlap it
        host.nft.commit(Transaction(remove=gone))
    if after.put:
        host.nft.commit(after, declare=True)


def gateways(record: NetworkRecord) -> list[IPInterface]:
    """Those of the blocks that this host has."""
    lost = overlay_record.lost(record)
    return [
        ip_interface(f"{subnet[1]}/{subnet.prefixlen}")
        for block in overlay_record.blocks(record)
        for subnet in block
        if block[0] not in lost
    ]
