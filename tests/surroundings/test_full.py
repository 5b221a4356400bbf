"""A subnet or a bridge that is full, in each form: one error that says so, nothing left, and room again."""

from __future__ import annotations

import pytest

from tests.side import Side
from tests.surroundings.configs import network

BRIDGE_PORTS = 1023
"""BR_MAX_PORTS of the kernel is 1024, and number 0 is not used."""


def left(side: Side, container: str) -> list[str]:
    """What is there of a container whose ADD failed."""
    elements = side.node.run("nft", "list", "ruleset").out
    leases = [address for address, owner in side.leases("net").items() if owner.startswith(f"{container}\r")]
    links = side.node.links(f"/run/netns/{container}") - {"lo"}
    return [*links, *leases, *(line for line in elements.splitlines() if f"/{container}/" in line)]


def records(side: Side) -> set[str]:
    return side.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes")


def test_a_subnet_that_is_full(side: Side) -> None:
    config = network("net", "10.90.0.0/29", "fd00:90::/64", ipMasq=True)
    names = [f"c{number}" for number in range(6)]
    for name in names:
        side.container(name)
    given = [side.add(config, name).ok().json["ips"][0]["address"] for name in names[:5]]
    assert len(set(given)) == 5
    before = side.node.links(), records(side), set(side.leases("net"))
    for _ in range(2):
        refused = side.add(config, "c5")
        assert refused.json["code"] == 101, refused
        assert "the network net has no free address in 10.90.0.1-10.90.0.6" in refused.json["msg"]
        assert left(side, "c5") == []
        assert (side.node.links(), records(side), set(side.leases("net"))) == before
    side.delete(config, "c5").ok()
    side.delete(config, "c2").ok()
    (found,) = {ip["address"] for ip in side.add(config, "c5").ok().json["ips"]} & set(given)
    assert found == given[2]


@pytest.mark.long
def test_a_bridge_that_is_full(side: Side) -> None:
    for name in ("c1", "c2"):
        side.container(name)
    config = network(ipMasq=True)
    bridge = config["bridge"]
    side.add(config, "c2").ok()
    side.node.run(
        "sh", "-c",
        f"for n in $(seq {BRIDGE_PORTS - 1}); do echo link add p$n type veth peer name q$n;"
        f"echo link set p$n master {bridge}; done | ip -batch -", timeout=300,
    ).ok()  # fmt: skip
    before = side.node.links(), records(side), set(side.leases("net"))
    refused = side.add(config)
    assert refused.json["code"] == 103, refused
    assert f"the bridge {bridge} is full" in refused.json["msg"]
    assert left(side, "c1") == []
    assert (side.node.links(), records(side), set(side.leases("net"))) == before
    side.delete(config).ok()
    side.node.run("ip", "link", "del", "p1").ok()
    side.add(config).ok()
    for name in ("c1", "c2"):
        side.delete(config, name).ok()
