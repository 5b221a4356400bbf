"""Messages about unicast routes: values to messages, messages to values. Opens no socket."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from struct import Struct
from typing import Any

from cni_cnm.kernel.contract.route import MAIN, RouteEntry, completed, implied_scope
from cni_cnm.kernel.netlink.messages import Message, rtmsg
from cni_cnm.kernel.netlink.nlattr import number, places, raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.netlink.nlattr import Places
    from cni_cnm.model import IPAddress, IPNetwork

_NOWHERE = 255
_BOOT, _ADVERTISED, _UNICAST = 3, 9, 1
"""RTPROT_BOOT, RTPROT_RA; RTN_UNICAST."""
_COMPAT = 252
_HEAD = Struct("=I12xBBxxBBBB")
"""struct nlmsghdr, and of struct rtmsg family, length of the destination, table, protocol, scope and type."""
_FIXED_BYTES = 16 + 12
_DST, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _METRICS, _MULTIPATH, _TABLE, _VIA = 1, 4, 5, 6, 7, 8, 9, 15, 18
_MTU, _ADVMSS = 2, 8
"""Of RTA_METRICS."""
_NEXT_HOP = Struct("=HxxI")
"""struct rtnexthop: length and link."""
_VIA_FAMILY = Struct("=H")


def message(route: RouteEntry, *, delete: bool = False) -> Message:
    result = query(route.dst.version, link=0 if route.also_via else route.link, table=route.table)
    result["dst_len"] = route.dst.prefixlen
    # RT_SCOPE_NOWHERE: the route is deleted whatever its scope is.
    scope = _NOWHERE if delete else implied_scope(route.dst, route.gw)
    result["scope"] = scope if route.scope is None else route.scope
    result["proto"] = 0 if delete else _BOOT
    attributes = result["attrs"]
    if route.dst.prefixlen:
        attributes.append(("RTA_DST", str(route.dst.network_address)))
    if route.also_via:
        hops = [{"oif": route.link, "attrs": [_gateway(route, gw)]} for gw in (route.gw, *route.also_via) if gw]
        attributes.append(("RTA_MULTIPATH", hops))
    elif route.gw is not None:
        attributes.append(_gateway(route, route.gw))
    if route.priority:
        attributes.append(("RTA_PRIORITY", route.priority))
    if route.src is not None:
        attributes.append(("RTA_PREFSRC", str(route.src)))
    metrics = [(name, value) for name, value in (("RTAX_MTU", route.mtu), ("RTAX_ADVMSS", route.advmss)) if value]
    if metrics:
        attributes.append(("RTA_METRICS", {"attrs": metrics}))
    return result


def query(version: int, *, link: int = 0, table: int | None = None) -> Message:
    """The request for a dump of one table's unicast routes of one IP version (4 or 6)."""
    table = table or MAIN
    result = rtmsg()
    result["family"] = _family(version)
    result["table"] = table if table < 256 else _COMPAT
    result["type"] = _UNICAST
    attributes: list[tuple[str, Any]] = []
    if table > 255:
        attributes.append(("RTA_TABLE", table))
    if link:
        attributes.append(("RTA_OIF", link))
    result["attrs"] = attributes
    return result


def lookup(address: IPAddress) -> Message:
    """The request for the route that packets to an address take."""
    result = rtmsg()
    result["family"] = _family(address.version)
    result["dst_len"] = address.max_prefixlen
    result["attrs"] = [("RTA_DST", str(address))]
    return result


def read(data: bytes, offset: int) -> RouteEntry | None:
    """The route of the message at `offset` of a datagram; None if it is no unicast route of an IP family."""
    length, family, dst_len, table, protocol, scope, kind = _HEAD.unpack_from(data, offset)
    if family not in (AF_INET, AF_INET6) or kind != _UNICAST:
        return None
    six = family == AF_INET6
    address: type[IPAddress] = IPv6Address if six else IPv4Address
    network: type[IPNetwork] = IPv6Network if six else IPv4Network
    found = places(data, offset + _FIXED_BYTES, offset + length)
    metrics = places(data, *found[_METRICS]) if _METRICS in found else {}
    link, gateways = number(data, found.get(_OIF)), _gateways(data, found, address)
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
            advertised=protocol == _ADVERTISED,
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


def _gateway(route: RouteEntry, gateway: IPAddress) -> tuple[str, Any]:
    if gateway.version == route.dst.version:
        return "RTA_GATEWAY", str(gateway)
    return "RTA_VIA", {"family": _family(gateway.version), "addr": str(gateway)}


def _family(version: int) -> int:
    return AF_INET6 if version == 6 else AF_INET
