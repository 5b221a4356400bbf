"""Networks that share a subnet agree on where its packets keep their source (`masqueradeExcept`).

The packet filter knows a packet's network by its subnet, and a destination once: two that overlap cannot be in one set.
"""

from __future__ import annotations

from cni_cnm.cnm.network import network_description
from cni_cnm.cnm.records import network_records
from cni_cnm.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import IPNetwork


def refuse(host: Host, record: NetworkRecord) -> None:
    """Conflict if another network has an overlapping subnet, and a destination that overlaps one of the record's."""
    mine = list(_pairs(record))
    for other in network_records(host.store) if mine else ():
        for subnet, destination in _pairs(other) if other.id != record.id else ():
            for own, wanted in mine:
                same = (own, wanted) == (subnet, destination)
                if not same and own.overlaps(subnet) and wanted.overlaps(destination):
                    raise Conflict(
                        f"masqueradeExcept of the network {record.name} has {wanted}, which overlaps {destination} "
                        f"of the network {other.name} on the same subnet {subnet}",
                        hint="give both networks the same masqueradeExcept",
                    )


def _pairs(record: NetworkRecord) -> Iterator[tuple[IPNetwork, IPNetwork]]:
    """Subnets and destinations of one family."""
    destinations = record.policy.masquerade_except
    for subnet in network_description.subnets_of(record) if destinations else ():
        yield from ((subnet, one) for one in destinations if one.version == subnet.version)
