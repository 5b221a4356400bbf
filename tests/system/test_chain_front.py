"""Behind interface plugins other than the bridge: ptp, which is routed to; macvlan, which has no end on the host."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.differential.paths import Party
from tests.differential.paths import Path as Way
from tests.program import program
from tests.side import REFERENCE, Side, require_reference

RANGES = [[{"subnet": "10.66.0.0/24"}], [{"subnet": "fd00:66::/64"}]]
PTP: dict[str, Any] = {
    "cniVersion": "1.0.0", "name": "net", "type": "ptp", "ipMasq": True,
    "ipam": {"type": "host-local", "ranges": RANGES, "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]},
}  # fmt: skip
MACVLAN: dict[str, Any] = {
    "cniVersion": "1.0.0", "name": "net", "type": "macvlan", "master": "wan0",
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.100"}]]},
}  # fmt: skip
MAPPINGS = [{"hostPort": 8080, "containerPort": 80, "protocol": protocol} for protocol in ("tcp", "udp")]
PORTS: dict[str, Any] = {"capabilities": {"portMappings": True}, "runtimeConfig": {"portMappings": MAPPINGS}}
LIMITS = {"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 4_000_000, "egressBurst": 400_000}
TUNING: dict[str, Any] = {
    "sysctl": {"net.core.somaxconn": "500"},
    "mtu": 1400,
    "mac": "02:42:0a:00:00:07",
    "promisc": True,
}
DROP = "*filter\n:FORWARD DROP\nCOMMIT\n"


class Chain:
    """An interface plugin of the reference, and ours behind it."""

    def __init__(self, party: Party, front: dict[str, Any]) -> None:
        self.party, self.side, self.node, self.front = party, party.side, party.node, front
        self.results: dict[str, Any] = {}

    def ours(self, **keys: Any) -> dict[str, Any]:
        return {"cniVersion": "1.0.0", "name": self.front["name"], **keys}

    def add(self, container: str = "c1", **keys: Any) -> Any:
        if container not in self.side.containers:
            self.party.container(container)
        made = self.call_front("ADD", container).ok().json
        answer = self.side.add({**self.ours(**keys), "prevResult": made}, container)
        self.results[container] = answer.json if answer.code == 0 else made
        return answer

    def check(self, container: str = "c1", **keys: Any) -> Any:
        return self.side.check(self.ours(**keys), self.results[container], container)

    def delete(self, container: str = "c1", *, remembered: bool = True, **keys: Any) -> Any:
        previous = {"prevResult": self.results[container]} if remembered else {}
        return self.side.delete({**self.ours(**keys), **previous}, container)

    def call_front(self, verb: str, container: str = "c1") -> Any:
        return self.side.call(verb, self.front, container, executable=REFERENCE / self.front["type"])

    def port(self, container: str = "c1") -> str:
        return str(next(link["name"] for link in self.results[container]["interfaces"] if not link.get("sandbox")))

    def nothing_of_ours(self) -> None:
        assert self.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()
        assert "net/c" not in self.party.rules()
        assert not [name for name in self.node.links() if name.startswith("bwp")]


@pytest.fixture
def party(tmp_path: Path) -> Iterator[Party]:
    if os.geteuid():
        pytest.skip("network namespaces need root")
    require_reference()
    side = Side(program(tmp_path), "cni-cnm", (REFERENCE,))
    yield Party(side)
    side.close()


@pytest.fixture
def ptp(party: Party) -> Chain:
    return Chain(party, PTP)


@pytest.fixture
def macvlan(party: Party) -> Chain:
    return Chain(party, MACVLAN)


def another(name: str, number: int) -> dict[str, Any]:
    """A ptp network beside the first one."""
    return {**PTP, "name": name, "ipam": {**PTP["ipam"], "ranges": [[{"subnet": f"10.66.{number}.0/24"}]]}}


def published(number: int = 8080, *, open_: bool = True) -> dict[Way, str | None]:
    """Every way to c1's port: another host, the host, 127.0.0.1, itself, a neighbour; and what it takes them for."""
    ways: dict[Way, str | None] = {}
    for kind in ("tcp", "udp"):
        ways |= {
            Way("outside", kind, "192.0.2.1", number): "192.0.2.2",
            Way("outside", kind, "2001:db8::1", number): "2001:db8::2",
            Way("", kind, "192.0.2.1", number): "192.0.2.1",
            Way("", kind, "127.0.0.1", number): "10.66.0.1",
            Way("", kind, "2001:db8::1", number): "2001:db8::1",
            Way("c1", kind, "192.0.2.1", number): "10.66.0.1",
            Way("c1", kind, "2001:db8::1", number): "fd00:66::1",
            Way("c2", kind, "192.0.2.1", number): "10.66.0.1",
            Way("c2", kind, "2001:db8::1", number): "fd00:66::1",
        }
    return {way: said if open_ else None for way, said in ways.items()}


def test_ports_of_a_ptp_pod(ptp: Chain) -> None:
    """Every way leads through the host's route to it; the result is passed on; unpublished, none does."""
    ptp.add("c1", **PORTS).ok()
    ptp.add("c2").ok()
    assert ptp.results["c1"]["interfaces"][1]["name"] == "eth0"
    ptp.party.serve("c1", 80)
    ptp.party.expect(published())
    ptp.check(**PORTS).ok()
    ptp.delete(**PORTS).ok()
    ptp.party.expect(published(open_=False))
    ptp.party.expect({Way("c2", "tcp", "10.66.0.2", 80): "10.66.0.3"})
    ptp.call_front("DEL").ok()
    ptp.delete("c2").ok()
    ptp.nothing_of_ours()


def test_check_names_what_is_missing(ptp: Chain) -> None:
    """A published port that another program removed, and an address that is not the result's."""
    ptp.add(**PORTS).ok()
    ptp.node.run("nft", "delete", "element", "inet", "cni_cnm", "ports4", "{ tcp . 8080 }").ok()
    broken = ptp.check(**PORTS)
    assert broken.code == 1
    assert "ports4" in broken.json["msg"]


def test_status_is_that_of_the_chain(ptp: Chain) -> None:
    """It carries no prevResult, so nothing in it says that the addresses are another plugin's; the record does."""
    conf = {**ptp.ours(**PORTS), "cniVersion": "1.1.0"}
    ptp.side.call("STATUS", conf, container="", ifname="", netns="").ok()
    ptp.add(**PORTS).ok()
    ptp.side.call("STATUS", conf, container="", ifname="", netns="").ok()
    ptp.delete(**PORTS).ok()


def test_delete_in_any_order(ptp: Chain) -> None:
    """Without the result, after the interface is gone, and again: nothing of ours is left, nothing fails."""
    everything: dict[str, Any] = {
        **PORTS,
        "bandwidth": LIMITS,
        "tuning": TUNING,
        "firewall": {"ingressPolicy": "same-bridge"},
    }
    ptp.add(**everything).ok()
    ptp.check(**everything).ok()
    ptp.delete(remembered=False).ok()
    ptp.nothing_of_ours()
    ptp.delete(remembered=False).ok()
    assert "eth0" in ptp.node.links("/run/netns/c1")
    ptp.call_front("DEL").ok()
    ptp.add(**everything).ok()
    ptp.call_front("DEL").ok()
    assert ptp.node.links("/run/netns/c1") == {"lo"}
    ptp.delete(**everything).ok()
    ptp.delete(**everything).ok()
    ptp.nothing_of_ours()


def test_an_add_that_fails_leaves_the_interface_as_it_was(ptp: Chain) -> None:
    """A sysctl that the kernel refuses comes last: limits, tuning, ports and policy are taken back."""
    port_of = ptp.call_front
    ptp.party.container("c1")
    made = port_of("ADD").ok().json
    host_end = str(made["interfaces"][0]["name"])
    before = ptp.node.run("tc", "qdisc", "show", "dev", host_end).out
    keys = {**PORTS, "bandwidth": LIMITS, "tuning": {"mtu": 1300, "sysctl": {"net.ipv4.conf.IFNAME.nosuch": "1"}}}
    refused = ptp.side.add({**ptp.ours(**keys, firewall={"ingressPolicy": "isolated"}), "prevResult": made})
    assert refused.code == 1
    assert "nosuch" in refused.json["msg"]
    assert ptp.node.run("tc", "qdisc", "show", "dev", host_end).out == before
    assert ptp.node.ip("link", "show", "dev", "eth0", netns="/run/netns/c1")[0]["mtu"] == 1500
    ptp.nothing_of_ours()


def test_limits_and_tuning_of_a_ptp_pod(ptp: Chain) -> None:
    """Both ways are limited at the host's end, the interface is tuned; DEL makes it what it was."""
    ptp.add(bandwidth=LIMITS, tuning=TUNING).ok()
    port = ptp.port()
    [ifb] = [name for name in ptp.node.links() if name.startswith("bwp")]
    for name, rate in ((port, "8Mbit"), (ifb, "4Mbit")):
        assert f"rate {rate}" in ptp.node.run("tc", "qdisc", "show", "dev", name).out
    [link] = ptp.node.ip("link", "show", "dev", "eth0", netns="/run/netns/c1")
    assert (link["address"], link["mtu"], "PROMISC" in link["flags"]) == (TUNING["mac"], 1400, True)
    assert ptp.side.sysctl("net/core/somaxconn", "/run/netns/c1") == "500"
    ptp.check(bandwidth=LIMITS, tuning=TUNING).ok()
    ptp.delete().ok()
    [link] = ptp.node.ip("link", "show", "dev", "eth0", netns="/run/netns/c1")
    assert (link["mtu"], "PROMISC" in link["flags"]) == (1500, False)
    assert ptp.side.sysctl("net/core/somaxconn", "/run/netns/c1") != "500"
    assert "tbf" not in ptp.node.run("tc", "qdisc", "show", "dev", port).out
    ptp.nothing_of_ours()


def test_a_ptp_pod_gets_the_rate_and_no_more(ptp: Chain) -> None:
    """A real transfer each way, by the published port: never faster than the limit once the burst is spent."""
    server = """
import socket
s = socket.create_server(("", 80))
print("up", flush=True)
while True:
    c, _ = s.accept()
    if c.recv(1) == b"<":
        c.sendall(bytes(1_000_000))
    else:
        while c.recv(65536):
            pass
    c.close()
"""
    client = """
import socket, sys, time
s = socket.create_connection(("192.0.2.1", 8080))
s.sendall(sys.argv[1].encode())
start = time.monotonic()
if sys.argv[1] == "<":
    while s.recv(65536):
        pass
else:
    s.sendall(bytes(1_000_000))
    s.shutdown(socket.SHUT_WR)
    s.recv(1)
print(time.monotonic() - start)
"""
    ptp.add(**PORTS, bandwidth=LIMITS).ok()
    command = ptp.node.command(sys.executable, "-Ic", server, netns="/run/netns/c1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        assert serving.stdout.readline() == "up\n"
        for sign, way in (("<", "egress"), (">", "ingress")):
            took = float(ptp.node.run(sys.executable, "-Ic", client, sign, netns="/run/netns/outside").ok().out)
            least = (8_000_000 - LIMITS[f"{way}Burst"]) / LIMITS[f"{way}Rate"]
            assert took > 0.9 * least, way
        serving.kill()


def test_firewall_of_ptp_pods(ptp: Chain) -> None:
    """Each is a network of its own: `open` ones reach each other, isolated ones by a published port alone."""
    policies = {"c1": "same-bridge", "c2": "isolated", "c3": "open"}
    for number, (container, policy) in enumerate(policies.items()):
        chain = Chain(ptp.party, {**another(f"net{number}", number), "ipMasq": False})
        ports = PORTS if container == "c1" else {}
        chain.add(container, firewall={"ingressPolicy": policy}, **ports).ok()
        chain.check(container, firewall={"ingressPolicy": policy}, **ports).ok()
        ptp.party.serve(container, 80)
    ptp.party.expect(
        {
            Way("c1", "tcp", "10.66.1.2", 80): None,
            Way("c2", "tcp", "10.66.0.2", 80): None,
            Way("c2", "tcp", "192.0.2.1", 8080): "10.66.1.2",
            Way("c3", "tcp", "10.66.1.2", 80): "10.66.2.2",
            Way("", "tcp", "10.66.1.2", 80): "10.66.1.1",
        }
    )
    chain = Chain(ptp.party, {**PTP, "name": "net1"})
    chain.results["c2"] = None
    chain.delete("c2", remembered=False).ok()
    ptp.party.expect({Way("c1", "tcp", "10.66.1.2", 80): "10.66.0.2"})


def test_where_another_firewall_drops(ptp: Chain) -> None:
    """FORWARD policy DROP: the block `firewall` has a pod's traffic accepted, as long as the pod is there."""
    saved = "iptables-save -t filter"
    ptp.node.run("iptables-restore", "--noflush", stdin=DROP).ok()
    ptp.add("c1", **PORTS, firewall={}).ok()
    ptp.add("c2", firewall={}).ok()
    without = Chain(ptp.party, another("without", 1))
    without.add("c3", **{**PORTS, "runtimeConfig": {"portMappings": [{**MAPPINGS[0], "hostPort": 8081}]}}).ok()
    ptp.party.serve("c1", 80)
    ptp.party.serve("c3", 80)
    ptp.party.serve("outside", 80)
    ptp.party.expect(
        {
            Way("outside", "tcp", "192.0.2.1", 8080): "192.0.2.2",
            Way("c2", "tcp", "192.0.2.2", 80): "192.0.2.1",
            Way("outside", "tcp", "192.0.2.1", 8081): None,  # whatever stands in the chain for that decides
        }
    )
    ptp.check("c2", firewall={}).ok()
    ptp.node.run("iptables", "-F", "FORWARD").ok()
    assert "FORWARD" in ptp.check("c2", firewall={}).json["msg"]
    ptp.add("c4", firewall={}).ok()
    ptp.check("c2", firewall={}).ok()
    ptp.delete("c1").ok()
    rules = ptp.node.run(*saved.split()).out
    assert ptp.port("c1") not in rules
    assert ptp.port("c2") in rules
    ptp.delete("c2").ok()
    ptp.delete("c4").ok()
    assert "cni-cnm" not in ptp.node.run(*saved.split()).out


def test_collection(ptp: Chain) -> None:
    """GC takes what ours added to an interface that is not valid any more, and leaves its neighbour's."""
    ptp.add("c1", **PORTS).ok()
    ptp.add("c2", **{**PORTS, "runtimeConfig": {"portMappings": [{**MAPPINGS[0], "hostPort": 8081}]}}).ok()
    valid = [{"containerID": "c2", "ifname": "eth0"}]
    config = {**ptp.ours(), "cniVersion": "1.1.0", "cni.dev/valid-attachments": valid}
    ptp.side.call("GC", config, container="", ifname="", netns="").ok()
    assert "net/c1" not in ptp.party.rules()
    assert "net/c2" in ptp.party.rules()
    assert "eth0" in ptp.node.links("/run/netns/c1")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (PORTS, "publish a port"),
        ({"bandwidth": LIMITS}, "limit bandwidth"),
        ({"firewall": {"ingressPolicy": "isolated"}}, "filter"),
        ({"internal": True}, "filter"),
    ],
)
def test_what_cannot_be_added_to_a_macvlan(macvlan: Chain, keys: dict[str, Any], words: str) -> None:
    """Without an end on the host: refused with the reason, code 7, before anything is touched."""
    before = macvlan.party.rules()
    refused = macvlan.add(**keys, tuning=TUNING)
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert (
        f"eth0 is a macvlan link without an end on the host, so there is nothing to {words} by" in refused.json["msg"]
    )
    assert macvlan.party.rules() == before
    assert macvlan.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm/networks") == set()
    assert macvlan.node.ip("link", "show", "dev", "eth0", netns="/run/netns/c1")[0]["mtu"] == 1500
    macvlan.delete(**keys).ok()
    macvlan.call_front("DEL").ok()


def test_tuning_of_a_macvlan(macvlan: Chain) -> None:
    """What is the container's own is tuned, checked and put back; the other host is reached throughout."""
    made = macvlan.add(tuning=TUNING).ok().json
    assert [link["mac"] for link in made["interfaces"] if link["name"] == "eth0"] == [TUNING["mac"]]
    macvlan.check(tuning=TUNING).ok()
    macvlan.party.serve("outside", 80)
    macvlan.party.expect({Way("c1", "tcp", "192.0.2.2", 80): "192.0.2.100"})
    macvlan.node.run("ip", "link", "set", "eth0", "mtu", "1300", netns="/run/netns/c1").ok()
    assert "mtu" in macvlan.check(tuning=TUNING).json["msg"]
    macvlan.delete().ok()
    [link] = macvlan.node.ip("link", "show", "dev", "eth0", netns="/run/netns/c1")
    assert (link["mtu"], "PROMISC" in link["flags"]) == (1500, False)
    assert link["address"] != TUNING["mac"]
    macvlan.call_front("DEL").ok()
    assert macvlan.node.links("/run/netns/c1") == {"lo"}
    macvlan.nothing_of_ours()
