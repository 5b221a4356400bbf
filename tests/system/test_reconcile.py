"""What other programs do to networks under their containers is put right, by the service and by `cni-cnm repair`."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.side import Side
from tests.system.daemon import Daemon
from tests.waiting import until

LOG = "/run/cni-cnm.log"
NET: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "net",
    "bridge": "br-net",
    "isGateway": True,
    "mtu": 1400,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.61.0.0/24"}], [{"subnet": "fd00:61::/64"}]]},
}
PTP: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "pairs",
    "driver": "ptp",
    "ipam": {"ranges": [[{"subnet": "10.62.0.0/24"}], [{"subnet": "fd00:62::/64"}]]},
}
LOSSES = [
    ("link set br-net down", "br-net is down"),
    ("link set br-net mtu 1300", "br-net has the MTU 1300 instead of 1400"),
    ("addr del 10.61.0.1/24 dev br-net", "br-net does not have the address 10.61.0.1/24"),
    ("addr del fd00:61::1/64 dev br-net", "br-net does not have the address fd00:61::1/64"),
    ("addr flush dev br-net", "br-net does not have the address 10.61.0.1/24"),
    ("route del 10.61.0.0/24 dev br-net", "the route to 10.61.0.0/24 over br-net is missing"),
    ("-6 route del fd00:61::/64 dev br-net", "the route to fd00:61::/64 over br-net is missing"),
    ("link del br-net", "br-net does not exist; made again, with 2 containers on it"),
]


@pytest.fixture
def side(side: Side) -> Side:
    """Two containers on a bridge, one on a link of its own; the log is a file."""
    side.node.write("/etc/cni-cnm/config.toml", f'log = "{LOG}"\n')
    side.add(NET, "c1").ok()
    side.add(NET, "c2").ok()
    side.container("c3")
    side.add(PTP, "c3").ok()
    return side


@contextmanager
def serving(side: Side) -> Iterator[Daemon]:
    service = Daemon(side.node, str(side.executable), "serve", log="/run/service.log")
    try:
        service.wait(side.node.path("/run/cni-cnm/service.sock").exists)
        yield service
        assert service.stop() == 0
    finally:
        service.stop(signal.SIGKILL)


@contextmanager
def standing_still(service: Daemon) -> Iterator[None]:
    """What happens meanwhile the service sees at once."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text(encoding="ascii").split()
    for pid in children:
        os.kill(int(pid), signal.SIGSTOP)
    yield
    for pid in children:
        os.kill(int(pid), signal.SIGCONT)


def said(side: Side) -> list[str]:
    """Repairs in the log."""
    log = side.node.path(LOG)
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [re.sub(r" [0-9.]+ ms$", "", line.partition(" REPAIR ")[2]) for line in lines if " REPAIR " in line]


def ip(side: Side, command: str) -> None:
    side.node.run("ip", *command.split()).ok()


def reaches(side: Side, container: str, *addresses: str) -> bool:
    return all(side.node.ping(address, netns=f"/run/netns/{container}", wait=1) for address in addresses)


def works(side: Side) -> bool:
    """Every container reaches its gateway and the others, by IPv4 and IPv6."""
    return (
        reaches(side, "c1", "10.61.0.1", "fd00:61::1", "10.61.0.3", "fd00:61::3")
        and reaches(side, "c2", "10.61.0.1", "fd00:61::1")
        and reaches(side, "c3", "10.62.0.1", "fd00:62::1")
    )


def test_the_service_puts_right_what_it_is_told_of(side: Side) -> None:
    """Each is said once, with the object, what was missing and what was done; nothing else is said."""
    before = side.state()
    with serving(side) as service:
        for number, (command, sentence) in enumerate(LOSSES):
            with standing_still(service):  # `ip` makes some changes one after the other, and each may be repaired
                ip(side, command)
            until(lambda: len(said(side)) > number, command)  # noqa: B023
            assert sentence in said(side)[number]
            assert said(side)[number].startswith("the network net: ")
            until(lambda: works(side), command)
        [end] = (link["ifname"] for link in side.node.ip("-d", "link", "show", "type", "veth") if "master" not in link)
        ip(side, f"route del 10.62.0.2/32 dev {end}")
        until(lambda: len(said(side)) > len(LOSSES), "the route to a container of ptp")
        assert said(side)[-1].startswith("the endpoint pairs/c3/eth0: the host has no route to 10.62.0.2")
        assert works(side)
        assert len(said(side)) == len(LOSSES) + 1
    assert side.state() == before
    assert side.node.run(str(side.executable), "repair", "--dry-run").ok().out == ""


LISTEN = """
import os, sys, time
from cni_cnm.service.reconcile_watch import Monitors
monitors, wake = Monitors(), os.eventfd(0)
print("ready", flush=True)
while True:
    filters, links = monitors.wait(wake, time.monotonic() + 600)
    print(*sorted(links.links), "addresses", len(links.addressed), "lost", len(links.stripped), flush=True)
"""


def test_a_pod_that_comes_and_goes_is_no_change(side: Side) -> None:
    """The watch sleeps through ADD and DEL on a network that has a container; a change of its bridge wakes it."""
    told = side.node.path("/run/told")
    listener = Daemon(side.node, sys.executable, "-c", LISTEN, log="/run/told")
    try:
        listener.wait(lambda: told.exists() and "ready" in told.read_text(encoding="utf-8"))
        for number in range(4, 8):
            side.container(f"c{number}")
            side.add(NET, f"c{number}").ok()
        for number in range(4, 8):
            side.delete(NET, f"c{number}").ok()
        ip(side, "link set br-net mtu 1399")
        until(lambda: told.read_text(encoding="utf-8").count("\n") > 1, "the change of the bridge")
        assert told.read_text(encoding="utf-8").splitlines()[1:] == ["br-net addresses 0 lost 0"]
    finally:
        listener.stop(signal.SIGKILL)


def test_the_service_looks_when_it_starts(side: Side) -> None:
    """What was lost while none ran: the bridge, and a lease folder under live containers."""
    ip(side, "link del br-net")
    side.node.run("rm", "-rf", "/var/lib/cni/networks/net").ok()
    with serving(side):
        until(lambda: len(said(side)) == 2, "two repairs")
        assert works(side)
    assert sorted(side.leases("net"))[:2] == ["10.61.0.2", "10.61.0.3"]
    side.container("c4")
    assert side.add(NET, "c4").ok().json["ips"][0]["address"] == "10.61.0.4/24"


@pytest.mark.parametrize("by", ["repair", "service"])
@pytest.mark.quick("service")
def test_a_bridge_of_0_1_0_keeps_its_mtu(side: Side, by: str) -> None:
    """It was made with the uplink's MTU, and the kernel gives it 1500 with its last port: the next pod had that."""
    node, config = side.node, {"cniVersion": "1.0.0", "name": "wide", "ipam": {"subnet": "10.63.0.0/24"}}
    for command in (
        "link add up0 mtu 1400 type veth peer name far0 mtu 1400",
        "addr add 192.0.2.1/24 dev up0",
        "link set up0 up",
        "route add default via 192.0.2.9",
    ):
        ip(side, command)
    side.container("c4")
    bridge = side.add(config, "c4").ok().json["interfaces"][0]
    side.delete(config, "c4").ok()
    ip(side, f"link del {bridge['name']}")
    ip(side, f"link add {bridge['name']} mtu 1400 address {bridge['mac']} type bridge")
    side.add(config, "c4").ok()

    def mtu(name: str, netns: str = "") -> int:
        return int(node.ip("link", "show", "dev", name, netns=netns)[0]["mtu"])

    def leaves() -> None:
        side.delete(config, "c4").ok()
        if by == "repair":
            assert mtu(bridge["name"]) == 1500
            assert f"{bridge['name']} has the MTU 1500 instead of 1400" in node.run(str(side.executable), by).ok().out
        until(lambda: mtu(bridge["name"]) == 1400, "its MTU")

    if by == "service":
        with serving(side):
            leaves()
    else:
        leaves()
    for _ in range(2):
        side.add(config, "c4").ok()
        assert mtu("eth0", "/run/netns/c4") == 1400
        side.delete(config, "c4").ok()
    assert mtu(bridge["name"]) == 1400


def test_repair_on_demand(side: Side) -> None:
    """`repair` prints what it has put right, `--dry-run` what it would. The second time there is nothing to say."""
    program = str(side.executable)
    ip(side, "link del br-net")
    side.node.run("nft", "flush", "ruleset").ok()
    found = side.node.run(program, "repair", "--dry-run").ok().out.splitlines()
    assert "the network net: br-net does not exist" in found
    assert side.node.run(program, "repair", "--dry-run").ok().out.splitlines() == found
    out = side.node.run(program, "repair").ok().out.splitlines()
    assert "the network net: br-net does not exist; made again, with 2 containers on it" in out
    assert any(line.startswith("the packet filter: ") for line in out)
    assert side.node.run(program, "repair").ok().out == ""
    assert works(side)


def test_an_overlap_is_said_once(side: Side) -> None:
    """A VPN that comes up with a network's subnet: one line in the log, also if it comes again. The network goes on."""
    with serving(side):
        for _ in range(2):
            ip(side, "link add vpn0 type bridge")
            ip(side, "link set vpn0 up")
            ip(side, "addr add 10.61.0.77/24 dev vpn0")
            until(lambda: "NOTICE" in side.node.path(LOG).read_text(encoding="utf-8"), "the notice")
            ip(side, "link del vpn0")
        assert works(side)
    [line] = [one for one in side.node.path(LOG).read_text(encoding="utf-8").splitlines() if "NOTICE" in one]
    assert "NOTICE the subnet 10.61.0.0/24 of the network net is also that of vpn0" in line


def test_what_cannot_be_put_right_is_an_error(side: Side) -> None:
    """Another program's address stays where it is; exit code 1 and the sentence."""
    ip(side, "addr del 10.61.0.1/24 dev br-net")
    ip(side, "addr add 10.77.0.1/24 dev br-net")
    done = side.node.run(str(side.executable), "repair")
    assert (done.code, done.out) == (1, "")
    assert "this was not repaired: br-net already has the address 10.77.0.1/24" in done.err
    assert "10.77.0.1/24" in side.node.addresses("br-net")


def test_nothing_is_made_for_containers_that_are_gone(side: Side) -> None:
    """Their namespaces were deleted without a DEL: no bridge, and DEL finishes."""
    for name in ("c1", "c2"):
        side.node.run("ip", "netns", "del", name).ok()
    until(lambda: not side.node.ip("link", "show", "master", "br-net"), "the kernel has removed the ports")
    ip(side, "link del br-net")
    with serving(side):
        assert side.node.run(str(side.executable), "repair").ok().out == ""
    assert "br-net" not in side.node.links()
    for name in ("c1", "c2"):
        side.delete(NET, name).ok()
    assert said(side) == []


def test_a_repair_that_is_killed_in_the_middle(side: Side) -> None:
    """At whatever step: the next one finishes it, and all is as before."""
    before = side.state()
    for hundredths in range(8, 32, 8):
        ip(side, "link del br-net")
        side.node.run("timeout", "-s", "KILL", f"0.{hundredths:02}", str(side.executable), "repair")
        side.node.run(str(side.executable), "repair").ok()
        assert side.state() == before
    assert works(side)
