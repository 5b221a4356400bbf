"""A plugin's networks from Python: the model's steps one by one, and the names a plugin gives."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.program import ROOT
from tests.system.node import Node
from tests.system.recorder import Recorder

BEGIN = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from cni_cnm import errors, open_controller
c = open_controller()
"""


@pytest.fixture
def node(require_root: None) -> Iterator[Node]:
    made = Node()
    for name in ("a", "b"):
        made.add_netns(name)
    yield made
    made.close()


@pytest.fixture
def rec(node: Node) -> Iterator[Recorder]:
    made = Recorder(node)
    made.script(keep=True)
    yield made
    made.stop()


def run(node: Node, script: str) -> str:
    return node.run(sys.executable, "-I", "-c", BEGIN + script).ok().out


def test_the_steps_of_an_endpoint(node: Node, rec: Recorder) -> None:
    """A join is an endpoint to the plugin, and leaving ends it; the address stays the endpoint's. `eth` and a number
    is the name; nothing is left."""
    script = """
n = c.new_network("net", driver="rec", ipam_type="rec", ipam_config={"subnet": "10.60.0.0/24"})
e = n.create_endpoint("e")
a, b = c.new_sandbox("a", "/run/netns/a"), c.new_sandbox("b", "/run/netns/b")
try:
    n.create_endpoint("e")
except errors.Forbidden:
    print("twice")
for sandbox in (a, b):
    got = e.join(sandbox)
    print(got.interfaces[0].name, got.addresses[0].interface, got.routes[0].gw, e.info()["bridge"][:2])
    e.leave()
e.delete()
a.delete(), b.delete()
print(list(n.delete()))
"""
    assert run(node, script).split("\n") == [
        "twice", "eth0 10.60.0.2/24 10.60.0.1 rp", "eth0 10.60.0.2/24 10.60.0.1 rp", "[]", "",
    ]  # fmt: skip
    joined = ["CreateEndpoint", "Join", "ProgramExternalConnectivity", "EndpointOperInfo",
              "RevokeExternalConnectivity", "Leave", "DeleteEndpoint"]  # fmt: skip
    calls = [call for call in rec.calls() if not call.startswith("IpamDriver")]
    assert calls == ["GetCapabilities", "CreateNetwork", *joined, *joined, "DeleteNetwork"]
    assert node.links() == {"lo"}
    assert rec.memory() == [{}, {}, {}]


@pytest.mark.parametrize(
    ("names", "wanted", "found"),
    [
        ({"DstPrefix": "net"}, "", "net0"),
        ({"DstPrefix": "net", "DstName": "uplink"}, "", "uplink"),
        ({"DstPrefix": ""}, "", "eth0"),
        ({"DstPrefix": "net", "DstName": "uplink"}, "mine", "mine"),
    ],
)
def test_names_of_the_interface(node: Node, rec: Recorder, names: dict[str, str], wanted: str, found: str) -> None:
    """The caller's, else the plugin's own, else its prefix and the lowest free number."""
    script = f"""
import json, pathlib
n = c.new_network("net", driver="rec", ipam_config={{"subnet": "10.61.0.0/24"}})
e = n.create_endpoint("e")
link = "rc" + e.id[:9]
told = {{"NetworkDriver.Join": {{"merge": {{"InterfaceName": {{"SrcName": link, **{names!r}}}}}}}}}
pathlib.Path("{rec.folder}/script.json").write_text(json.dumps(told))
s = c.new_sandbox("a", "/run/netns/a")
print(e.join(s, ifname={wanted!r}).interfaces[0].name)
e.delete(force=True)
n.delete()
"""
    assert run(node, script) == f"{found}\n"
    assert node.links("/run/netns/a") == {"lo"}


def test_the_way_out_moves(node: Node, rec: Recorder) -> None:
    """Of two of its networks in a sandbox the plugin is told which is the default gateway, the former one first."""
    script = """
one = c.new_network("b-net", driver="rec", ipam_config={"subnet": "10.62.0.0/24"}).create_endpoint("e")
two = c.new_network("a-net", driver="rec", ipam_config={"subnet": "10.63.0.0/24"}).create_endpoint("e")
s = c.new_sandbox("a", "/run/netns/a")
for e in (one, two):
    e.join(s)
two.leave()
print(one.id, two.id)
"""
    one, two = run(node, script).split()
    ways = [(r.call[:7], r.body["EndpointID"]) for r in rec.requests() if "External" in r.call]
    assert ways == [("Program", one), ("RevokeE", one), ("Program", two), ("RevokeE", two), ("Program", one)]


def test_no_driver_of_that_name(node: Node) -> None:
    script = """
try:
    c.new_network("net", driver="absent")
except errors.NoSuchDriver as error:
    print(error)
"""
    assert "plugins are looked for in /run/docker/plugins" in run(node, script)


def test_docker_uses_a_plugin_by_itself(node: Node, rec: Recorder) -> None:
    """A network of another plugin cannot be shared with Docker by way of ours."""
    script = """
from cni_cnm.cnm.docker import docker_networks
from cni_cnm.model import IpamSpec, NetworkSpec
ipam = IpamSpec("host-local", {"ranges": [[{"subnet": "10.64.0.0/24"}]]})
c.new_network("net", driver="rec", ipam_config=dict(ipam.config))
try:
    docker_networks.share_network(c.host, NetworkSpec("net", "bridge", {"profile": "cnm"}, ipam), "a" * 64, [])
except errors.InvalidConfig as error:
    print(error)
"""
    assert "of the Docker plugin rec, which Docker can use by itself" in run(node, script)
