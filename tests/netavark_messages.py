"""What netavark sends to a plugin: every key of its types, with null where a value is absent and serde keeps the key.

Source: src/network/types.rs of netavark 2.1.0. `Network` and `Subnet` leave absent values out; `Route`, `LeaseRange`,
`PortMapping`, `PerNetworkOptions` and `NetworkPluginExec` do not, but for a route's gateway and type.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

CONTAINER = "752947ff91f961eb3cb47ffe9315016979f3ffbec09e4d96a4fae3fb03391697"


def network(name: str = "web", **changes: Any) -> dict[str, Any]:
    """What `create` gets for `podman network create -d cni-cnm NAME`. None removes a key."""
    whole = {
        "created": "2026-11-28T22:45:03.188802390Z",
        "dns_enabled": False,
        "driver": "cni-cnm",
        "id": sha256(name.encode()).hexdigest(),
        "internal": False,
        "ipv6_enabled": False,
        "name": name,
        "ipam_options": {"driver": "host-local"},
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def container(network: dict[str, Any], *addresses: str, ifname: str = "eth0", **changes: Any) -> dict[str, Any]:
    """What `setup` and `teardown` get. `options` are the container's; other changes are keys of the message."""
    options = {
        "aliases": changes.pop("aliases", ["752947ff91f9"]),
        "interface_name": ifname,
        "static_ips": list(addresses) or None,
        "static_mac": changes.pop("static_mac", None),
        "options": changes.pop("options", None),
    }
    whole = {
        "container_id": CONTAINER,
        "container_name": "testctr",
        "port_mappings": None,
        "network": network,
        "network_options": options,
    }
    return {**whole, **changes}


def port(host: int, inside: int, protocol: str = "tcp", host_ip: str = "", size: int = 1) -> dict[str, Any]:
    return {"container_port": inside, "host_ip": host_ip, "host_port": host, "protocol": protocol, "range": size}


def route(destination: str, gateway: str = "", metric: int | None = None, kind: str = "") -> dict[str, Any]:
    given = {"gateway": gateway, "route_type": kind}
    return {"destination": destination, "metric": metric, **{key: value for key, value in given.items() if value}}
