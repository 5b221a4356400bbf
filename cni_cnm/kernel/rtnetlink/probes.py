"""Messages that ask what the kernel would do with a packet: routes, neighbours, entries of bridges. Opens no socket."""

from __future__ import annotations

from _socket import AF_BRIDGE, AF_INET, AF_INET6
from ipaddress import IPv4Address, IPv6Address
from struct import Struct

from cni_cnm.kernel.contract.probe_stack import BridgeEntry, NeighbourState, RouteAnswer
from cni_cnm.kernel.netlink.nlattr import number, pack, pack_number, places, raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.netlink.nlattr import Places
    from cni_cnm.model import IPAddress

_ROUTE = Struct("=BBBBBBBBI")
"""struct rtmsg."""
_ROUTE_HEAD = Struct("=I12xBxxxBxxBI")
"""struct nlmsghdr's length; family, table and type of struct rtmsg, and its flags."""
_ROUTE_BYTES = 16 + _ROUTE.size
_DST, _SRC, _IIF, _OIF, _GATEWAY, _PREFSRC, _MULTIPATH, _TABLE, _MARK, _VIA = 1, 2, 3, 4, 5, 7, 9, 15, 16, 18
_LOOKUP_TABLE = 0x1000
"""RTM_F_LOOKUP_TABLE: the answer names the table. IPv6 refuses the flag, and always names it."""
_KINDS = {1: "unicast", 2: "local", 3: "broadcast", 5: "multicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
_LINK_HEAD = Struct("=I12x4xi8x")
"""struct nlmsghdr's length, and the index of struct ifinfomsg."""
_LINK_BYTES, _LINK_NETNSID = 16 + 16, 37
_NEIGHBOUR = Struct("=BxxxiHBB")
_NEIGHBOUR_HEAD = Struct("=I12xBxxxiHBB")
_ND_DST, _ND_LLADDR, _ND_MASTER = 1, 2, 9
_STATES = {
    0x01: "incomplete", 0x02: "reachable", 0x04: "stale", 0x08: "delay", 0x10: "probe", 0x20: "failed",
    0x40: "noarp", 0x80: "permanent",
}  # fmt: skip
_PERMANENT = 0x80


def route(dst: IPAddress, src: IPAddress | None, from_link: int, by_link: int, mark: int) -> bytes:
    bits = dst.max_prefixlen
    flags = _LOOKUP_TABLE if dst.version == 4 else 0
    head = _ROUTE.pack(_family(dst), bits, bits if src is not None else 0, 0, 0, 0, 0, 0, flags)
    attributes = pack(_DST, dst.packed)
    if src is not None:
        attributes += pack(_SRC, src.packed)
    for kind, value in ((_IIF, from_link), (_OIF, by_link), (_MARK, mark)):
        attributes += pack_number(kind, value) if value else b""
    return head + attributes


def read_route(data: bytes, offset: int) -> RouteAnswer:
    length, _, table, kind, _ = _ROUTE_HEAD.unpack_from(data, offset)
    found = places(data, offset + _ROUTE_BYTES, offset + length)
    return RouteAnswer(
        _KINDS.get(kind, f"type {kind}"),
        number(data, found.get(_OIF)),
        _gateway(data, found),
        _address(raw(data, found.get(_PREFSRC))),
        number(data, found.get(_TABLE)) or table,
    )


def read_peer_elsewhere(data: bytes, offset: int) -> int:
    """The index of a link whose peer is of another namespace; 0 for any other."""
    length, index = _LINK_HEAD.unpack_from(data, offset)
    found = places(data, offset + _LINK_BYTES, offset + length)
    return index if _LINK_NETNSID in found else 0


def neighbour(link: int, address: IPAddress) -> bytes:
    return _NEIGHBOUR.pack(_family(address), link, 0, 0, 0) + pack(_ND_DST, address.packed)


def read_neighbour(data: bytes, offset: int) -> NeighbourState:
    length, _, _, state, _, _ = _NEIGHBOUR_HEAD.unpack_from(data, offset)
    found = places(data, offset + _NEIGHBOUR_HEAD.size, offset + length)
    return NeighbourState(raw(data, found.get(_ND_LLADDR)).hex(":"), _STATES.get(state, "none"))


def bridge_entries(bridge: int) -> bytes:
    return _NEIGHBOUR.pack(AF_BRIDGE, 0, 0, 0, 0) + pack_number(_ND_MASTER, bridge)


def read_bridge_entry(data: bytes, offset: int) -> tuple[str, BridgeEntry]:
    length, _, link, state, _, _ = _NEIGHBOUR_HEAD.unpack_from(data, offset)
    found = places(data, offset + _NEIGHBOUR_HEAD.size, offset + length)
    return raw(data, found.get(_ND_LLADDR)).hex(":"), BridgeEntry(link, bool(state & _PERMANENT))


def _gateway(data: bytes, found: Places) -> IPAddress | None:
    if _VIA in found:
        begin, end = found[_VIA]
        return _address(data[begin + 2 : end])
    return _address(raw(data, found.get(_GATEWAY)))


def _address(packed: bytes) -> IPAddress | None:
    if not packed:
        return None
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def _family(address: IPAddress) -> int:
    return AF_INET6 if address.version == 6 else AF_INET
