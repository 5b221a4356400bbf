"""Messages about routes: values to the bytes of requests, the kernel's bytes to values. Opens no socket."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from struct import Struct

from cni_cnm.kernel.contract.route import BOOT, DROPPING, MAIN, RouteEntry, completed, implied_scope
from cni_cnm.kernel.netlink.nlattr import number, pack, pack_number, places, raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.netlink.nlattr import Places
    from cni_cnm.model import IPAddress, IPNetwork

_NOWHERE = 255
_UNICAST, _LOCAL = 1, 2
"""RTN_UNICAST, RTN_LOCAL."""
_KINDS = {_UNICAST: "", **{number: kind for kind, number in DROPPING.items()}}
_ON_LINK = 4
"""RTNH_F_ONLINK, among the flags of struct rtmsg."""
_COMPAT = 252
_HEAD = Struct("=I12xBBxxBBBBI")
"""struct nlmsghdr, and of struct rtmsg family, length of the destination, table, protocol, scope, type, flags."""
_FIXED_BYTES = 16 + 12
_FIXED = Struct("=BBBBBBBBI")
"""struct rtmsg: family, lengths of destination and source, TOS, table, protocol, scope, type, flags."""
_DST, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _METRICS, _MULTIPATH, _TABLE, _VIA = 1, 4, 5, 6, 7, 8, 9, 15, 18
_MTU, _ADVMSS = 2, 8
"""Of RTA_METRICS."""
_NEXT_HOP = Struct("=HxxI")
"""struct rtnexthop: length and link; flags and number of hops are 0."""
_VIA_FAMILY = Struct("=H")


def message(route: RouteEntry, *, delete: bool = False) -> bytes:
    dst, gw = route.dst, route.gw
    # RT_SCOPE_NOWHERE: the route is deleted whatever its scope is.
    scope = _NOWHERE if delete else implied_scope(route)
    attributes = _of_table(route.table)
    if route.link and not route.also_via:
        attributes += pack_number(_OIF, route.link)
    if dst.prefixlen:
        attributes += pack(_DST, dst.network_address.packed)
    if route.also_via:
        gateways = [_gateway(route, one) for one in (gw, *route.also_via) if one]
        hops = [_NEXT_HOP.pack(_NEXT_HOP.size + len(one), route.link) + one for one in gateways]
        attributes += pack(_MULTIPATH, b"".join(hops))
    elif gw is not None:
        attributes += _gateway(route, gw)
    if route.priority:
        attributes += pack_number(_PRIORITY, route.priority)
    if route.src is not None:
        attributes += pack(_PREFSRC, route.src.packed)
    metrics = b"".join(
        pack_number(kind, value) for kind, value in ((_MTU, route.mtu), (_ADVMSS, route.advmss)) if value
    )
    if metrics:
        attributes += pack(_METRICS, metrics)
    return _header(
        dst.version,
        route.table,
        length=dst.prefixlen,
        protocol=route.protocol or (0 if delete else BOOT),  # 0: of any program
        scope=scope if route.scope is None else route.scope,
        kind=DROPPING.get(route.kind, _UNICAST),
        flags=_ON_LINK if route.onlink else 0,
    ) + attributes  # fmt: skip


def query(version: int, *, link: int = 0, table: int | None = None, protocol: int = 0, kind: str = "") -> bytes:
    """The request for a dump of one table's routes of one IP version (4 or 6).

    Without `protocol` those of one kind alone.
    """
    attributes = _of_table(table)
    number_of_kind = 0 if protocol else DROPPING.get(kind, _UNICAST)
    if link:
        attributes += pack_number(_OIF, link)
    return _header(version, table, protocol=protocol, kind=number_of_kind) + attributes


def local_query() -> bytes:
    """The request for a dump of the IPv4 routes by which packets to own addresses are taken in, of all tables.

    The kernel adds one with each address, also on a link that is down.
    """
    return _FIXED.pack(AF_INET, 0, 0, 0, 0, 0, 0, _LOCAL, 0)


def read_local(data: bytes, offset: int) -> tuple[int, IPAddress] | None:
    """Index of the link and the address; None for a route of another kind, or to a subnet such as 127.0.0.0/8."""
    length, family, dst_len, _, _, _, kind, _ = _HEAD.unpack_from(data, offset)
    if (family, dst_len, kind) != (AF_INET, 32, _LOCAL):
        return None
    found = places(data, offset + _FIXED_BYTES, offset + length)
    return number(data, found.get(_OIF)), IPv4Address(raw(data, found.get(_DST)))


def lookup(address: IPAddress) -> bytes:
    """The request for the route that packets to an address take."""
    fixed = _FIXED.pack(_family(address.version), address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    return fixed + pack(_DST, address.packed)


def read(data: bytes, offset: int) -> RouteEntry | None:
    """The route of the message at `offset` of a datagram; None if it is of no IP family, or of another type."""
    length, family, dst_len, table, protocol, scope, kind, flags = _HEAD.unpack_from(data, offset)
    if family not in (AF_INET, AF_INET6) or kind not in _KINDS:
        return None
    six = family == AF_INET6
    address: type[IPAddress] = IPv6Address if six else IPv4Address
    network: type[IPNetwork] = IPv6Network if six else IPv4Network
    found = places(data, offset + _FIXED_BYTES, offset + length)
    metrics = places(data, *found[_METRICS]) if _METRICS in found else {}
    link = 0 if kind != _UNICAST else number(data, found.get(_OIF))  # the kernel shows lo for IPv6
    gateways = _gateways(data, found, address)
    if _MULTIPATH in found:
        link, gateways = _next_hops(data, *found[_MULTIPATH], address)
    return completed(
        RouteEntry(
            dst=network((raw(data, found.get(_DST)) or bytes(16 if six else 4), dst_len)),
            gw=gateways[0] if gateways else None,
            link=link,
            mtu=number(data, metrics.get(_MTU)),
            advmss=number(data, metrics.get(_ADVMSS)),
            priority=number(data, found.get(_PRIORITY)),
            table=number(data, found.get(_TABLE)) or table,
            scope=scope,
            src=address(raw(data, found[_PREFSRC])) if _PREFSRC in found else None,
            also_via=tuple(gateways[1:]),
            protocol=protocol,
            onlink=bool(flags & _ON_LINK),
            kind=_KINDS[kind],
        )
    )


def _gateways(data: bytes, found: Places, address: type[IPAddress]) -> list[IPAddress]:
    """The gateway of a route without next hops, which may be of the other family (RTA_VIA)."""
    if _GATEWAY in found:
        return [address(raw(data, found[_GATEWAY]))]
    if _VIA not in found:
        return []
    begin, end = found[_VIA]
    family = _VIA_FAMILY.unpack_from(data, begin)[0]
    return [(IPv6Address if family == AF_INET6 else IPv4Address)(data[begin + _VIA_FAMILY.size : end])]


def _next_hops(data: bytes, begin: int, end: int, address: type[IPAddress]) -> tuple[int, list[IPAddress]]:
    """The link of the first next hop, and the gateways of all."""
    link, gateways = 0, []
    while begin + _NEXT_HOP.size <= end:
        length, index = _NEXT_HOP.unpack_from(data, begin)
        if length < _NEXT_HOP.size:
            break
        link = link or index
        hop = places(data, begin + _NEXT_HOP.size, begin + length)
        gateways += _gateways(data, hop, address)
        begin += (length + 3) & ~3
    return link, gateways


def _header(
    version: int,
    table: int | None,
    *,
    length: int = 0,
    protocol: int = 0,
    scope: int = 0,
    kind: int = _UNICAST,
    flags: int = 0,
) -> bytes:
    table = table or MAIN
    short = table if table < 256 else _COMPAT
    return _FIXED.pack(_family(version), length, 0, 0, short, protocol, scope, kind, flags)


def _of_table(table: int | None) -> bytes:
    """The attribute of a table whose number has no room in the header."""
    return pack_number(_TABLE, table) if table is not None and table > 255 else b""


def _gateway(route: RouteEntry, gateway: IPAddress) -> bytes:
    if gateway.version == route.dst.version:
        return pack(_GATEWAY, gateway.packed)
    return pack(_VIA, _VIA_FAMILY.pack(_family(gateway.version)) + gateway.packed)


def _family(version: int) -> int:
    return AF_INET6 if version == 6 else AF_INET
