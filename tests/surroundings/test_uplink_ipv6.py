"""The host's own IPv6 while containers come: what a router advertised stays."""

from __future__ import annotations

import pytest

from tests.side import Side
from tests.surroundings.configs import network
from tests.waiting import until

ADVERTISE = """
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v1")
message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
message += struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 7200, 3600, 0, socket.inet_pton(socket.AF_INET6, "2001:db8::"))
s.sendto(message, ("ff02::1", 0, 0, socket.if_nametoindex("v1")))
"""
"""A router advertisement on v1: a default router for half an hour, and a prefix."""


@pytest.fixture
def advertised(side: Side) -> Side:
    """The host has a default route and an address by an advertisement on its link v0."""
    side.node.add_netns("router")
    for argv in ("link add v0 type veth peer name v1 netns router", "link add v2 type veth peer name v3"):
        side.node.run("ip", *argv.split()).ok()
    side.node.run("sysctl", "-qw", "net.ipv6.conf.v0.accept_dad=0", "net.ipv6.conf.v0.accept_ra=1").ok()
    side.node.run("sysctl", "-qw", "net.ipv6.conf.v1.accept_dad=0", netns="/run/netns/router").ok()
    side.node.run("ip", "link", "set", "v0", "up").ok()
    side.node.run("ip", "link", "set", "v1", "up", netns="/run/netns/router").ok()

    def learned() -> bool:
        side.node.run("python3", "-Ic", ADVERTISE, netns="/run/netns/router")
        return bool(defaults(side))

    until(learned, "the advertised default route")  # the router's own address may not be there yet
    return side


def advertise(side: Side) -> None:
    side.node.run("python3", "-Ic", ADVERTISE, netns="/run/netns/router").ok()


def defaults(side: Side) -> list[str]:
    return [route["gateway"] for route in side.node.ip("-6", "route", "show", "default")]


def test_the_default_route_of_an_advertisement_stays(advertised: Side) -> None:
    """IPv6 forwarding, which the first ADD turns on, makes no router forget its own, and the next advertisement counts.

    Links that learned nothing are left as they are: a router takes no advice from its containers.
    """
    side = advertised
    before = defaults(side)
    side.container("c1")
    side.add(network()).ok()
    assert side.sysctl("net/ipv6/conf/all/forwarding") == "1"
    assert defaults(side) == before
    side.node.run("ip", "-6", "route", "del", "default").ok()
    advertise(side)
    until(lambda: defaults(side) == before, "the default route of the next advertisement")
    assert side.sysctl("net/ipv6/conf/v2/accept_ra") == "1"
    side.delete(network()).ok()
    assert defaults(side) == before


def test_an_ipv4_network_leaves_ipv6_alone(advertised: Side) -> None:
    """Nothing is forwarded that no network has."""
    advertised.container("c1")
    advertised.add(network("net", "10.90.0.0/24")).ok()
    assert advertised.sysctl("net/ipv6/conf/all/forwarding") == "0"
    assert advertised.sysctl("net/ipv6/conf/v0/accept_ra") == "1"
