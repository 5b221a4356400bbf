"""Objects as `docker network inspect` and `docker inspect` show them, with Docker's keys and text values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cni_cnm.drivers import OVERLAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.find.endpoint_names import NamedEndpoint
    from cni_cnm.model import Address, Subnet

_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104


def network(record: NetworkRecord, subnets: Sequence[Subnet], endpoints: Sequence[NamedEndpoint]) -> dict[str, Any]:
    """A network; `Containers` has each endpoint by its container's id, or by its own if it has not joined."""
    versions = {subnet.pool.version for subnet in subnets}
    return {
        "Name": record.name,
        "Id": record.id,
        "Created": created(record),
        "Scope": scope(record),
        "Driver": record.driver,
        "EnableIPv4": 4 in versions,
        "EnableIPv6": 6 in versions,
        "IPAM": {"Driver": record.ipam_type or "none", "Options": {}, "Config": list(map(_ipam_config, subnets))},
        "Internal": record.internal,
        "Containers": _containers(endpoints),
        "Options": {key: _text(value) for key, value in record.options.to_json().items()},
        "Labels": dict(record.labels),
    }


def created(record: NetworkRecord) -> str:
    """In UTC; "" if it is not on record."""
    return datetime.fromtimestamp(record.created, UTC).isoformat() if record.created else ""


def scope(record: NetworkRecord) -> str:
    return "global" if record.driver == OVERLAY else "local"


def endpoint_settings(record: EndpointRecord) -> dict[str, Any]:
    """An endpoint, as a value of `NetworkSettings.Networks`; `IfName` is not Docker's."""
    four, six = (_first(record, version) for version in (4, 6))
    return {
        "NetworkID": record.network_id,
        "EndpointID": record.id,
        "IfName": record.ifname,
        "MacAddress": record.mac or (record.device.container.mac if record.device else ""),
        "IPAddress": str(four.interface.ip) if four else "",
        "IPPrefixLen": four.interface.network.prefixlen if four else 0,
        "Gateway": str(four.gateway or "") if four else "",
        "GlobalIPv6Address": str(six.interface.ip) if six else "",
        "GlobalIPv6PrefixLen": six.interface.network.prefixlen if six else 0,
        "IPv6Gateway": str(six.gateway or "") if six else "",
        "Aliases": list(record.aliases),
    }


def port_bindings(records: Iterable[EndpointRecord]) -> Mapping[str, list[dict[str, str]]]:
    """Published ports by the container's port, each binding with an address of the host."""
    bindings: dict[str, list[dict[str, str]]] = {}
    for record in records:
        versions = sorted({address.interface.version for address in record.addresses})
        for port in record.ports:
            places = [str(port.host_ip)] if port.host_ip is not None else [_ANY[version] for version in versions]
            for offset in range(port.size):
                of_port = bindings.setdefault(f"{port.container_port + offset}/{port.protocol}", [])
                of_port += [{"HostIp": place, "HostPort": str(port.host_port + offset)} for place in places]
    return bindings


def _containers(endpoints: Sequence[NamedEndpoint]) -> dict[str, dict[str, str]]:
    """A container's second endpoint in the same network has its interface's name in the key."""
    found: dict[str, dict[str, str]] = {}
    for endpoint in endpoints:
        record = endpoint.record
        four, six = (_first(record, version) for version in (4, 6))
        key = endpoint.container_id or record.id
        found[f"{key}/{record.ifname}" if key in found else key] = {
            "Name": endpoint.container,
            "EndpointID": record.id,
            "MacAddress": endpoint.mac,
            "IPv4Address": str(four.interface) if four else "",
            "IPv6Address": str(six.interface) if six else "",
        }
    return found


def _ipam_config(subnet: Subnet) -> dict[str, Any]:
    config: dict[str, Any] = {"Subnet": str(subnet.pool)}
    if subnet.gateway is not None:
        config["Gateway"] = str(subnet.gateway.ip)
    if subnet.aux:
        config["AuxiliaryAddresses"] = {name: address.partition("/")[0] for name, address in subnet.aux.items()}
    return config


def _first(record: EndpointRecord, version: int) -> Address | None:
    return next((one for one in record.addresses if one.interface.version == version), None)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)
