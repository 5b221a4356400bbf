"""Routes a configuration lists, in a container where something of the kind is already."""

from __future__ import annotations

from typing import Any

import pytest

from tests.side import REFERENCE, Side
from tests.surroundings.configs import GATEWAYS, SUBNETS, network

DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}
ELSEWHERE = {4: "10.9.0.0/16", 6: "fd09::/48"}
SECOND = {4: "10.90.0.9", 6: "fd00:90::9"}
OTHERS = {4: ("10.200.0.2/24", "10.200.0.1"), 6: ("fd00:200::2/64", "fd00:200::1")}
"""Another plugin's address and gateway."""


def config(version: int, *routes: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return network("net", SUBNETS[version], routes=list(routes), **keys)


def routes(side: Side, version: int, dst: str = "", container: str = "c1") -> list[dict[str, Any]]:
    """The container's, those by several gateways with `nexthops`."""
    return side.node.ip(f"-{version}", "route", "show", *([dst] if dst else []), netns=f"/run/netns/{container}")


def way(side: Side, version: int, to: str, container: str = "c1") -> str:
    """The gateway, or else the link, by which an address is reached."""
    (found,) = side.node.ip(f"-{version}", "route", "get", to, netns=f"/run/netns/{container}")
    return str(found.get("gateway") or found["dev"])


def gateways(listed: list[dict[str, Any]]) -> set[str]:
    hops = [hop for route in listed for hop in route.get("nexthops", [route])]
    return {hop["gateway"] for hop in hops if "gateway" in hop}


def other_plugin(side: Side, version: int, *, default: bool = True, metric: str = "") -> None:
    """Its interface `other0` in the container, and its default route."""
    address, gateway = OTHERS[version]
    inside = "/run/netns/c1"
    for argv in (
        "link add other0 type veth peer name other1",
        f"addr add {address} dev other0{' nodad' if version == 6 else ''}",
        "link set other0 up",
        "link set other1 up",
        *([f"route add default via {gateway}{f' metric {metric}' if metric else ''}"] if default else []),
    ):
        side.node.run("ip", *argv.split(), netns=inside).ok()


def added_and_gone(side: Side, conf: dict[str, Any], ifname: str = "eth0") -> None:
    result = side.add(conf, ifname=ifname).ok().json
    side.check(conf, result, ifname=ifname).ok()
    side.delete(conf, ifname=ifname).ok()
    assert ifname not in side.node.links("/run/netns/c1")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.quick("6")
def test_the_own_subnet(side: Side, version: int) -> None:
    """The kernel has it by the address; neighbours are reached on the link."""
    side.container("c1")
    conf = config(version, {"dst": SUBNETS[version]}, {"dst": DEFAULT[version]})
    side.add(conf).ok()
    assert way(side, version, SECOND[version]) == "eth0"
    assert way(side, version, "192.0.2.1" if version == 4 else "2001:db8::1") == GATEWAYS[version]
    side.delete(conf).ok()
    added_and_gone(side, conf)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.quick("6")
def test_equal_routes_are_one(side: Side, version: int) -> None:
    """Given twice in the same words, or once with the gateway that the other implies."""
    side.container("c1")
    twice = {"dst": ELSEWHERE[version]}
    for second in (twice, {**twice, "gw": GATEWAYS[version]}):
        conf = config(version, twice, second)
        side.add(conf).ok()
        assert len(routes(side, version, ELSEWHERE[version])) == 1
        side.delete(conf).ok()
        added_and_gone(side, conf)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.quick("4")
def test_two_gateways_are_two_next_hops(side: Side, version: int) -> None:
    """One destination by two gateways: the kernel shares the load between them, and both are in the result."""
    side.container("c1")
    given = [{"dst": ELSEWHERE[version], "gw": gateway} for gateway in (GATEWAYS[version], SECOND[version])]
    conf = config(version, *given)
    result = side.add(conf).ok().json
    found = routes(side, version, ELSEWHERE[version])
    assert gateways(found) == {GATEWAYS[version], SECOND[version]}
    assert all("nexthops" in route for route in found)
    assert [route for route in result["routes"] if route["dst"] == ELSEWHERE[version]] == given
    side.check(conf, result).ok()
    side.node.run("ip", f"-{version}", "route", "del", ELSEWHERE[version], netns="/run/netns/c1").ok()
    assert ELSEWHERE[version] in side.check(conf, result).json["msg"]
    side.delete(conf).ok()
    added_and_gone(side, conf)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.quick("4")
def test_two_default_gateways(side: Side, version: int) -> None:
    """They are next hops as well; the default moves whole to the next network when this one leaves."""
    side.container("c1")
    conf = config(version, *({"dst": DEFAULT[version], "gw": gw} for gw in (GATEWAYS[version], SECOND[version])))
    subnet = {4: "10.91.0.0/24", 6: "fd00:91::/64"}[version]
    later = network("later", subnet, routes=[{"dst": DEFAULT[version]}])
    result = side.add(conf).ok().json
    assert gateways(routes(side, version, "default")) == {GATEWAYS[version], SECOND[version]}
    side.check(conf, result).ok()
    second = side.add(later, ifname="eth1").ok().json
    assert DEFAULT[version] not in [route["dst"] for route in second.get("routes", [])]
    side.delete(conf).ok()
    assert gateways(routes(side, version, "default")) == {later["ipam"]["ranges"][0][0]["subnet"].replace("0/24", "1")
                                                          if version == 4 else "fd00:91::1"}  # fmt: skip
    side.delete(later, ifname="eth1").ok()


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.quick("6")
def test_a_destination_that_another_plugin_has(side: Side, version: int) -> None:
    """Theirs stays in use; ours is there beside it, and gone with its interface."""
    side.container("c1")
    other_plugin(side, version, default=False)
    side.node.run(
        "ip", f"-{version}", "route", "add", ELSEWHERE[version], "via", OTHERS[version][1], netns="/run/netns/c1"
    ).ok()
    target = {4: "10.9.9.9", 6: "fd09::9"}[version]
    conf = config(version, {"dst": ELSEWHERE[version]})
    result = side.add(conf).ok().json
    assert way(side, version, target) == OTHERS[version][1]
    side.check(conf, result).ok()
    side.delete(conf).ok()
    assert way(side, version, target) == OTHERS[version][1]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("metric", "key"),
    [("", "routes"), ("500", "isDefaultGateway"), pytest.param("500", "routes", marks=pytest.mark.long)],
)
@pytest.mark.quick("500-isDefaultGateway-6", "-routes-4")
def test_another_plugins_default_route_stays(side: Side, version: int, metric: str, key: str) -> None:
    """Whatever its metric; ours is not added, the result does not list it, and DEL takes nothing away."""
    side.container("c1")
    other_plugin(side, version, metric=metric)
    far = {4: "192.0.2.1", 6: "2001:db8::1"}[version]
    asked = [{"dst": DEFAULT[version]}] if key == "routes" else []
    conf = config(version, *asked, isDefaultGateway=key == "isDefaultGateway")
    result = side.add(conf, ifname="net1").ok().json
    assert way(side, version, far) == OTHERS[version][1]
    assert DEFAULT[version] not in [route["dst"] for route in result.get("routes", [])]
    side.check(conf, result, ifname="net1").ok()
    side.delete(conf, ifname="net1").ok()
    assert way(side, version, far) == OTHERS[version][1]


def test_a_default_route_of_another_family_is_no_reason(side: Side) -> None:
    """Another plugin has IPv4's: ours is IPv6's."""
    side.container("c1")
    other_plugin(side, 4)
    conf = network(isDefaultGateway=True)
    result = side.add(conf, ifname="net1").ok().json
    assert [route["dst"] for route in result["routes"]] == ["::/0"]
    assert way(side, 6, "2001:db8::1") == GATEWAYS[6]


def test_the_reference_adds_them_too(side: Side) -> None:
    """The reference bridge takes own subnet and second gateway: a configuration that worked there works here."""
    if not (REFERENCE / "bridge").exists():
        pytest.skip("needs the reference plugins")
    for number, given in enumerate((
        [{"dst": SUBNETS[4]}],
        [{"dst": ELSEWHERE[4], "gw": GATEWAYS[4]}, {"dst": ELSEWHERE[4], "gw": SECOND[4]}],
    )):  # fmt: skip
        side.container(f"r{number}")
        conf = {**config(4, *given), "type": "bridge"}
        side.add(conf, f"r{number}", executable=REFERENCE / "bridge").ok()
