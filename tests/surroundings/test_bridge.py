"""A bridge that the kernel, or another program, changes under its containers."""

from __future__ import annotations

import pytest

from tests.side import Side
from tests.surroundings.configs import GATEWAYS, SUBNETS, cnm, interface, network


def link(side: Side, name: str) -> dict[str, object]:
    (found,) = side.node.ip("link", "show", "dev", name)
    return found


# MAC ------------------------------------------------------------------------


def foreign_bridge(side: Side, name: str = "br-net") -> None:
    side.node.run("ip", "link", "add", name, "type", "bridge").ok()
    side.node.run("ip", "link", "set", name, "up").ok()


@pytest.mark.parametrize("gateway", [True, False])
@pytest.mark.quick("True")
def test_a_bridge_made_by_others_keeps_its_mac(side: Side, gateway: bool) -> None:
    """Containers come and go; the bridge's MAC stays, and each result says it."""
    foreign_bridge(side)
    config = network(isGateway=gateway)
    before = link(side, "br-net")["address"]
    for name in ("c1", "c2", "c3", "c4"):
        side.container(name)
        result = side.add(config, name).ok().json
        assert interface(result, "br-net")["mac"] == link(side, "br-net")["address"] == before
    for name in ("c1", "c3", "c2", "c4"):
        side.delete(config, name).ok()
        assert link(side, "br-net")["address"] == before


def test_a_bridge_made_again_by_others_keeps_its_new_mac(side: Side) -> None:
    """As after a reboot: the network is on record, the bridge is a new one without a MAC of its own."""
    config = network()
    foreign_bridge(side)
    side.container("c1")
    side.add(config).ok()
    side.delete(config).ok()
    side.node.run("ip", "link", "del", "br-net").ok()
    foreign_bridge(side)
    before = link(side, "br-net")["address"]
    for name in ("c1", "c2", "c3"):
        side.container(name) if name != "c1" else None
        result = side.add(config, name).ok().json
        assert interface(result, "br-net")["mac"] == link(side, "br-net")["address"] == before
    for name in ("c1", "c2", "c3"):
        side.delete(config, name).ok()
        assert link(side, "br-net")["address"] == before


@pytest.mark.parametrize("version", [pytest.param(4, marks=pytest.mark.long), 6])
def test_no_ping_to_the_gateway_is_lost_while_others_come_and_go(side: Side, version: int) -> None:
    """On a bridge made by others: a container's pings to its gateway are all answered beside ADDs and DELs."""
    import subprocess

    foreign_bridge(side)
    config = network()
    side.container("c1")
    side.add(config).ok()
    ping = side.node.command(
        "ping", "-n", "-q", "-c", "60", "-i", "0.05", "-W", "1", GATEWAYS[version], netns="/run/netns/c1"
    )
    running = subprocess.Popen(ping, stdout=subprocess.PIPE, text=True)
    others = [f"d{number}" for number in range(6)]
    for name in others:
        side.container(name)
        side.add(config, name).ok()
    for name in others:
        side.delete(config, name).ok()
    out, _ = running.communicate(timeout=60)
    assert " 0% packet loss" in out, out


# MTU ------------------------------------------------------------------------


@pytest.mark.parametrize("mtu", [1400, pytest.param(9000, marks=pytest.mark.long)])
def test_every_container_gets_the_uplinks_mtu(side: Side, mtu: int) -> None:
    """Also after the network was empty, when the kernel would put a bridge back to 1500."""
    for argv in (
        f"link add up0 mtu {mtu} type veth peer name far0 mtu {mtu}",
        "link set up0 up",
        "link set far0 up",
        "addr add 10.200.0.1/24 dev up0",
        "route add default via 10.200.0.2",
    ):
        side.node.run("ip", *argv.split()).ok()
    config = cnm()
    for name in ("c1", "c2"):
        side.container(name)
    for name in ("c1", "c1", "c2"):
        result = side.add(config, name).ok().json
        assert side.node.ip("link", "show", "dev", "eth0", netns=f"/run/netns/{name}")[0]["mtu"] == mtu
        side.delete(config, name).ok()
        assert link(side, result["interfaces"][0]["name"])["mtu"] == mtu


def test_a_configured_mtu_stays_on_an_empty_bridge(side: Side) -> None:
    """A host's packets to the next container are of its size."""
    config = network(mtu=1400)
    side.container("c1")
    side.add(config).ok()
    side.delete(config).ok()
    assert link(side, "br-net")["mtu"] == 1400


SMALL = {
    "bridge": network(mtu=1200),
    "cnm": cnm(mtu=1200),
    "tuning": network(tuning={"mtu": 1200}),
    "without gateway": network(mtu=1200, isGateway=False),
    "static": network(mtu=1200, ipam={"type": "static", "addresses": [{"address": "fd00:90::9/64"}]}),
}


@pytest.mark.parametrize("config", SMALL.values(), ids=SMALL.keys())
@pytest.mark.quick("bridge", "cnm")
def test_an_mtu_too_small_for_ipv6_is_refused(side: Side, config: dict[str, object]) -> None:
    """With a sentence that names both, before anything is made."""
    side.container("c1")
    refused = side.add(config)
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert "mtu" in refused.json["msg"].lower()
    assert "IPv6" in refused.json["msg"]
    assert side.node.links() == {"lo"}
    assert not side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm/networks")


@pytest.mark.parametrize("mtu", [1200, pytest.param(1300, marks=pytest.mark.long)])
@pytest.mark.parametrize("made_by_others", [False, True])
def test_a_small_mtu_takes_no_ipv6_from_another_network_on_the_bridge(
    side: Side, made_by_others: bool, mtu: int
) -> None:
    """An IPv4 network with a small MTU joins a bridge whose other network has IPv6."""
    if made_by_others:
        foreign_bridge(side, "brs")
    six, small = network("six", SUBNETS[6], bridge="brs"), network("small", "10.99.0.0/24", bridge="brs", mtu=mtu)
    for name in ("c1", "c2", "c3"):
        side.container(name)
    result = side.add(six).ok().json
    side.add(small, "c2").ok()
    assert side.node.ping(GATEWAYS[6], netns="/run/netns/c1")
    assert side.node.ping("10.99.0.1", netns="/run/netns/c2")
    side.check(six, result).ok()
    side.add(six, "c3").ok()
    side.delete(small, "c2").ok()
    assert side.node.ping(GATEWAYS[6], netns="/run/netns/c3")


# addresses, names -----------------------------------------------------------


def test_the_gateways_survive_the_bridge_going_down_and_up(side: Side) -> None:
    """Both families, and CHECK still finds all in place."""
    config = network(isDefaultGateway=True)
    side.container("c1")
    result = side.add(config).ok().json
    side.node.run("ip", "link", "set", "br-net", "down").ok()
    side.node.run("ip", "link", "set", "br-net", "up").ok()
    for gateway in GATEWAYS.values():
        assert side.node.ping(gateway, netns="/run/netns/c1", wait=5)
    side.check(config, result).ok()


@pytest.mark.parametrize("vlan", ["all", "default"])
@pytest.mark.quick("default")
def test_a_host_whose_new_links_have_no_ipv6(side: Side, vlan: str) -> None:
    """`default.disable_ipv6` (or all of them) is 1: the network that asks for IPv6 has it on its own links."""
    side.node.run("sysctl", "-qw", f"net.ipv6.conf.{vlan}.disable_ipv6=1").ok()
    config = network(isDefaultGateway=True)
    side.container("c1")
    result = side.add(config).ok().json
    assert side.node.ping(GATEWAYS[6], netns="/run/netns/c1")
    assert side.node.ping(GATEWAYS[4], netns="/run/netns/c1")
    side.check(config, result).ok()


def test_another_name_of_a_bridge_is_refused(side: Side) -> None:
    """A packet filter never sees an altname: rules by it would match nothing."""
    foreign_bridge(side, "br0")
    side.node.run("ip", "link", "property", "add", "dev", "br0", "altname", "prod0").ok()
    side.container("c1")
    for config in (network(bridge="prod0"), cnm(options={"com.docker.network.bridge.name": "prod0"})):
        refused = side.add(config)
        assert (refused.code, refused.json["code"]) == (1, 7)
        assert "br0" in refused.json["msg"]
        status = side.call("STATUS", {**config, "cniVersion": "1.1.0"})
        assert (status.code, status.json["code"]) == (1, 50)
    assert side.node.links() == {"lo", "br0"}


def test_another_name_given_later_is_refused(side: Side) -> None:
    """The network is on record; the bridge was made again under another name, with the old one as altname."""
    config = cnm(options={"com.docker.network.bridge.name": "prod0"})
    side.container("c1")
    side.add(config).ok()
    side.delete(config).ok()
    side.node.run("ip", "link", "set", "prod0", "down", "name", "br0").ok()
    side.node.run("ip", "link", "property", "add", "dev", "br0", "altname", "prod0").ok()
    refused = side.add(config)
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert "br0" in refused.json["msg"]


def test_a_parent_by_two_names_is_one_parent(side: Side) -> None:
    """Two macvlan networks that cannot share a link are refused also if one of them has its alternative name."""
    for argv in (
        "link add up0 type veth peer name far0",
        "link set up0 up",
        "link property add dev up0 altname lan0",
    ):
        side.node.run("ip", *argv.split()).ok()
    side.container("c1")
    alone = cnm("alone", "10.91.0.0/24", driver="macvlan", master="up0", mode="passthru")
    second = cnm("second", "10.92.0.0/24", driver="macvlan", master="lan0", mode="bridge")
    side.add(alone).ok()
    side.container("c2")
    refused = side.add(second, "c2")
    assert (refused.code, refused.json["code"]) == (1, 104)
    assert "up0" in refused.json["msg"]
    assert "alone" in refused.json["msg"]
    side.delete(alone).ok()
