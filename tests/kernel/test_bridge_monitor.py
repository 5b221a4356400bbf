"""What the kernel tells of bridges, addresses and default routes; a pod's own links are not told."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_network

import pytest

from cni_cnm.kernel.contract.changes import NO_LINKS, LinkChange
from cni_cnm.kernel.contract.route import RouteEntry
from cni_cnm.kernel.overlay_stack import KernelOverlayStack
from cni_cnm.kernel.rtnetlink.bridge_monitor import BridgeMonitor
from tests.kernel.lab import Lab

TOLD = [
    "link add br9 type bridge",
    "link set br9 up",
    "addr add 10.9.0.1/24 dev br9",
    "addr add fd09::1/64 dev br9 nodad",
    "link set br9 name br8",
    "route add default via 10.9.0.2 dev br8",
    "-6 route add default dev br8",
    "route del default",
    "addr del 10.9.0.1/24 dev br8",
    "link del br8",
]
NOT_TOLD = [
    "link add va type veth peer name vb",
    "link set va up",
    "link set vb up",
    "link set va master br0",
    "link set va nomaster",
    "addr add fe80::5/64 dev va nodad",
    "-6 route add 2001:db8::/64 dev br0",
    "link add ifb9 type ifb",
    "link set ifb9 up",
    "link del ifb9",
    "route add 192.0.2.0/24 dev br0",
    "route add 192.0.2.0/24 dev br0 table 7",
    "route del 192.0.2.0/24 table 7",
    "-6 route del fe80::/64 dev br0",
    "link del va",
]


@pytest.fixture
def monitor(lab: Lab) -> Iterator[BridgeMonitor]:
    lab.bridge("br0")
    for command in (
        "set br0 address 02:00:00:00:00:01",
        "add v0 type veth peer name w0",
        "set w0 up",
        "set v0 master br0 up",
    ):
        lab.host.ip(
            f"link {command}"
        )  # a bridge's first port is told, and a change of its MAC: ours have one of their own
    while "state UP" not in lab.host.run("ip", "link", "show", "br0"):
        time.sleep(0.02)
    made = lab.host.call(BridgeMonitor)
    yield made
    made.close()


def told(monitor: BridgeMonitor, wait_ms: int = 0) -> bool:
    poll = select.poll()
    poll.register(monitor, select.POLLIN)
    return bool(poll.poll(wait_ms)) and monitor.take() != NO_LINKS


def test_what_is_told(lab: Lab, monitor: BridgeMonitor) -> None:
    """The kernel tells before a command ends, but of an IPv6 address only when it is usable, a moment later."""
    for command in TOLD:
        lab.host.ip(command)
        assert told(monitor, 5000), command
        assert not told(monitor)


def test_what_is_said_of_a_change(lab: Lab, monitor: BridgeMonitor) -> None:
    """Links by name, also deleted ones; addresses and lost routes by the index of their link."""
    index = lab.host.call(lambda: socket.if_nametoindex("br0"))
    for command, said in (
        ("link add br9 type bridge", LinkChange(links=frozenset(["br9"]))),
        ("link del br9", LinkChange(links=frozenset(["br9"]), deleted=frozenset(["br9"]))),
        ("addr add 10.9.0.1/24 dev br0", LinkChange(addressed=frozenset([index]))),
        ("route del 10.9.0.0/24 dev br0", LinkChange(stripped=frozenset([index]))),
        ("-6 route add 2001:db8::/64 dev br0", NO_LINKS),
        ("-6 route del 2001:db8::/64 dev br0", LinkChange(stripped=frozenset([index]))),
        ("route add default via 10.9.0.2 dev br0 onlink", LinkChange(default_route=True)),
        ("route del default", LinkChange(stripped=frozenset([index]), default_route=True)),
        ("addr del 10.9.0.1/24 dev br0", LinkChange(stripped=frozenset([index]))),
    ):
        lab.host.ip(command)
        assert monitor.take() == said, command


def test_own_changes(lab: Lab, monitor: BridgeMonitor) -> None:
    """A route that a stack has deleted is not reported to the one who knows it; another program's is."""
    index = lab.host.call(lambda: socket.if_nametoindex("br0"))
    lab.host.ip("addr add 10.9.0.1/24 dev br0")
    monitor.take()
    with closing(KernelOverlayStack(os.dup(lab.host.fd), "")) as stack:
        for version, dst in ((4, "10.8.0.0/24"), (6, "2001:db8::/64")):
            route = RouteEntry(ip_network(dst), link=index)
            stack.add_route(route)
            stack.delete_route(route)
            assert monitor.take(stack.netlink_port) == NO_LINKS, version
            stack.add_route(route)
            lab.host.ip(f"-{version} route del {dst} dev br0")
            assert monitor.take(stack.netlink_port) == LinkChange(stripped=frozenset([index]))


def test_what_is_not_told(lab: Lab, monitor: BridgeMonitor) -> None:
    """All that a pod's link goes through."""
    for command in NOT_TOLD:
        lab.host.ip(command)
        assert not told(monitor), command
    lab.host.ip("link set lo mtu 60000")
    assert told(monitor), "hardware, and what else has no kind"
