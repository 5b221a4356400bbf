"""A new holder of an address is reachable at once: its neighbours hear of it by ARP and by neighbour discovery."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.program import form
from tests.side import Side
from tests.surroundings.configs import network

LISTEN = """
import select, socket, sys
ethernet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
ethernet.bind(("eth0", 0))
print("ready", flush=True)
while ethernet in select.select([sys.stdin, ethernet], [], [])[0]:
    frame = ethernet.recv(2000)
    if frame[12:14] == b"\\x08\\x06" and frame[28:32] == frame[38:42]:
        print(4, frame[22:28].hex(":"), flush=True)
    elif frame[12:14] == b"\\x86\\xdd" and frame[20] == 58 and frame[54] == 136 and frame[62:64] != b"\\xfe\\x80":
        print(6, frame[80:86].hex(":"), flush=True)
"""
"""Prints the IP version and the MAC of each announcement that arrives: gratuitous ARP, neighbour advertisement.

It ends with its standard input, when it has read all that has arrived.
"""

REPLACED = {4: "10.90.0.20", 6: "fd00:90::20"}


def fixed(**keys: Any) -> dict[str, Any]:
    """Every container gets the same two addresses, one after the other."""
    ips: dict[str, Any] = {"capabilities": {"ips": True}, "runtimeConfig": {"ips": list(REPLACED.values())}}
    return network(isDefaultGateway=True, **ips, **keys)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Other work for the processors."""
    running = [subprocess.Popen([sys.executable, "-ISc", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


@contextmanager
def listening(side: Side, container: str) -> Iterator[set[str]]:
    """What a container hears until the block ends, as the lines of LISTEN."""
    listener = subprocess.Popen(
        side.node.command("python3", "-Iuc", LISTEN, netns=f"/run/netns/{container}"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert listener.stdout is not None
    assert listener.stdout.readline() == "ready\n"
    heard: set[str] = set()
    yield heard
    time.sleep(0.3)
    heard.update(listener.communicate(timeout=20)[0].splitlines())


@pytest.mark.parametrize("load", [0, 3])
@pytest.mark.quick("3")
def test_each_new_holder_is_heard(side: Side, load: int) -> None:
    """A neighbour hears every container that comes to an address, in both families, also on a busy machine."""
    side.container("listener")
    side.add(network(isDefaultGateway=True), "listener").ok()
    macs = []
    with listening(side, "listener") as heard, busy(load):
        for number in range(5):
            side.container(f"c{number}")
            macs.append(side.add(fixed(), f"c{number}").ok().json["interfaces"][-1]["mac"])
            side.delete(fixed(), f"c{number}").ok()
    assert {f"{version} {mac}" for version in (4, 6) for mac in macs} <= heard


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("load", [0, 3])
@pytest.mark.quick("3-4", "3-6")
def test_a_reused_address_answers_at_once(side: Side, version: int, load: int) -> None:
    """Neighbour and host knew the address by another MAC, and their first packet to the new holder is answered."""
    for name in ("neighbour", "old", "new"):
        side.container(name)
    side.add(network(isDefaultGateway=True), "neighbour").ok()
    side.add(fixed(), "old").ok()
    address = REPLACED[version]
    with busy(load):
        for netns in ("/run/netns/neighbour", ""):
            assert side.node.ping(address, netns=netns)
        side.delete(fixed(), "old").ok()
        side.add(fixed(), "new").ok()
        for netns in ("/run/netns/neighbour", ""):
            assert side.node.ping(address, netns=netns, wait=2), f"from {netns or 'the host'}"


def test_a_bridge_with_spanning_tree_delays_no_add(side: Side) -> None:
    """Its ports listen and learn for half a minute before they forward: an ADD does not wait for that."""
    side.node.run("ip", "link", "add", "br-net", "type", "bridge", "stp_state", "1").ok()
    side.node.run("ip", "link", "set", "br-net", "up").ok()
    side.container("c1")
    result = side.add(network()).ok().json
    port = result["interfaces"][1]["name"]
    state = side.node.ip("-d", "link", "show", "dev", port)[0]["linkinfo"]["info_slave_data"]["state"]
    assert state in ("listening", "learning")


def test_a_link_on_no_bridge_holds_no_add_up(side: Side) -> None:
    """The host's end of a ptp link is no port, and has no state to wait for: it is asked for once."""
    if form() != "source" or shutil.which("strace") is None:
        pytest.skip("needs strace, which cannot follow the relay into the service")
    side.container("c1")
    config = {**network(), "driver": "ptp"}
    config = {key: config[key] for key in config if key not in ("bridge", "isGateway")}
    stdin = json.dumps({"type": "cni-cnm", **config})
    env = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
           "CNI_PATH": side.path}  # fmt: skip
    done = side.node.run("strace", "-f", "-e", "trace=clock_nanosleep", str(side.executable), stdin=stdin, env=env)
    assert done.code == 0, done.out
    assert "clock_nanosleep" not in done.err


def test_macvlan_is_announced_too(side: Side) -> None:
    """Its interface forwards at once; a neighbour on the parent's wire hears both families."""
    side.container("listener")
    side.node.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "listener").ok()
    side.node.run("ip", "link", "set", "up0", "up").ok()
    side.node.run("ip", "link", "set", "eth0", "up", netns="/run/netns/listener").ok()
    side.container("c1")
    ranges = [[{"subnet": "10.90.0.0/24"}], [{"subnet": "fd00:90::/64"}]]
    config = {"cniVersion": "1.0.0", "name": "lan", "driver": "macvlan", "master": "up0",
              "ipam": {"type": "host-local", "ranges": ranges}}  # fmt: skip
    with listening(side, "listener") as heard:
        mac = side.add(config).ok().json["interfaces"][0]["mac"]
    assert {f"4 {mac}", f"6 {mac}"} <= heard
