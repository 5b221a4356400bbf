"""A network's subnets: no second owner, no special addresses, and what an edit of the configuration does."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest

from tests.side import Side

FOUR, SIX = "10.60.0.0/24", "fd00:60::/64"


def net(*subnets: str, name: str = "web", **keys: Any) -> dict[str, Any]:
    ranges = [[{"subnet": subnet}] for subnet in subnets]
    return {"cniVersion": "1.1.0", "name": name, "ipam": {"type": "host-local", "ranges": ranges}, **keys}


def reference(*subnets: str, name: str = "web", **keys: Any) -> dict[str, Any]:
    return net(*subnets, name=name, **{"bridge": "cni0", "isDefaultGateway": True, **keys})


def refused(side: Side, config: dict[str, Any], code: int, *words: str) -> None:
    """ADD and STATUS both refuse with these words, and nothing is made."""
    before = side.node.links()
    answer = side.add(config, "c2")
    assert answer.code == 1, answer.json
    assert answer.json["code"] == code, answer.json
    for word in words:
        assert word in answer.json["msg"], answer.json
    status = side.call("STATUS", config)
    assert (status.code, status.json["code"]) == (1, 50), status
    assert words[0] in status.json["msg"]
    side.delete(config, "c2").ok()
    assert side.node.links() == before
    listed = json.loads(side.node.run(str(side.executable), "network", "ls", "--json").ok().out)
    assert config["name"] not in [network["name"] for network in listed]


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [(FOUR, FOUR), (SIX, SIX), ("10.60.0.0/16", FOUR), (FOUR, "10.60.0.0/16")],
    ids=["same", "same IPv6", "wider", "narrower"],
)
@pytest.mark.quick("same IPv6", "narrower")
def test_a_subnet_of_another_network(side: Side, mine: str, theirs: str) -> None:
    """Refused with the names of both networks; `allowOverlap` makes it a warning."""
    side.add(net(theirs, name="first")).ok()
    config = net(mine, name="second", bridge="cni5", isGateway=True)
    refused(side, config, 104, "second", "first", mine)
    answer = side.add({**config, "allowOverlap": True}, "c2").ok()
    assert "first" in answer.err
    side.delete({**config, "allowOverlap": True}, "c2").ok()


@pytest.mark.parametrize(
    ("subnet", "address"), [(FOUR, "10.60.0.9/24"), (FOUR, "10.60.0.9/32"), (SIX, "fd00:60::9/64")]
)
@pytest.mark.quick("10.60.0.0/24-10.60.0.9/32", "fd00:60::/64-fd00:60::9/64")
def test_an_address_of_the_host(side: Side, subnet: str, address: str) -> None:
    """The subnet of another link of the host is refused with the link's name."""
    side.node.run("ip", "link", "add", "other0", "type", "bridge").ok()
    side.node.run("ip", "address", "add", address, "dev", "other0", "nodad").ok()
    side.node.run("ip", "link", "set", "other0", "up").ok()
    refused(side, net(subnet), 104, subnet, "web", "other0", address)


@pytest.mark.parametrize("destination", [FOUR, "10.60.0.128/25", "10.60.0.7/32"])
@pytest.mark.quick("10.60.0.128/25")
def test_a_route_of_the_host(side: Side, destination: str) -> None:
    """A route as specific as the subnet, or more, is a claim."""
    side.node.run("ip", "link", "add", "other0", "up", "type", "bridge").ok()
    side.node.run("ip", "address", "add", "192.0.2.1/24", "dev", "other0").ok()
    side.node.run("ip", "route", "add", destination, "via", "192.0.2.2").ok()
    refused(side, net(FOUR), 104, FOUR, destination, "other0")


def test_what_claims_nothing(side: Side) -> None:
    """Wider routes give way, and a route that leads nowhere is no owner."""
    side.node.run("ip", "link", "add", "other0", "up", "type", "bridge").ok()
    side.node.run("ip", "address", "add", "192.0.2.1/24", "dev", "other0").ok()
    for destination in ("default", "0.0.0.0/1", "10.0.0.0/8", "10.60.0.0/23"):
        side.node.run("ip", "route", "add", destination, "via", "192.0.2.2").ok()
    side.node.run("ip", "route", "add", "blackhole", FOUR, "metric", "900").ok()
    side.add(net(FOUR)).ok()


def test_link_local_addresses_are_each_links_own(side: Side) -> None:
    """RFC 4007: every link of the host has the subnet fe80::/64, and a network may have it, too."""
    side.node.run("ip", "link", "add", "other0", "up", "type", "bridge").ok()
    for container, address in (("c1", "fe80::2/64"), ("c2", "fe80::3/64")):
        ips = side.add(net(FOUR, "fe80::/64"), container).ok().json["ips"]
        assert (ips[1]["address"], ips[1]["gateway"]) == (address, "fe80::1")
    assert side.node.ping("fe80::2%eth0", netns="/run/netns/c2")


@pytest.mark.parametrize("destinations", [("0.0.0.0/1", "128.0.0.0/1"), ("172.16.0.0/12", "192.168.0.0/15")])
def test_pools_beside_wide_routes(side: Side, destinations: tuple[str, ...]) -> None:
    """A VPN that takes everything, or a company's private ranges, leave subnets to choose."""
    side.node.run("ip", "link", "add", "other0", "up", "type", "bridge").ok()
    side.node.run("ip", "address", "add", "192.0.2.1/24", "dev", "other0").ok()
    for destination in destinations:
        side.node.run("ip", "route", "add", destination, "via", "192.0.2.2").ok()
    answer = side.add({"cniVersion": "1.1.0", "name": "chosen"}).ok()
    assert answer.json["ips"][0]["address"].startswith("172.18.")


@pytest.mark.parametrize(
    ("block", "key"),
    [
        ({"subnet": "0.0.0.0/0"}, "ipam.subnet"),
        ({"subnet": "127.1.0.0/24"}, "ipam.subnet"),
        ({"subnet": "224.1.0.0/24"}, "ipam.subnet"),
        ({"ranges": [[{"subnet": "ff00:1::/64"}]]}, "ipam.ranges[0][0].subnet"),
        ({"subnet": FOUR, "gateway": "10.60.0.0"}, "ipam.gateway"),
        ({"subnet": FOUR, "gateway": "10.60.0.255"}, "ipam.gateway"),
        ({"subnet": FOUR, "gateway": "fd00::1"}, "ipam.gateway"),
        ({"subnet": FOUR, "gateway": "10.61.0.1"}, "ipam.gateway"),
        ({"ranges": [[{"subnet": FOUR}], [{"subnet": SIX, "gateway": "fd00:61::1"}]]}, "ipam.ranges[1][0].gateway"),
    ],
)
@pytest.mark.quick(
    "block1-ipam.subnet", "block3-ipam.ranges[0][0].subnet", "block5-ipam.gateway", "block7-ipam.gateway"
)
def test_special_addresses(side: Side, block: dict[str, Any], key: str) -> None:
    """Code 7, with the key."""
    answer = side.add({"cniVersion": "1.1.0", "name": "web", "ipam": {"type": "host-local", **block}})
    assert (answer.code, answer.json["code"]) == (1, 7)
    assert key in answer.json["msg"]


def test_a_gateway_outside_in_the_reference_profile(side: Side) -> None:
    """As the reference has it."""
    config = {**reference(), "isDefaultGateway": False}
    config["ipam"] = {"type": "host-local", "subnet": FOUR, "gateway": "10.61.0.1"}
    side.add(config).ok()


def test_two_lists_on_one_bridge(side: Side) -> None:
    """In the reference profile two lists may share bridge and subnet, as with the reference: a warning says it."""
    side.add(reference(FOUR, name="one")).ok()
    two = reference(FOUR, name="two")
    two["ipam"]["ranges"] = [[{"subnet": FOUR, "rangeStart": "10.60.0.100"}]]
    answer = side.add(two, "c2").ok()
    assert "the network one" in answer.err
    side.delete(two, "c2").ok()


def test_a_network_that_exists_goes_on(side: Side) -> None:
    """What comes up later is a warning of STATUS and CHECK, and no ADD fails of it."""
    config = net(FOUR)
    side.add(config).ok()
    side.node.run("ip", "link", "add", "vpn0", "type", "bridge").ok()
    side.node.run("ip", "address", "add", "10.60.0.77/24", "dev", "vpn0").ok()
    made = side.add(config, "c2").ok().json
    for answer in (side.call("STATUS", config), side.check(config, made, "c2")):
        assert "vpn0, which has the address 10.60.0.77/24" in answer.ok().err
    assert "vpn0" not in side.check({**config, "allowOverlap": True}, made, "c2").ok().err


@pytest.mark.parametrize("profile", [net, reference])
@pytest.mark.parametrize(
    ("narrow", "wide", "gateway"),
    [(FOUR, "10.60.0.0/16", "10.60.0.1/16"), (SIX, "fd00:60::/56", "fd00:60::1/56")],
    ids=["IPv4", "IPv6"],
)
@pytest.mark.quick("IPv4-net", "IPv6-reference")
def test_widening_under_containers(side: Side, profile: Any, narrow: str, wide: str, gateway: str) -> None:
    """The next ADD gives the bridge its new prefix; old and new containers reach each other, and CHECK passes."""
    before, after = profile(narrow), profile(wide)
    first = side.add(before).ok().json
    second = side.add(after, "c2").ok().json
    bridge = first["interfaces"][0]["name"]
    assert gateway in side.node.addresses(bridge)
    assert gateway.rpartition("/")[0] + "/" + narrow.rpartition("/")[2] not in side.node.addresses(bridge)
    addresses = [result["ips"][0]["address"].partition("/")[0] for result in (first, second)]
    assert second["ips"][0]["address"].endswith("/" + wide.rpartition("/")[2])
    assert side.node.ping(addresses[1], netns="/run/netns/c1")
    assert side.node.ping(addresses[0], netns="/run/netns/c2")
    for container, result in (("c1", first), ("c2", second)):
        side.check(after, result, container).ok()
        side.delete(after, container).ok()


@pytest.mark.parametrize(
    ("narrow", "wide", "destination"),
    [("10.60.1.0/24", "10.60.0.0/16", "192.0.2.1"), ("fd00:60:0:1::/64", "fd00:60::/56", "2001:db8::1")],
    ids=["IPv4", "IPv6"],
)
def test_a_gateway_in_use_stays(side: Side, narrow: str, wide: str, destination: str) -> None:
    """The first address of the wider subnet is another one. Containers that run still reach the host by the old one.

    Twice: a later edit, of the gateway alone, is not refused because of addresses that were kept.
    """
    side.node.run("ip", "address", "add", destination, "dev", "lo").ok()
    side.container("c3")
    side.add(net(narrow)).ok()
    side.add(net(wide), "c2").ok()
    chosen = net(wide)
    chosen["ipam"]["ranges"][0][0]["gateway"] = f"{ip_network(narrow)[9]}"
    side.add(chosen, "c3").ok()
    for container in ("c1", "c2", "c3"):
        assert side.node.ping(destination, netns=f"/run/netns/{container}"), container
    side.node.run(str(side.executable), "repair").ok()
    for container in ("c1", "c2", "c3"):
        side.delete(chosen, container).ok()


@pytest.mark.parametrize("keys", [{}, {"bridge": "cni0", "isGateway": True, "forceAddress": True}])
def test_every_gateway_is_on_a_bridge_that_is_made_again(side: Side, keys: dict[str, Any]) -> None:
    """Of all ranges, whichever of them the first ADD after a reboot takes an address of."""
    config = net(**keys)
    config["ipam"]["ranges"] = [[{"subnet": "10.60.0.0/30"}, {"subnet": "10.61.0.0/30"}]]
    first = side.add(config).ok().json
    bridge = first["interfaces"][0]["name"]
    before = side.node.addresses(bridge)
    side.delete(config).ok()
    side.node.run("ip", "link", "delete", bridge).ok()
    side.add(config).ok()
    assert side.node.addresses(bridge) == before
    side.node.run("ip", "address", "delete", "10.60.0.1/30", "dev", bridge).ok()
    side.add(config, "c2").ok()
    side.node.run(str(side.executable), "repair").ok()
    assert {"10.60.0.1/30", "10.61.0.1/30"} <= set(side.node.addresses(bridge))
    for container in ("c1", "c2"):
        side.delete(config, container).ok()


def test_a_widening_that_fails_changes_nothing(side: Side) -> None:
    """Into another network's subnet: refused; the old configuration works on, with the old gateway on the bridge."""
    side.add(net("10.60.7.0/24", name="neighbour")).ok()
    first = side.add(net(FOUR), "c2").ok().json
    bridge = first["interfaces"][0]["name"]
    before = side.node.addresses(bridge)
    side.container("c3")
    answer = side.add(net("10.60.0.0/16"), "c3")
    assert (answer.code, answer.json["code"]) == (1, 104)
    assert side.node.addresses(bridge) == before
    side.add(net(FOUR), "c3").ok()
    side.check(net(FOUR), first, "c2").ok()


def test_an_add_that_fails_takes_its_edit_back(side: Side) -> None:
    """The subnet was widened for an ADD that then fails: the bridge and the record are as they were."""
    first = side.add(net(FOUR)).ok().json
    bridge = first["interfaces"][0]["name"]
    before = side.node.addresses(bridge)
    wide = {**net("10.60.0.0/16"), "runtimeConfig": {"ips": ["10.60.0.2"]}}
    answer = side.add(wide, "c2")
    assert answer.code == 1, "10.60.0.2 is leased"
    assert side.node.addresses(bridge) == before
    listed = json.loads(side.node.run(str(side.executable), "network", "ls", "--json").ok().out)
    assert listed[0]["subnets"] == [FOUR]


def test_narrowing_under_containers_is_refused_by_what_stands_outside(side: Side) -> None:
    """A subnet that no longer holds a container's address would take away its gateway."""
    wide = net("10.60.0.0/16")
    side.add({**wide, "runtimeConfig": {"ips": ["10.60.9.9"]}}).ok()
    answer = side.add(net(FOUR), "c2")
    assert (answer.code, answer.json["code"]) == (1, 7)
    assert "10.60.9.9" in answer.json["msg"]
    side.add(wide, "c2").ok()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (reference(FOUR), reference("10.61.0.0/24")),
        (reference(FOUR), reference(FOUR, bridge="cni1")),
        (reference(FOUR), reference(FOUR, mtu=1400)),
        (reference(FOUR, SIX), reference("10.61.0.0/24", "fd00:61::/64", bridge="cni1")),
        (net(FOUR), net("10.61.0.0/24")),
        (net(FOUR), net(FOUR, internal=True)),
        (reference(FOUR), net(FOUR)),
        (net(FOUR), reference(FOUR, hairpinMode=True)),
    ],
    ids=["subnet", "bridge", "mtu", "all", "CNM subnet", "internal", "to CNM", "to reference"],
)
@pytest.mark.quick("all", "to CNM")
def test_an_edit_without_containers(side: Side, before: dict[str, Any], after: dict[str, Any]) -> None:
    """The next ADD makes the network as it is configured now, and leaves nothing of the old one."""
    side.add(before).ok()
    side.delete(before).ok()
    edited = side.add(after).ok().json
    gateway = edited["ips"][0]["gateway"]
    assert side.node.ping(gateway, netns="/run/netns/c1")
    side.check(after, edited).ok()
    fresh = Fresh(side, after)
    assert {name for name in side.node.links() if not name.startswith("veth")} == fresh.links
    assert side.node.addresses(edited["interfaces"][0]["name"]) == fresh.addresses
    assert edited["interfaces"][0].get("mtu") == fresh.mtu
    side.delete(after).ok()
    side.node.run(str(side.executable), "network", "rm", after["name"]).ok()
    assert side.node.links() == {"lo"}


class Fresh:
    """What a network is like that was made as configured, on the same host after all else was removed."""

    def __init__(self, side: Side, config: dict[str, Any]) -> None:
        side.delete(config).ok()
        side.node.run(str(side.executable), "network", "rm", config["name"]).ok()
        result = side.add(config).ok().json
        self.links = {name for name in side.node.links() if not name.startswith("veth")}
        self.addresses = side.node.addresses(result["interfaces"][0]["name"])
        self.mtu = result["interfaces"][0].get("mtu")


@pytest.mark.parametrize("verb", ["ADD", "create"])
def test_a_network_that_cannot_be_made(side: Side, verb: str) -> None:
    """The bridge takes no IPv6 gateway with an MTU below 1280: the bridge goes again, and the next try owns its own."""
    config = net(FOUR, SIX, options={"com.docker.network.driver.mtu": "1279"})
    create = ["network", "create", "web", "--subnet", FOUR, "--subnet", SIX, "-o", "com.docker.network.driver.mtu=1279"]
    if verb == "ADD":
        assert side.add(config).code == 1
    else:
        assert side.node.run(str(side.executable), *create).code == 1
    assert side.node.links() == {"lo"}
    good = net(FOUR, SIX)
    side.add(good).ok()
    side.delete(good).ok()
    side.node.run(str(side.executable), "network", "rm", "web").ok()
    assert side.node.links() == {"lo"}


@pytest.mark.parametrize("removed", ["folder", "lease"])
@pytest.mark.quick("folder")
def test_an_address_on_record_is_not_given_again(side: Side, removed: str) -> None:
    """A lease that was deleted under a running container is written again by the next ADD."""
    config = net("10.60.0.0/29")
    first = side.add(config).ok().json["ips"][0]["address"].partition("/")[0]
    folder = side.node.path("/var/lib/cni/networks/web")
    if removed == "folder":
        side.node.run("rm", "-r", "/var/lib/cni/networks/web").ok()
    else:
        (folder / first).unlink()
        (folder / "last_reserved_ip.0").write_text("10.60.0.6")  # the next allocation begins with the first address
    second = side.add(config, "c2").ok().json["ips"][0]["address"].partition("/")[0]
    assert second != first
    assert side.leases("web")[first].startswith("c1")
    for container in ("c1", "c2"):
        side.delete(config, container).ok()
    assert [name for name in side.leases("web") if name[0].isdigit()] == []


@pytest.mark.parametrize("profile", [net, reference])
@pytest.mark.quick("net")
def test_a_bridge_that_was_deleted_under_containers(side: Side, profile: Any) -> None:
    """The next ADD makes it again, with its gateway, and attaches the containers that run."""
    config = profile(FOUR, SIX)
    first = side.add(config).ok().json
    bridge = first["interfaces"][0]["name"]
    before = side.node.addresses(bridge)
    side.node.run("ip", "link", "delete", bridge).ok()
    second = side.add(config, "c2").ok().json
    assert side.node.addresses(bridge) == before
    for family in (0, 1):
        address = second["ips"][family]["address"].partition("/")[0]
        assert side.node.ping(address, netns="/run/netns/c1")
    side.check(config, first).ok()
    for container in ("c1", "c2"):
        side.delete(config, container).ok()


def test_an_edit_with_an_executable_as_ipam(side: Side) -> None:
    """Its addresses are not in the record. The driver of a network without containers may change all the same."""
    plugin = side.node.path("/opt/ipam")
    plugin.mkdir(parents=True)
    answer = {"cniVersion": "1.0.0", "ips": [{"address": "10.60.0.9/24", "gateway": "10.60.0.1"}]}
    script = plugin / "remote-pool"
    script.write_text(f"#!/bin/sh\ncat >/dev/null\n[ $CNI_COMMAND = ADD ] && echo '{json.dumps(answer)}'; exit 0\n")
    script.chmod(0o755)
    before = {"cniVersion": "1.0.0", "name": "web", "bridge": "cni0", "ipam": {"type": "remote-pool"}}
    path = {"CNI_PATH": f"{side.path}:/opt/ipam"}
    side.add(before, env=path).ok()
    side.delete(before, env=path).ok()
    after = {**before, "bridge": "cni1", "isGateway": True}
    side.add(after, env=path).ok()
    assert "10.60.0.1/24" in side.node.addresses("cni1")
    side.delete(after, env=path).ok()
