"""Scenes of a host: with a handful of endpoints, where everything is shown, and with hundreds."""

from __future__ import annotations

from typing import Any

from cni_cnm.graph.scene import MASQUERADE, MISSING, NOWHERE, UP, EndpointScene, NetworkScene, OtherHost, Scene, Uplink

WHEN = "2026-11-28 19:44:00 UTC"
NODE1 = (Uplink("eth0", ("192.0.2.10/24", "2001:db8::10/64")),)


def endpoint(name: str, network: str, number: int, **more: Any) -> EndpointScene:
    given = {
        "ifname": "eth0",
        "addresses": (f"10.88.{number // 250}.{number % 250 + 2}/16",),
        "link": f"veth{number:08x}",
        "link_state": UP,
        "owner": "cni/containerd",
    }
    return EndpointScene(f"{number:064x}", name, network, **{**given, **more})


def five() -> Scene:
    """Two networks that are open to each other, one sandbox in both, published ports, and faults."""
    front = endpoint(
        "shop/frontend-7d9c5bdf6f-x2x4k",
        "shop",
        1,
        addresses=("10.88.0.3/16", "fd00:88::3/64"),
        ports=("8080→80/tcp", "8443→443/tcp"),
    )
    shop = (
        front,
        endpoint("shop/cart-0", "shop", 2, also_in=("db",)),
        endpoint("shop/worker-5f6b7c8d9-qq8zt", "shop", 3, state="pending"),
    )
    db = (
        endpoint("shop/cart-0", "db", 4, ifname="eth1", addresses=("10.89.0.2/24",), also_in=("shop",)),
        endpoint("shop/postgres-0", "db", 5, addresses=("10.89.0.3/24",), link_state=MISSING),
    )
    subnets, gateways = ("10.88.0.0/16", "fd00:88::/64"), ("10.88.0.1/16", "fd00:88::1/64")
    networks = (
        NetworkScene("shop", "bridge", subnets, "br-8d9001d32c6a", UP, gateways, MASQUERADE, "same-bridge", shop),
        NetworkScene("db", "bridge", ("10.89.0.0/24",), "br-db", UP, ("10.89.0.1/24",), NOWHERE, "isolated", db),
    )
    return Scene("node1", NODE1, networks, (("db", "shop"),))


def many(number: int, networks: int = 5) -> Scene:
    """Endpoints in networks of different sizes, other hosts of a cluster, and pairs of all networks."""
    found: list[NetworkScene] = []
    names = [f"net{at}" for at in range(networks)]
    for at, name in enumerate(names):
        size = number // 2 ** (at + 1) if at < networks - 1 else number - sum(len(one.endpoints) for one in found)
        ports = ("127.0.0.1:80→80/tcp", "443→443/tcp") if at == 1 else ()
        members = tuple(
            endpoint(f"team{one % 7}/app-{one * 7919 % 99991:05d}", name, at * 10000 + one, ports=ports)
            for one in range(size)
        )
        driver, outside = ("overlay", MASQUERADE) if at == 2 else ("bridge", NOWHERE if at == 3 else MASQUERADE)
        found.append(NetworkScene(name, driver, (f"10.{at}.0.0/16",), f"br{at}", UP, (), outside, "routed", members))
    pairs = tuple((one, other) for one in names for other in names if one < other)
    others = tuple(OtherHost(f"node{at}", ("192.0.2.1",), {"net2": ("10.2.0.0/24",)}, at != 3) for at in range(2, 6))
    return Scene("node1", NODE1, tuple(found), pairs, others if networks > 2 else ())
