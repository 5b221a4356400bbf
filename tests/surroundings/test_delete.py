"""DEL removes what it can show to be ours, and finishes whatever it finds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.program import program
from tests.side import REFERENCE, Side
from tests.surroundings.configs import network

NOTHING_LEFT = ("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes")


def foreign_interface(side: Side, name: str = "eth0", *, container: str = "c1", address: str = "10.200.0.2/32") -> None:
    side.node.run("ip", "link", "add", "cali0", "type", "veth", "peer", "name", name, "netns", container).ok()
    side.node.run("ip", "addr", "add", address, "dev", name, netns=f"/run/netns/{container}").ok()
    side.node.run("ip", "link", "set", name, "up", netns=f"/run/netns/{container}").ok()


@pytest.mark.parametrize("ipam", [True, False])
def test_another_plugins_interface_stays_after_a_refused_add(side: Side, ipam: bool) -> None:
    """Every runtime sends a DEL behind an ADD that failed."""
    side.container("c1")
    foreign_interface(side)
    config = network() if ipam else {**network(), "ipam": {}}
    refused = side.add(config)
    assert (refused.code, refused.json["code"]) == (1, 104)
    side.delete(config).ok()
    assert "eth0" in side.node.links("/run/netns/c1")


def test_another_containers_interface_stays(side: Side) -> None:
    """A DEL without a record, whose path leads to a container of another id."""
    side.container("c1")
    result = side.add(network()).ok().json
    side.delete(network(), "c9", netns="/run/netns/c1").ok()
    assert "eth0" in side.node.links("/run/netns/c1")
    side.check(network(), result).ok()


def test_an_interface_with_the_leased_address_goes(side: Side) -> None:
    """The record is lost, the lease names container and interface, and the link has the address: it is ours."""
    side.container("c1")
    side.add(network()).ok()
    side.node.run("sh", "-c", "rm -r /run/cni-cnm/endpoints /run/cni-cnm/sandboxes /run/cni-cnm/leases").ok()
    side.delete(network()).ok()
    assert side.node.links("/run/netns/c1") == {"lo"}
    assert not [name for name in side.leases("net") if name.startswith(("10.", "fd"))]


def test_an_interface_with_our_mac_goes(side: Side) -> None:
    """The record is lost, and there never was a lease."""
    config = network(ipam={})
    side.container("c1")
    side.add(config).ok()
    side.node.run("sh", "-c", "rm -r /run/cni-cnm/endpoints /run/cni-cnm/sandboxes").ok()
    side.delete({**config, "ipam": {"type": "host-local", "subnet": "10.90.0.0/24"}}).ok()
    assert side.node.links("/run/netns/c1") == {"lo"}


def test_a_container_of_the_reference_plugins_is_cleaned(side: Side) -> None:
    """Its lease names it, and its interface has the address."""
    if not (REFERENCE / "bridge").exists():
        pytest.skip("needs the reference plugins")
    side.container("c1")
    side.add({**network(), "type": "bridge"}, executable=REFERENCE / "bridge").ok()
    side.delete(network()).ok()
    assert side.node.links("/run/netns/c1") == {"lo"}


def test_a_path_that_leads_to_the_host(side: Side) -> None:
    """A recycled process id: what is on record is taken down, and the host's own interfaces stay."""
    side.container("c1")
    side.add(network()).ok()
    side.node.run("ip", "netns", "del", "c1").ok()
    side.node.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0").ok()
    before = side.node.links()
    side.delete(network(), netns="/proc/1/ns/net").ok()
    assert not side.node.files(*NOTHING_LEFT)
    assert not [name for name in side.leases("net") if name.startswith(("10.", "fd"))]
    assert side.node.links() >= {"eth0", "far0", "lo", "br-net"}
    assert before - side.node.links() <= {name for name in before if name.startswith("veth")}
    side.delete(network(), netns="/proc/1/ns/net").ok()
    assert {"eth0", "lo"} <= side.node.links()


def test_loopback_leaves_the_hosts_lo_up(side: Side, tmp_path: Any) -> None:
    """DEL with a path that leads to the host is success."""
    config = {"cniVersion": "0.4.0", "name": "lo", "type": "loopback"}
    loopback = program(tmp_path, "loopback")
    side.call("DEL", config, netns="/proc/1/ns/net", ifname="lo", executable=loopback).ok()
    assert "UP" in side.node.ip("link", "show", "dev", "lo")[0]["flags"]
    refused = side.call("ADD", config, netns="/proc/1/ns/net", ifname="lo", executable=loopback)
    assert (refused.code, refused.json["code"]) == (1, 8)


WRONG: dict[str, dict[str, Any]] = {
    "unknown ipam": {"ipam": {"type": "nowhere"}},
    "no ipam object": {"ipam": "host-local"},
    "no subnet": {"ipam": {"type": "host-local", "subnet": "10.90.0.0/99"}},
    "no range": {"ipam": {"type": "host-local", "ranges": [{"subnet": "10.90.0.0/24"}, 7]}},
    "static without prefix": {"ipam": {"type": "static", "addresses": [{"address": "10.1.1.1"}]}},
    "unreadable resolv.conf": {"ipam": {"type": "host-local", "subnet": "10.90.0.0/24", "resolvConf": "/nowhere"}},
    "unknown driver": {"driver": "nowhere"},
    "no driver's name": {"driver": 7},
    "vlan": {"vlan": 9999},
    "bridge": {"bridge": "a-name-that-is-too-long"},
    "owner": {"owner": "?"},
    "profile": {"profile": "neither"},
    "mtu": {"mtu": "big"},
    "portMappings": {"runtimeConfig": {"portMappings": {"hostPort": 1}}},
    "ips": {"runtimeConfig": {"ips": ["nowhere"]}},
    "data folder": {"ipam": {"type": "host-local", "subnet": "10.90.0.0/24", "dataDir": "relative"}},
}


def test_a_configuration_that_was_wrong_at_add(side: Side) -> None:
    """ADD refuses it; DEL has nothing to do, and says so by success."""
    side.container("c1")
    for name, keys in WRONG.items():
        wrong = {**network(), **keys}
        assert side.add(wrong).code == 1, name
        assert side.delete(wrong).code == 0, name


@pytest.mark.parametrize("name", ["unknown ipam", "no driver's name", "vlan"])
@pytest.mark.quick("unknown ipam")
def test_a_configuration_that_is_wrong_since_an_edit(side: Side, name: str) -> None:
    """The endpoint that was made before is removed by its record."""
    side.container("c1")
    side.add(network()).ok()
    side.delete({**network(), **WRONG[name]}).ok()
    assert side.node.links("/run/netns/c1") == {"lo"}
    assert not side.node.files(*NOTHING_LEFT)


@pytest.mark.parametrize("args", ["MAC", "IP=nowhere", "MAC=1"])
@pytest.mark.quick("IP=nowhere")
def test_arguments_that_were_wrong_at_add(side: Side, args: str) -> None:
    """CNI_ARGS is a request of ADD."""
    side.container("c1")
    assert side.add(network(), args=args).json["code"] == 4
    side.delete(network(), args=args).ok()


def test_whose_interface_is_in_the_way_of_an_add(side: Side) -> None:
    """One of another network of ours is not called another plugin's, and neither is one whose record was lost."""
    side.container("c1")
    side.add(network()).ok()
    second = network() | {"name": "second", "ipam": {"type": "host-local", "subnet": "10.201.0.0/24"}}
    assert f"on the network {network()['name']}" in side.add(second).json["msg"]
    side.node.run("sh", "-c", "rm /run/cni-cnm/endpoints/*").ok()
    lost = side.add(network()).json["msg"]
    assert "its record is missing" in lost
    assert "DEL" in lost
    side.delete(network()).ok()
    side.add(network()).ok()
