"""cni-cnm as one link of a chain: first, with the reference plugins behind it, and behind their bridge."""

from __future__ import annotations

from typing import Any

import pytest

from tests.side import REFERENCE, Side, require_reference
from tests.system.test_ports import ask, serve

PORTS = {"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}}
BRIDGE: dict[str, Any] = {
    "cniVersion": "1.0.0", "name": "net", "bridge": "cni0", "isDefaultGateway": True,
    "ipam": {"type": "host-local", "subnet": "10.66.0.0/24"},
}  # fmt: skip


@pytest.fixture
def side(side: Side) -> Side:
    """A host at 192.0.2.1, with the reference plugins."""
    require_reference()
    for command in ("link add up0 type bridge", "addr add 192.0.2.1/24 dev up0", "link set up0 up"):
        side.node.run("ip", *command.split()).ok()
    return side


@pytest.mark.parametrize(
    ("plugin", "keys"),
    [
        ("portmap", PORTS),
        ("firewall", {}),
        ("bandwidth", {"ingressRate": 10**7, "ingressBurst": 10**6}),
        ("tuning", {"sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400}),
    ],
)
def test_reference_plugins_behind_ours(side: Side, plugin: str, keys: dict[str, Any]) -> None:
    """Our result suits the reference's chained plugins: ADD, CHECK and DEL of the whole chain."""
    result = side.add(BRIDGE).ok().json
    link = {"cniVersion": "1.0.0", "name": "net", "type": plugin, **keys}
    executable = REFERENCE / plugin
    final = side.call("ADD", {**link, "prevResult": result}, executable=executable).ok().json
    if plugin != "portmap":  # its CHECK looks for an IPv6 chain that a pod without IPv6 does not have
        side.call("CHECK", {**link, "prevResult": final}, executable=executable).ok()
    if plugin != "tuning":
        side.check(BRIDGE, final).ok()
    side.call("DEL", {**link, "prevResult": final}, executable=executable).ok()
    side.delete({**BRIDGE, "prevResult": final}).ok()
    assert side.node.links("/run/netns/c1") == {"lo"}


def test_ports_for_the_interface_of_the_reference_bridge(side: Side) -> None:
    """Behind the reference bridge: ports are added to its interface, its result is passed on, its things stay its."""
    reference = REFERENCE / "bridge"
    result = side.call("ADD", {**BRIDGE, "type": "bridge"}, executable=reference).ok().json
    link = {"cniVersion": "1.0.0", "name": "net", "capabilities": {"portMappings": True}, **PORTS}
    assert side.add({**link, "prevResult": result}).ok().json == result
    serve(side, "c1", "tcp", 80)
    assert ask(side, "tcp", "192.0.2.1", 8080) == "192.0.2.1"
    assert not ask(side, "tcp", "127.0.0.1", 8080).startswith("no")
    side.check(link, result).ok()
    side.delete({**link, "prevResult": result}).ok()
    assert ask(side, "tcp", "192.0.2.1", 8080).startswith("no")
    assert "eth0" in side.node.links("/run/netns/c1")
    side.call("DEL", {**BRIDGE, "type": "bridge"}, executable=reference).ok()
    assert side.node.links("/run/netns/c1") == {"lo"}
    assert side.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()


@pytest.mark.parametrize(
    ("keys", "within", "out", "between"),
    [
        ({"firewall": {}}, True, True, True),
        ({"firewall": {"ingressPolicy": "same-bridge"}}, True, True, False),
        ({"firewall": {"ingressPolicy": "isolated"}}, False, True, False),
        ({"internal": True}, True, False, False),
    ],
)
def test_firewall_for_the_reference_bridge(
    side: Side, keys: dict[str, Any], within: bool, out: bool, between: bool
) -> None:
    """Behind the reference bridge: who reaches whom goes by that bridge, as on one of ours; DEL leaves nothing."""
    reference, link = REFERENCE / "bridge", {"cniVersion": "1.0.0", "name": "net", **keys}
    other = {**BRIDGE, "name": "other", "bridge": "cni1", "ipam": {"type": "host-local", "subnet": "10.67.0.0/24"}}
    made = {}
    side.container("c3")
    for container, front in (("c1", BRIDGE), ("c2", BRIDGE), ("c3", other)):
        made[container] = side.call("ADD", {**front, "type": "bridge"}, container, executable=reference).ok().json
        ours = {**link, "name": front["name"], "prevResult": made[container]}
        made[container] = side.add(ours, container).ok().json
        side.check({**link, "name": front["name"]}, made[container], container).ok()

    def reached(source: str, address: str) -> bool:
        return side.node.ping(address, netns=f"/run/netns/{source}", wait=1)

    assert (reached("c1", "10.66.0.3"), reached("c3", "10.66.0.2")) == (within, between)
    assert reached("c1", "192.0.2.1"), "the host itself"
    side.node.add_netns("outside")
    side.node.run("ip", "link", "add", "up1", "type", "veth", "peer", "name", "eth0", "netns", "outside").ok()
    for netns, dev, address in (("", "up1", "198.51.100.1/24"), ("/run/netns/outside", "eth0", "198.51.100.9/24")):
        side.node.run("ip", "addr", "add", address, "dev", dev, netns=netns).ok()
        side.node.run("ip", "link", "set", dev, "up", netns=netns).ok()
    side.node.run("ip", "route", "add", "default", "via", "198.51.100.1", netns="/run/netns/outside").ok()
    assert reached("c1", "198.51.100.9") == out
    for container in made:
        name = "other" if container == "c3" else "net"
        side.delete({**link, "name": name}, container).ok()
    assert side.node.files("/run/cni-cnm/endpoints") == set()
    for name in ("net", "other"):
        side.node.run(str(side.executable), "network", "rm", name).ok()
    assert "elements" not in side.node.run("nft", "list", "ruleset").out
    assert {"cni0", "cni1"} <= side.node.links(), "the bridges are not ours"


def test_a_policy_that_comes_later(side: Side) -> None:
    """The block `firewall` may be added while containers are there, and not be taken away: 7, naming both values."""
    reference, link = REFERENCE / "bridge", {"cniVersion": "1.0.0", "name": "net"}
    policy = {"firewall": {"ingressPolicy": "same-bridge"}}
    side.container("c3")
    for container, keys, code in (("c1", {}, None), ("c2", policy, None), ("c3", {}, 7)):
        made = side.call("ADD", {**BRIDGE, "type": "bridge"}, container, executable=reference).ok().json
        answer = side.add({**link, **keys, "prevResult": made}, container)
        assert answer.json.get("code") == code
        if code is None:
            side.check({**link, **keys}, answer.json, container).ok()
    assert '"cni0"' in side.node.run("nft", "list", "set", "inet", "cni_cnm", "networks").ok().out
    for container in ("c1", "c2", "c3"):
        side.delete(link, container).ok()


def test_delete_of_a_failed_chain_touches_nothing_of_others(side: Side) -> None:
    """Our link of the chain never ran: its DEL leaves the other plugin's interface alone."""
    reference = REFERENCE / "bridge"
    side.call("ADD", {**BRIDGE, "type": "bridge"}, executable=reference).ok()
    side.delete({"cniVersion": "1.0.0", "name": "net"}).ok()
    assert "eth0" in side.node.links("/run/netns/c1")
    assert "10.66.0.2" in side.leases("net")


def test_previous_result_of_another_interface(side: Side) -> None:
    """prevResult that does not list CNI_IFNAME is refused before anything."""
    previous = {"cniVersion": "1.0.0", "interfaces": [{"name": "net7", "sandbox": "/run/netns/c1"}]}
    refused = side.add({"cniVersion": "1.0.0", "name": "net", "prevResult": previous})
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert side.node.files("/run/cni-cnm/endpoints") == set()


def test_loopback_is_up_after_add(side: Side) -> None:
    """A runtime that has no loopback step of its own gets a pod whose 127.0.0.1 answers."""
    assert not side.node.ping("127.0.0.1", netns="/run/netns/c1", wait=1)
    side.add(BRIDGE).ok()
    assert side.node.ping("127.0.0.1", netns="/run/netns/c1", wait=1)
