"""Published ports over every path, through the plugin: outside host, host itself, 127.0.0.1, hairpin, other network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import program
from tests.side import Side

SERVE = r"""
import socket, sys, threading
kind, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("::", port))
if kind == "tcp":
    s.listen(16)
print("up", flush=True)
while True:
    if kind == "tcp":
        c, peer = s.accept()
        c.sendall(peer[0].removeprefix("::ffff:").encode())
        c.close()
    else:
        data, peer = s.recvfrom(100)
        s.sendto(peer[0].removeprefix("::ffff:").encode(), peer)
"""
ASK = r"""
import socket, sys
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(1)
try:
    s.connect((address, port))
    s.send(b"?") if kind == "udp" else None
    print(s.recv(100).decode())
except OSError as error:
    print("no", error)
"""


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    made = Side(program(tmp_path), "cni-cnm")
    node = made.node
    outside = node.add_netns("outside")
    node.run("ip", "link", "add", "wan0", "type", "veth", "peer", "name", "eth0", "netns", "outside").ok()
    for command in ("addr add 192.0.2.1/24 dev wan0", "-6 addr add 2001:db8::1/64 dev wan0 nodad", "link set wan0 up"):
        node.run("ip", *command.split()).ok()
    for command in ("addr add 192.0.2.2/24 dev eth0", "-6 addr add 2001:db8::2/64 dev eth0 nodad", "link set eth0 up",
                    "route add default via 192.0.2.1"):  # fmt: skip
        node.run("ip", *command.split(), netns=outside).ok()
    yield made
    made.close()


def conf(*ports: dict[str, Any], **keys: Any) -> dict[str, Any]:
    ipam = {"ranges": [[{"subnet": "10.60.0.0/24"}], [{"subnet": "fd00:60::/64"}]]}
    return {"cniVersion": "1.0.0", "name": "net", "ipam": ipam, "runtimeConfig": {"portMappings": list(ports)}, **keys}


def port(host: int, container: int, protocol: str = "tcp", **more: Any) -> dict[str, Any]:
    return {"hostPort": host, "containerPort": container, "protocol": protocol, **more}


def serve(side: Side, container: str, kind: str, number: int) -> None:
    import select
    import subprocess
    import sys

    netns = f"/run/netns/{container}" if container else ""
    command = side.node.command(sys.executable, "-Ic", SERVE, kind, str(number), netns=netns)
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 10)
    assert ready
    assert process.stdout.readline() == b"up\n"
    process.stdout.close()
    process.returncode = 0  # it ends with the node's init, like everything there


def ask(side: Side, kind: str, address: str, number: int, container: str = "") -> str:
    import sys

    netns = f"/run/netns/{container}" if container else ""
    return side.node.run(sys.executable, "-Ic", ASK, kind, address, str(number), netns=netns).out.strip()


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_every_path(side: Side, kind: str) -> None:
    """From another host with its own address, from the host, over 127.0.0.1, from the pod itself and a neighbour."""
    config = conf(port(8080, 80, kind))
    side.container("c1")
    result = side.add(config).ok().json
    side.container("c2")
    side.add(conf(), "c2").ok()
    serve(side, "c1", kind, 80)
    assert ask(side, kind, "192.0.2.1", 8080, "outside") == "192.0.2.2"
    assert ask(side, kind, "2001:db8::1", 8080, "outside") == "2001:db8::2"
    assert ask(side, kind, "192.0.2.1", 8080) == "192.0.2.1"
    assert not ask(side, kind, "127.0.0.1", 8080).startswith("no")
    assert not ask(side, kind, "192.0.2.1", 8080, "c1").startswith("no")
    assert not ask(side, kind, "192.0.2.1", 8080, "c2").startswith("no")
    assert ask(side, kind, "192.0.2.1", 8081, "outside").startswith("no")
    side.check(config, result).ok()
    side.delete(config).ok()
    assert ask(side, kind, "192.0.2.1", 8080, "outside").startswith("no")
    assert "8080" not in side.node.run("nft", "list", "ruleset").out


def test_taken_port_names_its_owner(side: Side) -> None:
    """A second container that wants a published port: code 100 with the first one's name, nothing left of it."""
    side.container("c1")
    side.container("c2")
    side.add(conf(port(8080, 80))).ok()
    serve(side, "c1", "tcp", 80)  # a container that runs is not about to leave
    refused = side.add(conf(port(8080, 80)), "c2")
    assert (refused.code, refused.json["code"]) == (1, 100)
    assert "net/c1/eth0" in refused.json["msg"]
    assert side.node.links("/run/netns/c2") == {"lo"}
    side.delete(conf(port(8080, 80))).ok()
    side.add(conf(port(8080, 80)), "c2").ok()


def test_port_of_a_dead_endpoint_is_taken_over(side: Side) -> None:
    """A stale element is replaced, never shadowed: its record is gone (a reboot, a lost /run)."""
    side.container("c1")
    side.add(conf(port(8080, 80))).ok()
    [record] = side.node.path("/run/cni-cnm/endpoints").iterdir()
    record.unlink()
    side.container("c2")
    side.add(conf(port(8080, 80)), "c2").ok()
    serve(side, "c2", "tcp", 80)
    assert ask(side, "tcp", "192.0.2.1", 8080, "outside") == "192.0.2.2"


def test_range_of_ports(side: Side) -> None:
    """Equal numbers are one element, shifted ones a port each; both are reached at their ends."""
    config = conf(port(7000, 7000, range=100), port(7500, 7600, range=3))
    side.container("c1")
    side.add(config).ok()
    for number in (7000, 7099, 7602):
        serve(side, "c1", "tcp", number)
    for number in (7000, 7099, 7502):
        assert ask(side, "tcp", "192.0.2.1", number, "outside") == "192.0.2.2"
    assert "7000-7099" in side.node.run("nft", "list", "ruleset").out
    side.delete(config).ok()


def test_specific_host_address(side: Side) -> None:
    """A port of one host address beside the same port of every other."""
    side.container("c1")
    side.container("c2")
    side.node.run("ip", "addr", "add", "192.0.2.9/24", "dev", "wan0").ok()
    side.add(conf(port(8080, 80, hostIP="192.0.2.9"))).ok()
    side.add(conf(port(8080, 81)), "c2").ok()
    serve(side, "c1", "tcp", 80)
    assert ask(side, "tcp", "192.0.2.9", 8080, "outside") == "192.0.2.2"
    assert ask(side, "tcp", "192.0.2.1", 8080, "outside").startswith("no")
    serve(side, "c2", "tcp", 81)
    assert ask(side, "tcp", "192.0.2.1", 8080, "outside") == "192.0.2.2"


@pytest.mark.parametrize(("kind", "number"), [("tcp", 8080), ("udp", 5353)])
def test_a_port_that_a_process_of_the_host_holds(side: Side, kind: str, number: int) -> None:
    """The port is published, with a warning that names it; on another port or protocol there is none."""
    side.container("c1")
    serve(side, "", kind, number)
    published = conf(
        port(number, 80, kind), port(number + 1, 80, kind), port(number, 80, "udp" if kind == "tcp" else "tcp")
    )
    added = side.add(published).ok()
    assert (
        f"listens on [::]:{number}: it gets no more connections to the published host port {number}/{kind}" in added.err
    )
    assert added.err.count("a process of the host listens on") == 1
    serve(side, "c1", kind, 80)
    assert ask(side, kind, "192.0.2.1", number, "outside") == "192.0.2.2"


def test_internal_network_publishes_nothing(side: Side) -> None:
    """internal and a port: refused with the reason before anything is made."""
    side.container("c1")
    refused = side.add(conf(port(8080, 80), internal=True))
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert "internal" in refused.json["msg"]
    assert "br-" not in "".join(side.node.links())


@pytest.mark.parametrize(
    ("network", "host_ip", "lacking"),
    [
        ({"ipam": {"subnet": "10.9.0.0/24"}}, "::", "IPv6 address"),
        ({"ipam": {"subnet": "10.9.0.0/24"}}, "2001:db8::1", "IPv6 address"),
        ({"ipam": {"subnet": "fd00:9::/64"}}, "0.0.0.0", "IPv4 address"),
        ({"bridge": "br-l2"}, "", "address"),
    ],
)
def test_port_without_an_address_for_it(side: Side, network: dict[str, Any], host_ip: str, lacking: str) -> None:
    """No address of that IP version, or none at all: refused with the reason, and nothing is left."""
    side.container("c1")
    wish = port(8080, 80, **({"hostIP": host_ip} if host_ip else {}))
    config = {"cniVersion": "1.1.0", "name": "n", **network, "runtimeConfig": {"portMappings": [wish]}}
    refused = side.add(config)
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert f"n/c1/eth0 has no {lacking} on the network n, so" in refused.json["msg"]
    assert side.node.links("/run/netns/c1") == {"lo"}
    assert side.node.files("/run/cni-cnm/endpoints") == set()


def test_udp_client_follows_the_port_to_its_next_owner(side: Side) -> None:
    """A client that sends on and on from one port: after the container was replaced it reaches the new one."""
    import sys

    client = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("192.0.2.2", 4444))
s.settimeout(0.2)
deadline = time.monotonic() + 3
while time.monotonic() < deadline:
    s.sendto(b"?", ("192.0.2.1", 5353))
    try:
        s.recv(100)
    except OSError:
        continue
    print("answered")
    break
"""
    for name in ("c1", "c2"):
        side.container(name)
        side.add(conf(port(5353, 53, "udp")), name).ok()
        serve(side, name, "udp", 53)
        asked = side.node.run(sys.executable, "-Ic", client, netns="/run/netns/outside")
        assert "answered" in asked.out, name
        side.delete(conf(port(5353, 53, "udp")), name).ok()


@pytest.mark.parametrize("ends", ["deleted", "dead"])
def test_connection_to_a_container_that_is_gone_ends(side: Side, ends: str) -> None:
    """A client in the middle of a connection is told so: on DEL, and where another one takes over a dead one's port."""
    import subprocess
    import sys

    client = """
import socket, sys
s = socket.create_connection(("192.0.2.1", 8080))
s.settimeout(20)
print("up", flush=True)
sys.stdin.readline()
try:
    s.send(b"?")
    print("answered", s.recv(1))
except OSError as error:
    print(type(error).__name__)
"""
    server = """
import socket
s = socket.create_server(("", 80))
print("up", flush=True)
kept = s.accept()
s.accept()
"""

    def start(place: str, script: str) -> subprocess.Popen[str]:
        command = side.node.command(sys.executable, "-Ic", script, netns=f"/run/netns/{place}")
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    for name in ("c1", "c2"):
        side.container(name)
    side.add(conf(port(8080, 80))).ok()
    with start("c1", server) as listening:
        assert listening.stdout is not None
        assert listening.stdout.readline() == "up\n"
        with start("outside", client) as asking:
            assert asking.stdin is not None
            assert asking.stdout is not None
            assert asking.stdout.readline() == "up\n"
            if ends == "deleted":
                side.delete(conf(port(8080, 80))).ok()
            else:
                [record] = side.node.path("/run/cni-cnm/endpoints").iterdir()
                record.unlink()
                side.add(conf(port(8080, 80)), "c2").ok()
            asking.stdin.write("\n")
            asking.stdin.flush()
            assert asking.stdout.readline() == "ConnectionResetError\n"
        listening.kill()
