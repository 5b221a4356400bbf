"""How full the ranges of a network are, where this program gives its addresses."""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.network.network_description import spec_of
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord


class Usage(NamedTuple):
    """In endpoints: one of two IP versions needs an address of each."""

    capacity: int
    free: int


def usage(host: Host, record: NetworkRecord) -> Usage | None:
    """None if another program gives the addresses. It reads the folder of leases. CnmError if that cannot be read."""
    if record.pending:
        return None
    pool = ipam.configure(record.name, spec_of(record).ipam, None, host)
    return Usage(pool.capacity, pool.free) if isinstance(pool, HostLocal) and pool.capacity else None
