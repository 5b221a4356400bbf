"""Messages about unicast routes: values to messages, messages to values. Opens no socket."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from cni_cnm.kernel.contract.route import MAIN, RouteEntry, completed, implied_scope
from cni_cnm.kernel.netlink.messages import Message, rtmsg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import IPAddress, IPNetwork

_NOWHERE = 255
_BOOT, _ADVERTISED, _UNICAST = 3, 9, 1
"""RTPROT_BOOT, RTPROT_RA; RTN_UNICAST."""
_COMPAT = 252


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


def route(found: Message) -> RouteEntry | None:
    """The route of a message; None if it is no unicast route of an IP family."""
    family = found["family"]
    if family not in (AF_INET, AF_INET6) or found["type"] != _UNICAST:
        return None
    address: type[IPAddress] = IPv6Address if family == AF_INET6 else IPv4Address
    network: type[IPNetwork] = IPv6Network if family == AF_INET6 else IPv4Network
    any_address = "::" if family == AF_INET6 else "0.0.0.0"  # noqa: S104
    gateway, via, source = (found.get_attr(name) for name in ("RTA_GATEWAY", "RTA_VIA", "RTA_PREFSRC"))
    metrics = found.get_attr("RTA_METRICS")
    gw: IPAddress | None = None
    if gateway is not None:
        gw = address(gateway)
    elif via is not None:
        gw = IPv6Address(via["addr"]) if via["family"] == AF_INET6 else IPv4Address(via["addr"])
    hops = found.get_attr("RTA_MULTIPATH") or []
    gateways = [address(hop.get_attr("RTA_GATEWAY")) for hop in hops if hop.get_attr("RTA_GATEWAY")]
    return completed(
        RouteEntry(
            dst=network((found.get_attr("RTA_DST") or any_address, found["dst_len"])),
            gw=gateways[0] if gateways else gw,
            link=found.get_attr("RTA_OIF") or (hops[0]["oif"] if hops else 0),
            mtu=metrics.get_attr("RTAX_MTU") if metrics is not None else None,
            advmss=metrics.get_attr("RTAX_ADVMSS") if metrics is not None else None,
            priority=found.get_attr("RTA_PRIORITY"),
            table=found.get_attr("RTA_TABLE") or found["table"],
            scope=found["scope"],
            src=address(source) if source is not None else None,
            also_via=tuple(gateways[1:]),
            advertised=found["proto"] == _ADVERTISED,
        )
    )


def _gateway(route: RouteEntry, gateway: IPAddress) -> tuple[str, Any]:
    if gateway.version == route.dst.version:
        return "RTA_GATEWAY", str(gateway)
    return "RTA_VIA", {"family": _family(gateway.version), "addr": str(gateway)}


def _family(version: int) -> int:
    return AF_INET6 if version == 6 else AF_INET
