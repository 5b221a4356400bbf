"""Underlay addresses: named, of a link, or by the default routes."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from cni_cnm.cluster.uplink import Uplink, uplinks
from cni_cnm.errors import NotReady
from cni_cnm.kernel import Stack
from cni_cnm.kernel.contract.route import RouteEntry
from tests.memory_kernel.namespaces import MemoryNamespaces


@pytest.fixture
def stack() -> Stack:
    """Two links: eth0 with both IP versions, eth1 with IPv4."""
    made = MemoryNamespaces().host()
    for number, name in enumerate(("eth0", "eth1")):
        made.add_bridge(name, mac=f"02:00:00:00:00:0{number}")
        link = made.link(name)
        assert link is not None
        made.set_link(link.ifindex, up=True, mtu=1500 - number)
    for index, address in ((2, "192.0.2.11/24"), (2, "fe80::1/64"), (2, "fd00::11/64"), (3, "198.51.100.5/25")):
        made.add_address(index, ip_interface(address))
    return made


def route(stack: Stack, via: str, link: int, priority: int | None = None, src: str = "") -> None:
    dst = ip_network("::/0" if ":" in via else "0.0.0.0/0")
    stack.add_route(
        RouteEntry(dst, ip_address(via), link, priority=priority, src=ip_address(src) if src else None)
    )  # fmt: skip


ETH0 = Uplink(ip_address("192.0.2.11"), 2, "eth0", 1500, (ip_network("192.0.2.0/24"),))
ETH0_6 = Uplink(ip_address("fd00::11"), 2, "eth0", 1500, (ip_network("fd00::/64"),))
ETH1 = Uplink(ip_address("198.51.100.5"), 3, "eth1", 1499, (ip_network("198.51.100.0/25"),))


def test_default_routes(stack: Stack) -> None:
    """Each IP version by its own default route, IPv4 first; the one with the lowest metric counts."""
    route(stack, "fd00::1", 2)
    assert uplinks(stack, ()) == (ETH0_6,)
    route(stack, "198.51.100.1", 3, priority=200)
    assert uplinks(stack, ()) == (ETH1, ETH0_6)
    route(stack, "192.0.2.1", 2, priority=100)
    assert uplinks(stack, ()) == (ETH0, ETH0_6)


def test_source_of_the_route(stack: Stack) -> None:
    """A route that names a source address has the last word."""
    stack.add_address(2, ip_interface("192.0.2.99/24"))
    route(stack, "192.0.2.1", 2, src="192.0.2.99")
    assert [each.address for each in uplinks(stack, ())] == [ip_address("192.0.2.99")]


def test_named(stack: Stack) -> None:
    """Addresses, in the order of the setting; or a link, with its first address of each IP version."""
    assert uplinks(stack, ("198.51.100.5",)) == (ETH1,)
    assert uplinks(stack, ("fd00::11", "192.0.2.11")) == (ETH0_6, ETH0)
    assert uplinks(stack, ("eth0",)) == (ETH0, ETH0_6)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ((), "no default route"),
        (("192.0.2.12",), "192.0.2.12, which is on no link"),
        (("eth7",), "eth7, and this host has no such link"),
        (("lo",), "lo, and that link has no address"),
    ],
)
def test_none(stack: Stack, wanted: tuple[str, ...], why: str) -> None:
    """The reason is what STATUS says."""
    with pytest.raises(NotReady, match=why):
        uplinks(stack, wanted)
