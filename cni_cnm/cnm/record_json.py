"""The values inside a record, to and from JSON: leases, routes, devices, ports, tuning.

The forms are those on disk since 0.1.0. A value that later versions add is optional when it is read.
"""

from __future__ import annotations

from functools import lru_cache

from cni_cnm.model import (
    PARSED_MAX,
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
    from typing import Any

    from cni_cnm.model import IPNetwork, Json


_ROUTE_NUMBERS = Route._fields[2:]

LATER_OPTIONS = frozenset((
    "gateway_modes", "masquerade_except", "addressless", "sources", "trusted", "outside", "ip_hooks", "metric",
    "unmanaged",
))  # fmt: skip
"""Options of drivers that 0.1.0 does not know. It would fail on them, so a record has them under a key of their own."""


def options_to_json(options: Mapping[str, Json]) -> dict[str, Json]:
    """The keys of a record that hold its driver's options."""
    later = {key: value for key, value in options.items() if key in LATER_OPTIONS}
    if not later:
        return {"options": options}
    return {"options": {key: options[key] for key in options if key not in later}, "later_options": later}


def endpoint_options_to_json(options: Any) -> dict[str, Json]:
    """The same for the record of an endpoint, without texts, numbers and flags that have their default."""
    try:
        return _endpoint_options_to_json(options)
    except TypeError:  # options that have objects in them, which cannot be looked up
        return _endpoint_options_to_json.__wrapped__(options)


@lru_cache(64)
def _endpoint_options_to_json(options: Any) -> dict[str, Json]:
    raw, defaults = options.to_json(), getattr(options, "_field_defaults", {})
    kept = {key for key, value in raw.items() if isinstance(value, list | dict) or value != defaults.get(key, raw)}
    return options_to_json({key: value for key, value in raw.items() if key in kept})


def options_from_json(raw: Mapping[str, Json]) -> Mapping[str, Json]:
    """The options that a record has."""
    return {**raw["options"], **raw["later_options"]} if "later_options" in raw else raw["options"]


def lease_to_json(lease: Lease | None) -> Json:
    if lease is None:
        return None
    return {
        "addresses": [[str(a.interface), str(a.gateway) if a.gateway else None] for a in lease.addresses],
        "routes": routes_to_json(lease.routes),
        "dns": lease.dns,
    }


def lease_from_json(raw: Json) -> Lease | None:
    if raw is None:
        return None
    nameservers, domain, search, options = raw["dns"]
    return Lease(
        tuple(Address(ip_interface(text), ip_address(gw) if gw else None) for text, gw in raw["addresses"]),
        routes_from_json(raw["routes"]),
        Dns(tuple(nameservers), domain, tuple(search), tuple(options)),
    )


def routes_to_json(routes: Sequence[Route]) -> Json:
    return [_route_to_json(route) for route in routes]


@lru_cache(PARSED_MAX)
def _route_to_json(route: Route) -> Json:
    """Without numbers that are not given."""
    raw: dict[str, Json] = {"dst": str(route.dst), "gw": str(route.gw) if route.gw else None}
    raw.update((key, value) for key, value in zip(_ROUTE_NUMBERS, route[2:], strict=True) if value is not None)
    return raw


def routes_from_json(raw: Json) -> tuple[Route, ...]:
    return tuple(
        Route(**{**one, "dst": ip_network(one["dst"]), "gw": ip_address(one["gw"]) if one["gw"] else None})
        for one in raw
    )


def ports_to_json(ports: Sequence[PortMapping]) -> Json:
    return [(*port[:3], str(port.host_ip) if port.host_ip else None, port.size) for port in ports]


def ports_from_json(raw: Json) -> tuple[PortMapping, ...]:
    return tuple(
        PortMapping(protocol, host_port, container_port, ip_address(host_ip) if host_ip else None, size)
        for protocol, host_port, container_port, host_ip, size in raw
    )


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


def named_subnets(config: Mapping[str, Json]) -> list[IPNetwork]:
    """The subnets in a network's ipam object, and those that an IPAM plugin gave. What cannot be read is left out."""
    from cni_cnm import ipam

    if ipam.allocated(config):
        return list(ipam.allocated_subnets(config))
    members: list[Json] = [config]
    for range_set in _listed(config.get("ranges")):
        members += _listed(range_set)
    found: list[IPNetwork] = []
    for member in members:
        text = member.get("subnet") if isinstance(member, dict) else None
        if isinstance(text, str):  # a number or a bool would be an address, too
            try:
                found.append(ip_network(text, strict=False))
            except ValueError:
                continue
    return found


def _listed(value: Json) -> list[Json]:
    return list(value) if isinstance(value, list | tuple) else []
