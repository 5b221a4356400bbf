"""IPAM executables: asked when the interface is there, and held to an answer."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import ROOT
from tests.side import REFERENCE, Side
from tests.surroundings.configs import network
from tests.system.daemon import Daemon
from tests.system.relay import compile_relay


def program(side: Side, name: str, script: str) -> str:
    """An IPAM executable of the node; the folder to put on CNI_PATH."""
    folder = "/run/ipam"
    side.node.write(f"{folder}/{name}", f"#!/bin/sh\n{script}")
    side.node.run("chmod", "+x", f"{folder}/{name}").ok()
    return f"{folder}:{side.path}"


# the reference's dhcp -------------------------------------------------------


@pytest.fixture
def dhcp(side: Side) -> Iterator[subprocess.Popen[str]]:
    """A LAN on the host's bridge br0, also reached by mv0, with a DHCP server and the reference's client daemon."""
    if not (REFERENCE / "dhcp").exists():
        pytest.skip("needs the reference plugins")
    for argv in (
        "link add br0 type bridge",
        "link set br0 up",
        "addr add 192.168.50.1/24 dev br0",
        "link add mv0 type veth peer name mv1",
        "link set mv1 master br0",
        "link set mv0 up",
        "link set mv1 up",
    ):
        side.node.run("ip", *argv.split()).ok()
    script = str(ROOT / "tests/surroundings/dhcp_server.py")
    server = subprocess.Popen(
        side.node.command("python3", "-Iu", script, "br0", "192.168.50.1", "100"), stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    daemon = subprocess.Popen(side.node.command(str(REFERENCE / "dhcp"), "daemon"), stderr=subprocess.DEVNULL)
    side.node.run("sh", "-c", "until [ -S /run/cni/dhcp.sock ]; do sleep 0.05; done").ok()
    yield server
    for process in (daemon, server):
        process.kill()
        process.wait()
    server.stdout.close()


KINDS: dict[str, dict[str, Any]] = {
    "bridge": {"bridge": "br0"},
    "bridge as gateway": {"bridge": "br0", "isGateway": True, "forceAddress": False},
    "cnm": {"options": {"com.docker.network.bridge.name": "br0"}},
    "macvlan": {"driver": "macvlan", "master": "mv0"},
}


@pytest.mark.parametrize("keys", KINDS.values(), ids=KINDS.keys())
@pytest.mark.quick("bridge as gateway", "macvlan")
def test_dhcp(side: Side, dhcp: subprocess.Popen[str], keys: dict[str, Any]) -> None:
    """The lease is for the interface's own MAC, the address is on it, and all goes with DEL."""
    side.container("c1")
    config = {"cniVersion": "1.0.0", "name": "lan", "ipam": {"type": "dhcp"}, **keys}
    result = side.add(config).ok().json
    own = next(link for link in result["interfaces"] if link.get("sandbox"))
    assert dhcp.stdout is not None
    assert dhcp.stdout.readline().strip() == own["mac"]
    assert [ip["address"] for ip in result["ips"]] == ["192.168.50.100/24"]
    assert side.node.addresses("eth0", netns="/run/netns/c1") == {"192.168.50.100/24"}
    assert side.node.ip("link", "show", "dev", "eth0", netns="/run/netns/c1")[0]["address"] == own["mac"]
    if "driver" not in keys:
        assert side.node.ping("192.168.50.1", netns="/run/netns/c1")
    side.check(config, result).ok()
    side.delete(config).ok()
    assert side.node.links("/run/netns/c1") == {"lo"}
    side.delete(config).ok()
    assert not side.node.files("/run/cni-cnm/endpoints")


# what it sees, what it may answer -------------------------------------------

ANSWER = json.dumps({"cniVersion": "1.0.0", "ips": [{"address": "10.77.0.9/24", "gateway": "10.77.0.1"}],
                     "routes": [{"dst": "0.0.0.0/0"}]})  # fmt: skip
LOOK = f"""
cat >/dev/null
[ $CNI_COMMAND = VERSION ] && exit 0
nsenter --net=$CNI_NETNS cat /proc/net/dev | grep -q $CNI_IFNAME: && echo $CNI_COMMAND there >>/run/ipam/log ||
    echo $CNI_COMMAND missing >>/run/ipam/log
[ $CNI_COMMAND = ADD ] && echo '{ANSWER}'
exit 0
"""


@pytest.mark.parametrize("keys", [{"bridge": "br-net", "isGateway": True}, {"driver": "macvlan", "master": "up0"}])
def test_the_interface_is_there_whenever_it_is_asked(side: Side, keys: dict[str, Any]) -> None:
    """On ADD, CHECK and DEL the executable finds CNI_IFNAME in the container."""
    side.node.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "far0").ok()
    side.node.run("ip", "link", "set", "up0", "up").ok()
    side.path = program(side, "looker", LOOK)
    side.container("c1")
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "looker"}, **keys}
    result = side.add(config).ok().json
    assert side.node.addresses("eth0", netns="/run/netns/c1") == {"10.77.0.9/24"}
    if "bridge" in keys:
        assert side.node.addresses("br-net") == {"10.77.0.1/24"}
        assert side.node.ping("10.77.0.1", netns="/run/netns/c1")
    side.check(config, result).ok()
    side.delete(config).ok()
    log = side.node.path("/run/ipam/log").read_text().splitlines()
    assert log == ["ADD there", "CHECK there", "DEL there"]


NO_ADDRESS = {
    "empty list": '{"cniVersion":"1.0.0","ips":[]}',
    "no list": '{"cniVersion":"1.0.0"}',
    "0.2": '{"cniVersion":"0.2.0"}',
    "nothing": "",
}


@pytest.mark.parametrize("answer", NO_ADDRESS.values(), ids=NO_ADDRESS.keys())
@pytest.mark.quick("empty list", "nothing")
def test_an_answer_without_addresses_is_an_error(side: Side, answer: str) -> None:
    """As in the reference. The executable hears a DEL, and nothing is left."""
    script = f"cat >/dev/null; echo $CNI_COMMAND >>/run/ipam/log; [ $CNI_COMMAND = ADD ] && echo '{answer}'; exit 0"
    side.path = program(side, "giver", script)
    side.container("c1")
    config = network(ipam={"type": "giver"})
    refused = side.add(config)
    assert (refused.code, refused.json["code"]) == (1, 103)
    assert "giver" in refused.json["msg"]
    assert "address" in refused.json["msg"]
    assert side.node.path("/run/ipam/log").read_text().split() == ["ADD", "DEL"]
    assert side.node.links("/run/netns/c1") == {"lo"}
    side.delete(config).ok()


def test_a_gateway_that_cannot_be_put_on_the_bridge(side: Side) -> None:
    """The address is known late: what was made until then goes, and the executable hears a DEL."""
    side.path = program(side, "looker", LOOK)
    side.node.run("ip", "link", "add", "br-net", "type", "bridge").ok()
    side.node.run("ip", "addr", "add", "10.1.1.1/24", "dev", "br-net").ok()
    side.container("c1")
    refused = side.add(network(ipam={"type": "looker"}))
    assert (refused.code, refused.json["code"]) == (1, 104)
    assert side.node.path("/run/ipam/log").read_text().split() == ["ADD", "there", "DEL", "there"]
    assert side.node.links("/run/netns/c1") == {"lo"}
    assert Path(side.node.path("/run/cni-cnm/endpoints")).exists()
    assert not side.node.files("/run/cni-cnm/endpoints")


# what one is allowed --------------------------------------------------------

SHOWS = """
cat >/dev/null
{
    grep -E '^(Cap|NoNewPrivs|Seccomp|Uid|Groups)' /proc/self/status
    umask
    ulimit -a
    env | sort
    ls /proc/self/fd | wc -l
} >/run/allowed
tr '\\0' ' ' </proc/$PPID/cmdline >/run/parent
echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.2/24"}]}'
"""


def test_it_is_allowed_the_same_with_the_service(side: Side, tmp_path: Path) -> None:
    """Capabilities, umask, limits, environment and descriptors are those that it has without one."""
    side.container("c1")
    relay = compile_relay(tmp_path / "relay")
    environ = {"CNI_PATH": program(side, "shows", SHOWS), "CNI_CNM_PROGRAM": str(side.executable)}
    service: Daemon | None = None
    seen = []
    for serving in (False, True):
        if serving:
            service = Daemon(side.node, str(side.executable), "serve")
            service.wait(side.node.path("/run/cni-cnm/service.sock").exists)
        conf = network(ipam={"type": "shows"})
        side.add(conf, executable=relay, env=environ).ok()
        lines = side.node.path("/run/allowed").read_text().splitlines()
        seen.append([line for line in lines if not line.startswith("CNI_CNM_REQUEST=")])
        assert ("serve" in side.node.path("/run/parent").read_text()) is serving
        side.delete(conf, executable=relay, env=environ).ok()
    assert service is not None
    service.stop()
    assert seen[0] == seen[1]
