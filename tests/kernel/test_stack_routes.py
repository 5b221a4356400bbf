"""Addresses and routes of any value survive the way through the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cni_cnm.kernel import Link, RouteEntry
from cni_cnm.kernel.contract.route import completed
from cni_cnm.kernel.netns import KernelNamespaces
from cni_cnm.kernel.stack import KernelStack
from tests.waiting import until

V4, V6 = ip_interface("10.0.0.2/8"), ip_interface("fd00::2/16")
KERNEL = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def routed(host: KernelStack, netns: str) -> Iterator[tuple[KernelStack, Link]]:
    """A container whose eth0 is up, with an address of each family."""
    container = KernelNamespaces().open(netns)
    host.add_veth("veth0", peer="eth0", peer_stack=container)
    far, near = container.link("eth0"), host.link("veth0")
    assert far is not None
    assert near is not None
    host.set_link(near.ifindex, up=True)
    container.add_address(far.ifindex, V4)
    container.add_address(far.ifindex, V6)
    container.set_link(far.ifindex, up=True)
    yield container, far
    container.close()


def _v4(first: int) -> st.SearchStrategy[IPv4Address]:
    return st.integers(first << 24, (first << 24) + (1 << 24) - 1).map(IPv4Address)


def _v6(first: int) -> st.SearchStrategy[IPv6Address]:
    return st.integers(first << 112, ((first + 1) << 112) - 1).map(IPv6Address)


@st.composite
def routes(draw: st.DrawFn) -> RouteEntry:
    """Destinations outside the addresses' subnets, gateways inside."""
    six = draw(st.booleans())
    dst: IPv4Network | IPv6Network
    gw: IPv4Address | IPv6Address | None
    if six:
        dst = IPv6Network((draw(_v6(0x2001)), draw(st.integers(16, 128))), strict=False)
        gw = draw(st.none() | _v6(0xFD00).filter(lambda a: int(a) & 0xFFFF not in (0, 2)))
    else:
        dst = IPv4Network((draw(_v4(50)), draw(st.integers(8, 32))), strict=False)
        gw = draw(st.none() | _v4(10).filter(lambda a: a not in (V4.ip, V4.network[0], V4.network[-1])))
    return RouteEntry(
        dst=dst if draw(st.booleans()) else ip_network("::/0" if six else "0.0.0.0/0"),
        gw=gw,
        mtu=draw(st.none() | st.integers(1280, 9000)),
        advmss=draw(st.none() | st.integers(256, 8960)),
        priority=draw(st.none() | st.integers(1, 2**32 - 1)),
        table=draw(st.none() | st.integers(1, 252) | st.integers(256, 2**32 - 1)),
        src=draw(st.sampled_from([None, V6.ip if six else V4.ip])),
    )


@KERNEL
@given(wanted=st.lists(routes(), min_size=1, max_size=4, unique_by=lambda r: (r.dst, r.priority, r.table)))
def test_any_route_comes_back(routed: tuple[KernelStack, Link], wanted: list[RouteEntry]) -> None:
    """Routes added in one batch read back as given, completed; deleted in one batch they are gone."""
    container, link = routed
    entries = [route._replace(link=link.ifindex) for route in wanted]
    identities = {(e.dst, e.table, e.priority) for e in map(completed, entries)}
    assume(len(identities) == len(entries))
    with container.batch():
        for entry in entries:
            container.add_route(entry)
    try:
        for entry in entries:
            assert completed(entry) in container.routes(link=link.ifindex, table=entry.table)
    finally:
        with container.batch():
            for entry in entries:  # completed: without a priority the kernel deletes the first one of the destination
                container.delete_route(completed(entry))
    for entry in entries:
        assert completed(entry) not in container.routes(table=entry.table)


@KERNEL
@given(
    address=st.builds(lambda ip, n: ip_interface(f"{ip}/{n}"), _v4(50), st.integers(1, 32))
    | st.builds(lambda ip, n: ip_interface(f"{ip}/{n}"), _v6(0x2001), st.integers(1, 128))
)
def test_any_address_comes_back(routed: tuple[KernelStack, Link], address: object) -> None:
    """An address of any prefix length reads back, and deleting it leaves the others."""
    container, link = routed
    interface = ip_interface(str(address))
    # Link-local ones come and go with the carrier.
    before = [a for a in container.addresses(link.ifindex) if not a.ip.is_link_local]
    container.add_address(link.ifindex, interface)
    assert interface in container.addresses(link.ifindex)
    container.delete_address(link.ifindex, interface)
    assert [a for a in container.addresses(link.ifindex) if not a.ip.is_link_local] == before


def test_duplicate_address_detection_runs_when_asked(routed: tuple[KernelStack, Link]) -> None:
    """An IPv6 address with `dad` is tentative for a while; without, it never is."""
    container, link = routed
    until(lambda: not container.tentative(link.ifindex), "the link-local one is usable")
    container.add_address(link.ifindex, ip_interface("fd00::3/64"))
    assert not container.tentative(link.ifindex)
    container.add_address(link.ifindex, ip_interface("fd00::4/64"), dad=True)
    assert container.tentative(link.ifindex)
    until(lambda: not container.tentative(link.ifindex), "the detection ends")


def test_ipv4_addresses_have_a_broadcast_address(routed: tuple[KernelStack, Link]) -> None:
    """The kernel's own view agrees: the address has the broadcast address of its subnet."""
    container, _ = routed
    import json
    import subprocess

    shown = subprocess.run(
        ["nsenter", f"--net={container.path}", "ip", "-j", "-4", "address", "show", "eth0"],
        capture_output=True,
        check=True,
    ).stdout
    (address,) = json.loads(shown)[0]["addr_info"]
    assert (address["local"], address["prefixlen"], address["broadcast"]) == ("10.0.0.2", 8, "10.255.255.255")
