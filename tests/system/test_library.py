"""The Python library in real namespaces. Its documentation is run by tests/docs."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.program import ROOT
from tests.system.node import Node


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    yield made
    made.close()


RULES = """
import subprocess
from ipaddress import ip_address

from cni_cnm import errors, open_controller
from cni_cnm.model import Bandwidth, PortMapping, Tuning

subprocess.run(["ip", "netns", "add", "a"], check=True)
c = open_controller()

def refused(kind, call):
    try:
        call()
    except kind as error:
        print(type(error).__name__)
    else:
        raise SystemExit(f"not refused: {kind.__name__}")

n = c.new_network("n1", ipam_config={"subnet": "172.31.0.0/24"})
m = c.new_network("m1")
refused(errors.Conflict, lambda: c.new_network("n1"))
refused(errors.InvalidConfig, lambda: c.new_network("../x"))
refused(errors.InvalidConfig, lambda: n.create_endpoint(""))
for wrong in (
    {"mac": "zz"}, {"mac": "01:00:5e:00:00:01"}, {"ports": (PortMapping("icmp", 80, 80),)},
    {"ports": (PortMapping("tcp", 99999, 80),)}, {"ports": (PortMapping("tcp", 80, 80), PortMapping("tcp", 80, 81))},
    {"bandwidth": Bandwidth(egress_rate=10)}, {"tuning": Tuning(sysctls=(("kernel/panic", "1"),))},
    {"tuning": Tuning(mtu=-1)}, {"addresses": (ip_address("10.9.9.9"),)},
):
    refused(errors.InvalidConfig, lambda: n.create_endpoint("wrong", **wrong))
assert list(n.endpoints()) == []
e = n.create_endpoint("e")
refused(errors.Forbidden, lambda: n.create_endpoint("e"))
refused(errors.ActiveEndpoints, n.delete)
refused(errors.NamespaceGone, lambda: c.new_sandbox("a", "/run/netns/missing"))
s = c.new_sandbox("a", "/run/netns/a")
refused(errors.Forbidden, lambda: c.new_sandbox("a", "/run/netns/a"))
refused(errors.Forbidden, e.leave)
refused(errors.InvalidConfig, lambda: e.join(s, ifname="a/b"))
assert e.join(s).interfaces[2].name == "eth0"
refused(errors.Forbidden, lambda: e.join(s))
refused(errors.ActiveContainer, e.delete)
refused(errors.ActiveContainer, s.delete)
f = m.create_endpoint("f")
f.join(s)

def defaults():
    show = ["ip", "-n", "a", "route", "show", "default"]
    return subprocess.run(show, check=True, capture_output=True, text=True).stdout.split()[2]

assert defaults() == str(f.addresses[0].gateway), "m1 comes before n1"
f.leave()
assert defaults() == "172.31.0.1", "the next one takes over"
f.delete()
e.delete(force=True)
assert [x.name for x in c.networks()] == ["m1", "n1"]
assert c.network(n.id[:9]).name == "n1"
refused(errors.NoSuchNetwork, lambda: c.network("zz"))
for network in list(c.networks()):
    network.delete()
refused(errors.NoSuchNetwork, n.delete)
"""


def test_the_rules_of_the_model(node: Node) -> None:
    """Every refusal of libnetwork's life cycle, and the gateway's election, on the real kernel."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{RULES}"
    node.run(sys.executable, "-I", "-c", script).ok()
    assert node.links() == {"lo"}


JOINED = """
import subprocess
from cni_cnm import open_controller
from cni_cnm.model import Bandwidth, PortMapping, Tuning
subprocess.run(["ip", "netns", "add", "red"], check=True)
controller = open_controller()
web = controller.new_network("mynet", ipam_config={"subnet": "172.30.0.0/16"}).create_endpoint(
    "web",
    ports=(PortMapping("tcp", host_port=8080, container_port=80),),
    bandwidth=Bandwidth(egress_rate=20_000_000, egress_burst=4_000_000),
    tuning=Tuning(sysctls=(("net/core/somaxconn", "500"),), mtu=1400),
)
web.join(controller.new_sandbox("red", "/run/netns/red"))
def show(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
def elements():
    return show("nft", "list", "map", "inet", "cni_cnm", "ports4").count("tcp . 8080")
assert elements() == 1
assert "mtu 1400" in show("ip", "-n", "red", "link", "show", "eth0")
assert show("ip", "netns", "exec", "red", "cat", "/proc/sys/net/core/somaxconn").strip() == "500"
assert "rate 20Mbit" in show("tc", "qdisc", "show")
web.leave()
assert elements() == 0
assert "20Mbit" not in show("tc", "qdisc", "show")
web.delete()
inside = controller.new_network("inside", internal=True)
try:
    inside.create_endpoint("e", ports=(PortMapping("tcp", 1, 1),))
except Exception as error:
    assert "internal" in str(error)
else:
    raise SystemExit("a port of an internal network was taken")
"""


def test_an_endpoint_with_ports_limits_and_tuning(node: Node) -> None:
    """All of it applies while the endpoint is joined, and is removed afterwards."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{JOINED}"
    node.run(sys.executable, "-I", "-c", script).ok()


@pytest.mark.parametrize("family", [4, 6])
def test_example_networks_do_not_touch_the_host(node: Node, family: int) -> None:
    """Without a subnet one is chosen that overlaps no route of the host, but for one wider than its pool."""
    taken = "172.18.0.0/16" if family == 4 else "fd00::/8"
    node.run("ip", "link", "add", "up0", "type", "bridge").ok()
    node.run("ip", "link", "set", "up0", "up").ok()
    node.run("ip", "-4" if family == 4 else "-6", "route", "add", taken, "dev", "up0").ok()
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from ipaddress import ip_network\n"
        "from cni_cnm import open_controller\n"
        "c = open_controller()\n"
        "n = c.new_network('n', options={'profile': 'cnm', 'enableipv6': True})\n"
        "print(*[r[0]['subnet'] for r in n.record.ipam['ranges']])\n"
    )
    done = node.run(sys.executable, "-I", "-c", script)
    four, six = done.ok().out.split()
    assert four == ("172.19.0.0/16" if family == 4 else "172.18.0.0/16")
    assert six.startswith("fd")
