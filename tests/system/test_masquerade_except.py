"""`masqueradeExcept`: destinations to which pods keep their address, such as the pods of a cluster's other nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import program
from tests.side import Side
from tests.system.test_ports import ask, serve

RANGES = [[{"subnet": "10.60.0.0/24"}], [{"subnet": "fd00:60::/64"}]]
IPAM = {"type": "host-local", "ranges": RANGES, "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}
PODS, PODS6 = "10.244.7.9", "fd00:244::9"
"""A pod of another node."""
WORLD, WORLD6 = "192.0.2.2", "2001:db8::2"
HOST, HOST6 = "192.0.2.1", "2001:db8::1"
EXCEPT = ["10.244.0.0/16", "fd00:244::/32"]
NETWORKS: dict[str, dict[str, Any]] = {
    "cnm": {},
    "reference": {"bridge": "br0", "isGateway": True, "ipMasq": True},
    "ptp": {"driver": "ptp"},
    "reference ptp": {"driver": "ptp", "ipMasq": True},
}


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    """A node beside another one, which has the addresses PODS and WORLD and routes everything back."""
    made = Side(program(tmp_path), "cni-cnm")
    node = made.node
    other = node.add_netns("other")
    for netns in ("", other):  # the links ask for neighbours at once
        node.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", netns=netns).ok()
    node.run("ip", "link", "add", "wan0", "type", "veth", "peer", "name", "eth0", "netns", "other").ok()
    for commands, netns in (
        ((f"addr add {HOST}/24 dev wan0", f"addr add {HOST6}/64 dev wan0 nodad", "link set wan0 up"), ""),
        ((f"addr add {WORLD}/24 dev eth0", f"addr add {WORLD6}/64 dev eth0 nodad", "link set eth0 up"), other),
        ((f"addr add {PODS}/32 dev lo", f"addr add {PODS6}/128 dev lo nodad", "link set lo up"), other),
        ((f"route add default via {HOST}", f"-6 route add default via {HOST6}"), other),
        ((f"route add 10.244.0.0/16 via {WORLD}", f"-6 route add fd00:244::/32 via {WORLD6}"), ""),
    ):
        for command in commands:
            node.run("ip", *command.split(), netns=netns).ok()
    serve(made, "other", "tcp", 80)
    yield made
    made.close()


def conf(name: str = "net", **keys: Any) -> dict[str, Any]:
    return {"cniVersion": "1.1.0", "name": name, "ipam": IPAM, **keys}


def source(side: Side, container: str, destination: str) -> str:
    """The pod's address as the destination sees it. IPv6 neighbour discovery may take a second question, 1 s later."""
    answers = (ask(side, "tcp", destination, 80, container) for _ in range(4))
    return next((answer for answer in answers if not answer.startswith("no ")), "no answer")


def elements(side: Side) -> list[str]:
    """Of both sets, as nft lists them."""
    listed = ""
    for name in ("unmasqueraded4", "unmasqueraded6"):
        listed += side.node.run("nft", "list", "set", "inet", "cni_cnm", name).out
    return [part.strip(" {},\n\t") for part in listed.split("\n") if " comment " in part]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.quick("cnm", "reference ptp")
def test_where_pods_keep_their_address(side: Side, kind: str) -> None:
    """Of both families; elsewhere they have the host's. It decides no profile."""
    config = conf(**NETWORKS[kind], masqueradeExcept=EXCEPT)
    side.container("c1")
    result = side.add(config).ok()
    assert "masqueradeExcept" not in result.err
    own, own6 = (ip["address"].partition("/")[0] for ip in result.json["ips"])
    assert source(side, "c1", PODS) == own
    assert source(side, "c1", PODS6) == own6
    assert source(side, "c1", WORLD) == HOST
    assert source(side, "c1", WORLD6) == HOST6
    assert len(elements(side)) == len(EXCEPT)
    side.check(config, result.json).ok()
    side.delete(config).ok()


def test_a_subnet_that_grew(side: Side) -> None:
    """Pods of before have the old prefix length. The exceptions are of the subnet as it is now, also back again."""
    narrow, wide = ({"ranges": [[{"subnet": subnet}]]} for subnet in ("10.60.0.0/24", "10.60.0.0/16"))
    for name in ("c1", "c2", "c3"):
        side.container(name)
    side.add(conf("grown", ipam=narrow, masqueradeExcept=["10.0.0.0/8"])).ok()
    wider = conf("grown", ipam=wide, masqueradeExcept=["10.0.0.0/8"])
    previous = side.add(wider, "c2").ok().json
    side.check(wider, previous, "c2").ok()
    assert [element.partition(" comment")[0].removeprefix("elements = { ") for element in elements(side)] == [
        "10.60.0.0/16 . 10.0.0.0/8"
    ]
    own = previous["ips"][0]["address"].partition("/")[0]
    assert source(side, "c2", PODS) == own
    assert source(side, "c1", PODS).startswith("10.60.0.")
    again = conf("grown", ipam=narrow, masqueradeExcept=["10.0.0.0/8"])
    side.add(again, "c3").ok()
    assert [element.partition(" comment")[0].removeprefix("elements = { ") for element in elements(side)] == [
        "10.60.0.0/24 . 10.0.0.0/8"
    ]
    assert side.node.run(str(side.executable), "repair", "--dry-run").ok().out == ""
    for name in ("c1", "c2", "c3"):
        side.delete(again, name).ok()
    side.node.run(str(side.executable), "network", "rm", "grown").ok()


def test_edited_live(side: Side) -> None:
    """The next ADD of the network changes what it is for pods that run; no element is left of a network removed."""
    for name in ("c1", "c2", "c3", "c4"):
        side.container(name)
    own = side.add(conf()).ok().json["ips"][0]["address"].partition("/")[0]
    assert source(side, "c1", PODS) == HOST
    edited = conf(masqueradeExcept=["10.244.7.9/32", "192.0.2.0/24", "192.0.2.2/32"])
    previous = side.add(edited, "c2").ok().json
    assert source(side, "c1", PODS) == own
    assert source(side, "c1", WORLD) == own
    assert len(elements(side)) == 2
    side.check(edited, previous, "c2").ok()
    wider = conf(masqueradeExcept=["10.0.0.0/8"])
    side.add(wider, "c3").ok()
    assert source(side, "c1", PODS) == own
    assert source(side, "c1", WORLD) == HOST
    side.add(conf(), "c4").ok()
    assert source(side, "c1", PODS) == HOST
    assert elements(side) == []
    side.delete(wider, "c4").ok()
    side.add(wider, "c4").ok()
    for name in side.containers:
        side.delete(wider, name).ok()
    side.node.run(str(side.executable), "network", "rm", "net").ok()
    assert elements(side) == []


def test_a_whole_family(side: Side) -> None:
    """0.0.0.0/0: masquerade is off for IPv4 alone."""
    side.container("c1")
    own = side.add(conf(masqueradeExcept=["0.0.0.0/0"])).ok().json["ips"][0]["address"].partition("/")[0]
    assert source(side, "c1", WORLD) == own
    assert source(side, "c1", WORLD6) == HOST6


def test_put_back(side: Side) -> None:
    """CHECK names an element that is missing, and the next ADD after a flush puts all back."""
    for name in ("c1", "c2"):
        side.container(name)
    config = conf(masqueradeExcept=EXCEPT)
    previous = side.add(config).ok().json
    side.node.run("nft", "delete", "table", "inet", "cni_cnm").ok()
    side.add(config, "c2").ok()
    side.check(config, previous).ok()
    assert source(side, "c1", PODS6) == previous["ips"][1]["address"].partition("/")[0]


def test_two_networks_on_one_subnet(side: Side) -> None:
    """They share what is excepted, it stays when the first is removed, and what only overlaps is refused."""
    for name in ("c1", "c2"):
        side.container(name)
    one = conf("one", masqueradeExcept=["10.0.0.0/8"], allowOverlap=True)
    other = conf("other", masqueradeExcept=["10.0.0.0/8", "fd00:244::/32"], allowOverlap=True)
    side.add(one, "c1").ok()
    refused = side.add({**other, "masqueradeExcept": ["10.244.0.0/16"]}, "c2").json
    assert refused["code"] in range(100, 120)
    assert "network one" in refused["msg"]
    assert "the network other" in refused["msg"]
    own = side.add(other, "c2").ok().json["ips"][0]["address"].partition("/")[0]
    side.delete(one, "c1").ok()
    side.node.run(str(side.executable), "network", "rm", "one").ok()
    assert source(side, "c2", PODS) == own


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "10.0.0.1", "everywhere", 5, "fd00::/129"])
def test_refused(side: Side, wrong: Any) -> None:
    """Code 7 with the key, before anything is made."""
    side.container("c1")
    answer = side.add(conf(masqueradeExcept=["10.0.0.0/8", wrong]))
    assert answer.json["code"] == 7
    assert "masqueradeExcept" in answer.json["msg"]
    assert not side.node.links() - {"lo", "wan0"}
