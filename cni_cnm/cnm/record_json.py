"""The values inside a record, to and from JSON: leases, routes, devices, ports, tuning.

The forms are those on disk since 0.1.0. A value that later versions add is optional when it is read.
"""

from __future__ import annotations

from cni_cnm.model import (
    Address,
    Device,
    Dns,
    Interface,
    Lease,
    PortmapOptions,
    PortMapping,
    Route,
    Tuning,
    ip_address,
    ip_interface,
    ip_network,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.model import Json


LATER_OPTIONS = frozenset(("gateway_modes", "masquerade_except"))
"""Options of drivers that 0.1.0 does not know. It would fail on them, so a record has them under a key of their own."""


def options_to_json(options: Mapping[str, Json]) -> dict[str, Json]:
    """The keys of a record that hold its driver's options."""
    later = {key: value for key, value in options.items() if key in LATER_OPTIONS}
    if not later:
        return {"options": options}
    return {"options": {key: options[key] for key in options if key not in later}, "later_options": later}


def options_from_json(raw: Mapping[str, Json]) -> Mapping[str, Json]:
    """The options that a record has."""
    return {**raw["options"], **raw["later_options"]} if "later_options" in raw else raw["options"]


def lease_to_json(lease: Lease | None) -> Json:
    if lease is None:
        return None
    return {
        "addresses": [[str(a.interface), str(a.gateway) if a.gateway else None] for a in lease.addresses],
        "routes": [route_to_json(route) for route in lease.routes],
        "dns": lease.dns,
    }


def lease_from_json(raw: Json) -> Lease | None:
    if raw is None:
        return None
    nameservers, domain, search, options = raw["dns"]
    return Lease(
        tuple(Address(ip_interface(text), ip_address(gw) if gw else None) for text, gw in raw["addresses"]),
        tuple(route_from_json(route) for route in raw["routes"]),
        Dns(tuple(nameservers), domain, tuple(search), tuple(options)),
    )


def route_to_json(route: Route) -> Json:
    return {**route._asdict(), "dst": str(route.dst), "gw": str(route.gw) if route.gw else None}


def route_from_json(raw: Json) -> Route:
    return Route(**{**raw, "dst": ip_network(raw["dst"]), "gw": ip_address(raw["gw"]) if raw["gw"] else None})


def port_to_json(port: PortMapping) -> Json:
    return (*port[:3], str(port.host_ip) if port.host_ip else None, port.size)


def port_from_json(protocol: str, host_port: int, container_port: int, host_ip: str | None, size: int) -> PortMapping:
    return PortMapping(protocol, host_port, container_port, ip_address(host_ip) if host_ip else None, size)


def portmap_from_json(
    snat: bool = True, masq_all: bool = False, conditions4: Sequence[str] = (), conditions6: Sequence[str] = ()
) -> PortmapOptions:
    return PortmapOptions(snat, masq_all, tuple(conditions4), tuple(conditions6))


def tuning_from_json(raw: Json) -> Tuning | None:
    return Tuning(tuple((key, value) for key, value in raw[0]), *raw[1:]) if raw else None


def device_to_json(device: Device | None) -> Json:
    """Without `source`, which the record has as `host_ifname`, and `remade`, which concerns one call."""
    if device is None or device.lease is None:
        return device and device[:4]
    return (*device[:4], lease_to_json(device.lease))


def device_from_json(raw: Json) -> Device | None:
    if raw is None:
        return None
    container, host, extra, *rest = raw
    of_host, of_extra = (tuple(Interface(*link) for link in some) for some in (host, extra))
    ifindex, lease = (*rest, None) if len(rest) == 1 else (*rest, 0, None)[:2]
    return Device(Interface(*container), of_host, of_extra, ifindex, lease=lease_from_json(lease))
