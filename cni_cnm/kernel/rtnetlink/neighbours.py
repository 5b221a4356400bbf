"""Messages about neighbours and about forwarding entries of VXLAN devices: both are struct ndmsg. Opens no socket."""

from __future__ import annotations

from _socket import AF_BRIDGE, AF_INET, AF_INET6
from ipaddress import IPv4Address, IPv6Address
from struct import Struct

from cni_cnm.kernel.contract.overlay_stack import FdbEntry, Neighbour
from cni_cnm.kernel.netlink.nlattr import number, octets, pack, pack_mac, pack_number, places, raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import IPAddress

_FIXED = Struct("=BxxxiHBB")
"""struct ndmsg: family, index of the link, state, flags, type."""
_NEIGHBOUR = Struct("=BxxxiHBBHH4sHH6sxxHHBxxx")
_FDB_ENTRY = Struct("=BxxxiHBBHH6sxxHH4s")
"""With attributes, for addresses of IPv4: a cluster has thousands."""
_HEAD = Struct("=I12xBxxxiHBB")
"""struct nlmsghdr, of which the length is read, and struct ndmsg."""
_DST, _LLADDR, _IFINDEX, _PROTOCOL = 1, 2, 8, 12
"""NDA_… of linux/neighbour.h."""
_PERMANENT = 0x80
"""NUD_PERMANENT."""
_SELF, _EXT_LEARNED = 0x02, 0x10
"""NTF_SELF: the device's own table, not that of its bridge. NTF_EXT_LEARNED."""
_U8 = 1
_MAC_BYTES = 6
_FAMILIES = {4: AF_INET, 6: AF_INET6}


def neighbour(entry: Neighbour) -> bytes:
    state = _PERMANENT if entry.permanent else 0
    packed = entry.address.packed
    if len(packed) == 4 and entry.protocol:
        attributes = 8, _DST, packed, 10, _LLADDR, octets(entry.mac), 5, _PROTOCOL, entry.protocol
        return _NEIGHBOUR.pack(AF_INET, entry.link, state, 0, 0, *attributes)
    body = _FIXED.pack(_FAMILIES[entry.address.version], entry.link, state, 0, 0)
    body += pack(_DST, entry.address.packed) + pack_mac(_LLADDR, entry.mac)
    return body + pack_number(_PROTOCOL, entry.protocol, _U8) if entry.protocol else body


def named_neighbour(link: int, address: IPAddress) -> bytes:
    """Of a request that reads or deletes one."""
    return _FIXED.pack(_FAMILIES[address.version], link, 0, 0, 0) + pack(_DST, address.packed)


def neighbour_query(link: int) -> bytes:
    """Of a dump of one link's, both IP versions."""
    return _FIXED.pack(0, 0, 0, 0, 0) + pack_number(_IFINDEX, link)


def read_neighbour(data: bytes, offset: int) -> Neighbour | None:
    """Of the message at `offset` of a datagram; None if it is of no IP version."""
    length, family, link, state, _, _ = _HEAD.unpack_from(data, offset)
    if family not in (AF_INET, AF_INET6):
        return None
    found = places(data, offset + _HEAD.size, offset + length)
    packed = raw(data, found.get(_DST))
    address = IPv6Address(packed) if family == AF_INET6 else IPv4Address(packed)
    return Neighbour(
        link, address, _mac(raw(data, found.get(_LLADDR))), number(data, found.get(_PROTOCOL)), bool(state & _PERMANENT)
    )


def fdb_entry(entry: FdbEntry) -> bytes:
    flags = _SELF | _EXT_LEARNED if entry.external else _SELF
    state = _PERMANENT if entry.permanent else 0
    packed = entry.to.packed if entry.to is not None else b""
    if len(packed) == 4:
        attributes = 10, _LLADDR, octets(entry.mac), 8, _DST, packed
        return _FDB_ENTRY.pack(AF_BRIDGE, entry.link, state, flags, 0, *attributes)
    body = _FIXED.pack(AF_BRIDGE, entry.link, state, flags, 0) + pack_mac(_LLADDR, entry.mac)
    return body + pack(_DST, packed) if packed else body


def named_fdb_entry(link: int, mac: str) -> bytes:
    """Of a request that reads one."""
    return _FIXED.pack(AF_BRIDGE, link, 0, _SELF, 0) + pack_mac(_LLADDR, mac)


def fdb_query(link: int) -> bytes:
    """Of a dump of one device's."""
    return _FIXED.pack(AF_BRIDGE, 0, 0, 0, 0) + pack_number(_IFINDEX, link)


def read_fdb_entry(data: bytes, offset: int) -> FdbEntry:
    length, _, link, state, flags, _ = _HEAD.unpack_from(data, offset)
    found = places(data, offset + _HEAD.size, offset + length)
    packed = raw(data, found.get(_DST))
    to = (IPv6Address(packed) if len(packed) == 16 else IPv4Address(packed)) if packed else None
    mac = _mac(raw(data, found.get(_LLADDR)))
    return FdbEntry(link, mac, to, bool(flags & _EXT_LEARNED), bool(state & _PERMANENT))


def _mac(packed: bytes) -> str:
    return packed.hex(":") if len(packed) == _MAC_BYTES else ""
