"""The driver ptp with packets: neighbours, other networks, the outside, published ports, limits, in both profiles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.differential.paths import Party
from tests.differential.paths import Path as Way
from tests.program import program
from tests.side import REFERENCE, Side

PORTS: dict[str, Any] = {
    "capabilities": {"portMappings": True},
    "runtimeConfig": {
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": kind} for kind in ("tcp", "udp")]
    },
}
DROP = "*filter\n:FORWARD DROP\nCOMMIT\n"
OUTSIDE = {4: "192.0.2.2", 6: "2001:db8::2"}


def net(name: str = "net", number: int = 66, **keys: Any) -> dict[str, Any]:
    """A network of the CNM profile, both families."""
    ranges = [[{"subnet": f"10.{number}.0.0/24"}], [{"subnet": f"fd00:{number}::/64"}]]
    return {"cniVersion": "1.0.0", "name": name, "driver": "ptp", "ipam": {"ranges": ranges}, **keys}


def reference(name: str = "net", number: int = 66, **keys: Any) -> dict[str, Any]:
    """The same with the keys of the reference plugin."""
    conf = net(name, number, ipMasq=True, **keys)
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    return {**conf, "ipam": {"type": "host-local", "routes": routes, **conf["ipam"]}}


PROFILES = pytest.mark.parametrize("made", [net, reference], ids=["cnm", "reference"])


class Pods:
    """Containers on a node with another host beside it. Each says who asks on port 80."""

    def __init__(self, side: Side) -> None:
        self.party, self.side, self.node = Party(side), side, side.node
        self.results: dict[str, Any] = {}

    def add(self, container: str, conf: dict[str, Any]) -> None:
        self.side.container(container)
        self.results[container] = self.side.add(conf, container).ok().json
        self.party.serve(container, 80)

    def address(self, container: str, family: int = 4) -> str:
        found = [str(ip["address"]).partition("/")[0] for ip in self.results[container]["ips"]]
        return next(address for address in found if (":" in address) is (family == 6))

    def ways(self, source: str, target: str, *, open_: bool = True) -> dict[Way, str | None]:
        """From one container to another, by both families; the address that is seen there is the container's own."""
        return {
            Way(source, "tcp", self.address(target, family), 80): self.address(source, family) if open_ else None
            for family in (4, 6)
        }

    def ways_out(self, source: str, seen: dict[int, str] | None) -> dict[Way, str | None]:
        return {Way(source, "tcp", OUTSIDE[family], 80): seen[family] if seen else None for family in (4, 6)}

    def check(self, container: str, conf: dict[str, Any]) -> Any:
        return self.side.check(conf, self.results[container], container)

    def nothing_left(self) -> None:
        assert self.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()
        assert self.node.links() == {"lo", "wan0"}


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Pods]:
    if os.geteuid():
        pytest.skip("network namespaces need root")
    side = Side(program(tmp_path), "cni-cnm", (REFERENCE,))
    yield Pods(side)
    side.close()


@PROFILES
def test_a_network_of_two_pods(pods: Pods, made: Any) -> None:
    """They reach each other, the host and, masqueraded, the outside. CHECK agrees, and nothing is left after DEL."""
    conf = made()
    for container in ("c1", "c2"):
        pods.add(container, conf)
    pods.party.serve("outside", 80)
    pods.party.serve("", 80)
    host = {4: "192.0.2.1", 6: "2001:db8::1"}
    pods.party.expect(
        pods.ways("c1", "c2")
        | pods.ways("c2", "c1")
        | pods.ways_out("c1", host)
        | {Way("c1", "tcp", host[4], 80): pods.address("c1"), Way("c1", "tcp", "10.66.0.1", 80): pods.address("c1")}
    )
    for container in ("c1", "c2"):
        pods.check(container, conf).ok()
        pods.side.delete(conf, container).ok()
        pods.side.delete(conf, container).ok()
    pods.nothing_left()


def test_other_networks(pods: Pods) -> None:
    """Not another ptp network, nor a bridge; both after `network allow`, until `network revoke`."""
    bridged = {**net("bridged", 68), "driver": "bridge"}
    for container, conf in (("c1", net()), ("c2", net("other", 67)), ("c3", bridged)):
        pods.add(container, conf)
    closed: dict[Way, str | None] = {}
    for source, target in (("c1", "c2"), ("c2", "c1"), ("c1", "c3"), ("c3", "c1")):
        closed |= pods.ways(source, target, open_=False)
    pods.party.expect(closed)
    for other, container in (("other", "c2"), ("bridged", "c3")):
        pods.node.run(str(pods.side.executable), "network", "allow", "net", other).ok()
        # Each network masquerades what leaves it, so the address is not the container's own.
        seen = {4: f"10.{66 + int(container[1]) - 1}.0.1", 6: f"fd00:{66 + int(container[1]) - 1}::1"}
        ways = {way: seen[6 if ":" in way.address else 4] for way in pods.ways("c1", container)}
        pods.party.expect(dict(ways))
        pods.node.run(str(pods.side.executable), "network", "revoke", "net", other).ok()
        pods.party.expect(pods.ways("c1", container, open_=False))


def test_isolated_within(pods: Pods) -> None:
    """ingressPolicy isolated: not even a neighbour; the outside is still reached."""
    conf = net(firewall={"ingressPolicy": "isolated"})
    for container in ("c1", "c2"):
        pods.add(container, conf)
    pods.party.serve("outside", 80)
    pods.party.expect(pods.ways("c1", "c2", open_=False) | pods.ways_out("c1", {4: "192.0.2.1", 6: "2001:db8::1"}))


def test_internal(pods: Pods) -> None:
    """Neighbours only: no default route, and the outside is not reached even with one."""
    conf = net(internal=True)
    for container in ("c1", "c2"):
        pods.add(container, conf)
    pods.party.serve("outside", 80)
    netns = "/run/netns/c1"
    assert not pods.node.ip("route", "show", "default", netns=netns)
    for family, gateway in (("-4", "10.66.0.1"), ("-6", "fd00:66::1")):
        pods.node.run("ip", family, "route", "add", "default", "via", gateway, netns=netns).ok()
    pods.party.expect(pods.ways("c1", "c2") | pods.ways_out("c1", None))


@PROFILES
def test_published_ports(pods: Pods, made: Any) -> None:
    """From the outside, the host, 127.0.0.1, a neighbour, another network and the pod itself; not after DEL."""
    pods.add("c1", made(**PORTS))
    pods.add("c2", made())
    pods.add("c3", net("other", 67))
    wanted: dict[Way, str | None] = {}
    for kind in ("tcp", "udp"):
        wanted |= {
            Way("outside", kind, "192.0.2.1", 8080): "192.0.2.2",
            Way("outside", kind, "2001:db8::1", 8080): "2001:db8::2",
            Way("", kind, "127.0.0.1", 8080): "10.66.0.1",
            Way("c1", kind, "192.0.2.1", 8080): "10.66.0.1",
            Way("c2", kind, "192.0.2.1", 8080): "10.66.0.1",
            Way("c2", kind, "2001:db8::1", 8080): "fd00:66::1",
            Way("c3", kind, "192.0.2.1", 8080): "10.66.0.1",
        }
    pods.party.expect(wanted)
    pods.check("c1", made(**PORTS)).ok()
    pods.side.delete(made(**PORTS), "c1").ok()
    pods.party.expect(dict.fromkeys(wanted.keys() - {way for way in wanted if way.source == "c1"}))


def test_where_another_firewall_drops(pods: Pods) -> None:
    """A FORWARD chain that drops, as Docker makes it: neighbours and outside are reached, and it is left as it was."""
    for family in ("iptables", "ip6tables"):
        pods.node.run(f"{family}-restore", stdin=DROP).ok()
    for container in ("c1", "c2"):
        pods.add(container, net())
    pods.party.serve("outside", 80)
    pods.party.expect(pods.ways("c1", "c2") | pods.ways_out("c1", {4: "192.0.2.1", 6: "2001:db8::1"}))
    for container in ("c1", "c2"):
        pods.check(container, net()).ok()
        pods.side.delete(net(), container).ok()
    assert "cni-cnm" not in pods.node.run("iptables-save").out


@PROFILES
def test_check_names_what_differs(pods: Pods, made: Any) -> None:
    """The host's route, the gateway address, the link's group, and an element of the packet filter."""
    pods.add("c1", made())
    link = pods.results["c1"]["interfaces"][0]["name"]
    for command, back, words in (
        (f"route del 10.66.0.2 dev {link}", f"route add 10.66.0.2 dev {link} scope host", "no route to 10.66.0.2"),
        (f"addr del 10.66.0.1/32 dev {link}", f"addr add 10.66.0.1/32 dev {link}", "gateway address 10.66.0.1"),
        (f"link set {link} down", f"link set {link} up", "is down"),
        (f"link set {link} group 7", "", "in the link group 7"),
    ):
        pods.node.run("ip", *command.split()).ok()
        broken = pods.check("c1", made())
        assert (broken.code, words in broken.json["msg"]) == (1, True), broken.json
        if back:
            pods.node.run("ip", *back.split()).ok()
    pods.side.delete(made(), "c1").ok()
    pods.nothing_left()


def test_check_misses_the_isolation(pods: Pods) -> None:
    """An element that is the network's: CHECK names it, and the next ADD puts it back."""
    pods.add("c1", net())
    group = next(
        word for line in pods.party.rules().splitlines() if "comment" in line and " net" in line
        for word in line.split() if word.isdigit()
    )  # fmt: skip
    pods.node.run("nft", "delete", "element", "inet", "cni_cnm", "groups", f"{{ {group} }}").ok()
    broken = pods.check("c1", net())
    assert broken.json["msg"].startswith(f"the element {group} is missing from groups")
    pods.node.run("nft", "delete", "table", "inet", "cni_cnm").ok()
    pods.add("c2", net())
    pods.check("c1", net()).ok()


def test_limits_and_tuning(pods: Pods) -> None:
    """Bandwidth by the host's end and the ifb behind it, an MTU and a MAC; all gone after DEL."""
    conf = net(
        bandwidth={"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 4_000_000, "egressBurst": 400_000},
        tuning={"mtu": 1400, "mac": "02:42:0a:00:00:07"},
    )
    pods.add("c1", conf)
    link = pods.results["c1"]["interfaces"][0]["name"]
    shown = pods.node.run("tc", "qdisc", "show").ok().out
    assert f"dev {link} root" in shown
    assert "rate 8Mbit" in shown
    assert "rate 4Mbit" in shown
    (inside,) = pods.node.ip("link", "show", "eth0", netns="/run/netns/c1")
    assert (inside["mtu"], inside["address"]) == (1400, "02:42:0a:00:00:07")
    pods.check("c1", conf).ok()
    pods.side.delete(conf, "c1").ok()
    pods.nothing_left()


def test_a_whole_life_by_the_command_line(pods: Pods) -> None:
    """A network that is made first, its pod, and its removal: no element of its own is left."""
    cli = str(pods.side.executable)
    pods.node.run(cli, "network", "create", "--driver", "ptp", "--subnet", "10.66.0.0/24", "net").ok()
    conf = {**net(), "ipam": {"subnet": "10.66.0.0/24"}}
    pods.add("c1", conf)
    refused = pods.node.run(cli, "network", "rm", "net")
    assert (refused.code, "has 1 endpoint" in refused.err) == (1, True)
    pods.side.delete(conf, "c1").ok()
    pods.node.run(cli, "network", "rm", "net").ok()
    assert ' net"' not in pods.party.rules()
    pods.nothing_left()


def test_without_addresses(pods: Pods) -> None:
    """A ptp network cannot be without an ipam: refused with 7 before any effect."""
    pods.side.container("c1")
    refused = pods.side.add({"cniVersion": "1.0.0", "name": "net", "driver": "ptp", "ipMasq": True})
    assert (refused.json["code"], "needs an ipam" in refused.json["msg"]) == (7, True)
    pods.nothing_left()


def test_status(pods: Pods) -> None:
    """STATUS of a ptp network: nothing to say, and its full pool when it is full."""
    newer = {**net(), "cniVersion": "1.1.0", "ipam": {"subnet": "10.66.0.0/30"}}
    pods.side.call("STATUS", newer, container="", ifname="", netns="").ok()
    pods.side.container("c1")
    pods.side.add(newer, "c1").ok()
    full = pods.side.call("STATUS", newer, container="", ifname="", netns="")
    assert (full.code, "no free address" in full.err) == (0, True)
