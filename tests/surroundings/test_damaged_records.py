"""A damaged record of a network or an endpoint: the calls of all others go on, say so, and keep what may be its own."""

from __future__ import annotations

import json

import pytest

from tests.side import Side
from tests.surroundings.configs import Config, network

DAMAGE = {
    "cut": lambda raw: raw[: len(raw) // 2],
    "types": lambda raw: raw.replace(b'"options":{', b'"options":7,"x":{'),
}
CLOSED: Config = {"ipMasq": True, "firewall": {"ingressPolicy": "same-bridge"}}
MINE, OTHER = network(**CLOSED), network("other", "10.92.0.0/24", **CLOSED)


@pytest.fixture
def neighbours(side: Side) -> Side:
    for container in ("c1", "c2", "c3", "c4"):
        side.container(container)
    side.node.run("iptables", "-P", "FORWARD", "DROP").ok()
    side.add(MINE).ok()
    side.add(OTHER, "c2").ok()
    return side


def damage(side: Side, kind: str, how: str) -> str:
    """Of the network or the endpoint of c1. Returns the file's name."""
    folder = {"networks": "/var/lib/cni-cnm/networks", "endpoints": "/run/cni-cnm/endpoints"}[kind]
    files = sorted(side.node.path(folder).glob("*.json"))
    (path,) = (
        one for one in files if json.loads(one.read_text()).get("name" if kind == "networks" else "network") == "net"
    )
    before = path.read_bytes()
    path.write_bytes(DAMAGE[how](before))
    assert path.read_bytes() != before
    return path.name


def kept(side: Side) -> list[str]:
    """What is there of the network of c1."""
    tables = side.node.run("nft", "list", "ruleset").ok().out
    return sorted({word for word in ("br-net", *side.leases("net")) if word in tables})


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("kind", ["networks", "endpoints"])
def test_calls_of_others(neighbours: Side, kind: str, how: str) -> None:
    side = neighbours
    there, leases = kept(side), side.leases("net")
    assert there
    name = damage(side, kind, how)
    side.node.run("iptables", "-t", "nat", "-N", "OTHER").ok()
    side.node.run("iptables", "-I", "FORWARD", "-j", "RETURN").ok()  # the next ADD looks at everything
    added = side.add(OTHER, "c3").ok()
    if kind == "networks":
        assert name in added.err
    side.check(OTHER, added.json, "c3").ok()
    side.delete(OTHER, "c2").ok()
    collected = side.call("GC", {**OTHER, "cniVersion": "1.1.0", "cni.dev/valid-attachments": []}, "").ok()
    if kind == "endpoints":
        assert name in collected.err
    program = str(side.executable)
    listed = side.node.run(program, "endpoint", "ls").ok()
    assert (name in listed.err) is (kind == "endpoints")
    repaired = side.node.run(program, "repair")
    assert (repaired.code, name in repaired.err) == (1, True)
    side.add(network("third", "10.93.0.0/24", **CLOSED), "c4").ok()
    assert (kept(side), side.leases("net")) == (there, leases)
    assert "br-net" in side.node.run("iptables-save", "-t", "filter").ok().out


@pytest.mark.parametrize("how", DAMAGE)
def test_a_network_is_not_removed_below_an_endpoint_that_cannot_be_read(neighbours: Side, how: str) -> None:
    side = neighbours
    name = damage(side, "endpoints", how)
    refused = side.node.run(str(side.executable), "network", "rm", "net")
    assert refused.code == 1
    assert name in refused.err
    side.delete(MINE).ok()
    side.node.run(str(side.executable), "network", "rm", "net").ok()
    assert "br-net" not in side.node.links()
