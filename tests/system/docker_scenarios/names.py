"""Names: /etc/hosts and dockerd's name server, which are dockerd's work on every network."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.system.docker_scenarios import Seen, scenario
from tests.system.docker_scenarios.side import BOTH, OTHER, Side

FOREIGN, ANSWER = "foreign.example", "192.0.2.42"
NAME_SERVER = """
import socket
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.bind(("", 53))
print("ready", flush=True)
while True:
    query, client = asked.recvfrom(512)
    answer = b"\\xc0\\x0c" + bytes((0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 42))
    head, question = query[:2] + bytes((0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0)), query[12 : query.index(0, 12) + 5]
    asked.sendto(head + question + answer, client)
"""
"""Answers each query with ANSWER."""


@scenario("TestEtcHostsIpv6", "TestEtcHostsDisconnect")
def hosts_files(side: Side) -> Seen:
    side.network("red", *BOTH)
    side.network("blue", *OTHER)
    side.docker.start("one", "--net=red", "--hostname=one.invalid", "--add-host=other.invalid:192.0.2.3")
    seen: Seen = {"at first": _hosts(side)}
    for step, network in (("connect", "blue"), ("disconnect", "red"), ("connect", "red"), ("disconnect", "blue")):
        side.docker("network", step, network, "one")
        seen[f"{step} {network}"] = _hosts(side)
    side.docker.remove("one")
    side.docker.start("one", "--net=red", "--hostname=one.invalid", "--sysctl=net.ipv6.conf.all.disable_ipv6=1")
    seen["without IPv6"] = _hosts(side)
    return seen


@scenario("TestInternalNetworkLocalDNS", "TestInternalNetworkDNS")
def name_servers(side: Side) -> Seen:
    """A server inside an internal network is asked, and one outside it is not."""
    side.network("inner", "--internal", "--subnet", "172.30.1.0/24")
    side.network("outer", "--subnet", "172.30.2.0/24")
    seen: Seen = {}
    for name, network in (("near", "inner"), ("far", "outer")):
        side.docker.start(name, f"--net={network}")
    with _answering(side, "near"), _answering(side, "far"):
        side.docker.start("asks", "--net=inner", "--dns", side.address("near", "inner"))
        side.docker.start("late", "--net=outer", "--dns", side.address("far", "outer"))
        seen["inner"], seen["outer"] = _finds(side, "asks"), _finds(side, "late")
        side.docker("network", "connect", "inner", "late")
        seen["both"] = _finds(side, "late")
        side.docker("network", "disconnect", "outer", "late")
        seen["inner alone"] = _finds(side, "late")
    return seen


@contextmanager
def _answering(side: Side, container: str) -> Iterator[None]:
    argv = side.node.command("python3", "-Ic", NAME_SERVER, netns=side.docker.netns(container))
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield
        server.kill()


def _hosts(side: Side) -> str:
    """Without the last part of the addresses, which each IPAM chooses in its own order."""
    return re.sub(r"(172\.30\.\d\.|fd00:\d::)\w+", r"\1", side.docker.execute("one", "cat", "/etc/hosts").out)


def _finds(side: Side, container: str) -> bool:
    return ANSWER in side.docker.execute(container, "nslookup", "-type=A", FOREIGN).out
