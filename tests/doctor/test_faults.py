"""Faults of links, addresses, routes, sysctls and elements: provoked, found, and repaired by what is printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from cni_cnm.doctor.diagnose import fix
from tests.doctor.world import WEB, World


class Fault(NamedTuple):
    name: str
    check: str
    provoke: Callable[[World], object]
    what: str
    """A part of the sentence."""


def _ip(command: str) -> Callable[[World], object]:
    return lambda world: world.ip(command.format(c1=world.link("c1"), c2=world.link("c2"), c3=world.link("c3")))


def _inside(container: str, command: str) -> Callable[[World], object]:
    return lambda world: world.inside(container, command)


def _sysctl(key: str, value: str) -> Callable[[World], object]:
    return lambda world: world.sysctl(key, value)


def _nft(command: str) -> Callable[[World], object]:
    return lambda world: world.run("nft", command)


def _no_default(world: World) -> None:
    world.inside("c2", "route del default")


FAULTS = [
    # bridges and what is on them
    Fault("bridge down", "networks", _ip("link set br-web down"), "br-web is down"),
    Fault("bridge gone", "networks", _ip("link del br-web"), "br-web does not exist"),
    Fault("gateway gone", "networks", _ip("addr del 10.61.0.1/24 dev br-web"), "not have the address 10.61.0.1/24"),
    Fault("IPv6 gateway gone", "networks", _ip("addr del fd00:61::1/64 dev br-web"), "the address fd00:61::1/64"),
    Fault("subnet route gone", "networks", _ip("route del 10.61.0.0/24 dev br-web"), "the route to 10.61.0.0/24"),
    Fault("forwarding off", "networks", _sysctl("net/ipv4/ip_forward", "0"), "forwarding of IPv4 is off"),
    Fault("IPv6 forwarding off", "networks", _sysctl("net/ipv6/conf/all/forwarding", "0"), "forwarding of IPv6 is off"),
    # the host's ends
    Fault("end down", "endpoints", _ip("link set {c1} down"), "is down"),
    Fault("end off its bridge", "endpoints", _ip("link set {c1} nomaster"), "is not a port of br-web"),
    Fault("end on another bridge", "endpoints", _ip("link set {c1} master br-back"), "is on br-back, not on br-web"),
    Fault("other port flags", "endpoints", _ip("link set {c1} type bridge_slave hairpin off"), "has other port flags"),
    Fault("smaller MTU of the end", "endpoints", _ip("link set {c1} mtu 1300"), "has the MTU 1300"),
    Fault("route of ptp gone", "endpoints", _ip("route del 10.62.0.2/32 dev {c3}"), "no route to 10.62.0.2"),
    # sysctls
    Fault("a link does not forward", "forwarding", _sysctl("net/ipv4/conf/br-web/forwarding", "0"), "off on br-web"),
    Fault("the uplink does not", "forwarding", _sysctl("net/ipv4/conf/up0/forwarding", "0"), "off on up0"),
    Fault("IPv6 off on a bridge", "forwarding", _sysctl("net/ipv6/conf/br-web/disable_ipv6", "1"), "IPv6 is off on"),
    Fault("strict reverse path", "forwarding", _sysctl("net/ipv4/conf/br-back/rp_filter", "1"), "filtered strictly"),
    Fault("a bridge listens to routers", "forwarding", _sysctl("net/ipv6/conf/br-web/accept_ra", "2"), "accepts"),
    # containers
    Fault("interface down", "inside", _inside("c2", "link set eth0 down"), "the interface eth0 is down"),
    Fault("loopback down", "inside", _inside("c2", "link set lo down"), "lo is down"),
    Fault("no default route", "inside", _no_default, "the route to 0.0.0.0/0 via 10.61.0.1 is missing"),
    Fault("no address", "inside", _inside("c2", "addr flush dev eth0"), "does not have the address"),
    Fault("another MAC", "inside", _inside("c2", "link set eth0 address 02:00:00:00:00:99"), "has the MAC 02:00"),
    # the packet filter
    Fault("ruleset flushed", "packet_filter", _nft("flush ruleset"), "rules of the packet filter are missing"),
    Fault("chains flushed", "packet_filter", _nft("flush table inet cni_cnm"), "rules of the packet filter"),
    Fault("elements gone", "packet_filter", _nft("flush map inet cni_cnm masquerade4"), "missing, of"),
    Fault("port gone", "packet_filter", _nft("flush map inet cni_cnm ports4"), "missing, of"),
    Fault("table asleep", "packet_filter", _nft("add table inet cni_cnm { flags dormant; }"), "is dormant"),
    Fault(
        "element without owner",
        "packet_filter",
        _nft('add element inet cni_cnm ports4 { tcp . 99 comment "0123456789ab web/gone/eth0" : 10.61.0.9 . 80 }'),
        "owners that do not exist: 0123456789ab",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found_and_repaired(world: World, fault: Fault) -> None:
    """It is found, its commands repair it, and those of whatever else it has caused leave a healthy host."""
    fault.provoke(world)
    world.repair(fault.check, fault.what)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_is_safe_is_fixed(world: World, fault: Fault) -> None:
    """`--fix` leaves nothing of it. What is not safe stays until its commands are followed."""
    fault.provoke(world)
    before = world.look()
    list(fix(world.controller.host, before))
    after = world.findings()
    assert [one.what for one in after if one.safe] == []
    for _ in range(9):
        if further := world.findings():
            world.follow(further[0].commands)
    assert world.findings() == []


def test_another_program_has_an_address_on_our_bridge(world: World) -> None:
    world.ip("addr add 10.88.0.1/16 dev br-web")
    world.shown("bridges", "the address 10.88.0.1/16")
    world.ip("addr del 10.88.0.1/16 dev br-web")
    assert world.findings() == []


def test_a_link_that_is_gone(world: World) -> None:
    """The container has to be made again: what is left of it is removed, and the runtime calls ADD."""
    world.ip(f"link del {world.link('c2')}")
    world.repair("endpoints", "on the host is gone, the container is there")
    world.attach(WEB, "c2")
