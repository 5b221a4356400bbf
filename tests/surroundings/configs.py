"""Configurations of the tests here: one bridge network of the reference profile, one of the CNM profile."""

from __future__ import annotations

from typing import Any

SUBNETS = {4: "10.90.0.0/24", 6: "fd00:90::/64"}
GATEWAYS = {4: "10.90.0.1", 6: "fd00:90::1"}


Config = dict[str, Any]


def network(name: str = "net", *subnets: str, routes: list[Config] | None = None, **keys: Any) -> Config:
    """A reference bridge with host-local; without subnets one of each family."""
    ranges = [[{"subnet": subnet}] for subnet in subnets or SUBNETS.values()]
    ipam = {"type": "host-local", "ranges": ranges, **({"routes": routes} if routes is not None else {})}
    return {"cniVersion": "1.0.0", "name": name, "bridge": f"br-{name}", "isGateway": True, "ipam": ipam, **keys}


def cnm(name: str = "net", *subnets: str, **keys: Any) -> Config:
    """A network of the CNM profile; without subnets one of each family."""
    ranges = [[{"subnet": subnet}] for subnet in subnets or SUBNETS.values()]
    return {"cniVersion": "1.0.0", "name": name, "ipam": {"type": "host-local", "ranges": ranges}, **keys}


def interface(result: dict[str, Any], name: str) -> dict[str, Any]:
    """The entry of a result's `interfaces` with that name."""
    found: dict[str, Any] = next(link for link in result["interfaces"] if link["name"] == name)
    return found
