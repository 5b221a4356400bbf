"""The same configurations through cni-cnm's ptp driver and the reference ptp: results, links, addresses and routes.

Where ours differs on purpose, the test says so and shows the reference's fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.differential.conftest import CALLED_AS, our_side
from tests.side import REFERENCE, Side, normal, require_reference

V4 = [[{"subnet": "10.77.0.0/24"}]]
V6 = [[{"subnet": "fd00:77::/64"}]]
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")


@pytest.fixture(params=CALLED_AS)
def ours(request: pytest.FixtureRequest, require_root: None, tmp_path: Path) -> Iterator[Side]:
    side = our_side(tmp_path, "ptp" if request.param == "names" else "")
    yield side
    side.close()


@pytest.fixture
def reference(require_root: None) -> Iterator[Side]:
    require_reference()
    side = Side(REFERENCE / "ptp", "ptp")
    yield side
    side.close()


@pytest.fixture
def sides(ours: Side, reference: Side) -> tuple[Side, Side]:
    return ours, reference


def ptp(version: str = "1.0.0", ipam: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """The reference is told the keys `driver` and `profile`, too, and ignores them."""
    ours = {"driver": "ptp", "profile": "reference"}
    return {
        "cniVersion": version,
        "name": "net",
        **ours,
        "ipam": {"type": "host-local", "ranges": V4, **(ipam or {})},
        **keys,
    }


def state(side: Side) -> dict[str, Any]:
    """Links have random names, which the host's routes show.

    Without what docs/decisions/0027 says is different: no duplicate address detection, and announced addresses.
    """
    found = side.state()
    found["host"]["routes"] = sorted(re.sub("veth[0-9a-f]+", "VETH", route) for route in found["host"]["routes"])
    for container in side.containers:
        for key in ("6/accept_dad", "arp_notify"):
            found[container]["sysctls"].pop(key, None)
    return found


def result(answer: Any) -> Any:
    """With the gateway of each route. Where the IPAM names none, ours names it and the reference does not."""
    found = normal(answer)
    for route in found.get("routes", ()):
        if "gw" not in route:
            family = ":" in route["dst"]
            route["gw"] = next(ip["gateway"] for ip in found["ips"] if (":" in ip["address"]) is family)
    return found


def both_add(sides: tuple[Side, Side], config: dict[str, Any], container: str = "c1", **more: Any) -> None:
    for side in sides:
        side.container(container)
    mine, theirs = (side.add(config, container, **more) for side in sides)
    assert (mine.code, result(mine.json)) == (theirs.code, result(theirs.json)), mine.err
    assert state(sides[0]) == state(sides[1])
    assert sides[0].leases("net") == sides[1].leases("net")


def both_delete(sides: tuple[Side, Side], config: dict[str, Any], container: str = "c1") -> None:
    mine, theirs = (side.delete(config, container) for side in sides)
    assert (mine.code, mine.json) == (theirs.code, theirs.json) == (0, None)
    assert state(sides[0]) == state(sides[1])
    assert sides[0].leases("net") == sides[1].leases("net")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ranges", [V4, V6, V4 + V6], ids=["v4", "v6", "dual"])
def test_versions_and_families(sides: tuple[Side, Side], version: str, ranges: Any) -> None:
    """The same result, links, addresses, routes of both sides and leases for every version."""
    config = ptp(version, {"ranges": ranges})
    both_add(sides, config)
    both_delete(sides, config)


KEYS: dict[str, dict[str, Any]] = {
    "mtu": {"mtu": 1400},
    "masquerade": {"ipMasq": True},
    "dns": {"dns": {"nameservers": ["10.1.1.1"], "domain": "d", "search": ["s"], "options": ["o"]}},
    "routes": {"ipam": {"routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.77.0.1"}]}},
    "dual default routes": {"ipam": {"ranges": V4 + V6, "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}},
    "gateway": {"ipam": {"ranges": [[{"subnet": "10.77.1.0/24", "gateway": "10.77.1.200"}]]}},
    "static": {
        "ipam": {
            "type": "static",
            "addresses": [
                {"address": "10.77.5.5/24", "gateway": "10.77.5.1"},
                {"address": "fd00:5::5/64", "gateway": "fd00:5::1"},
            ],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
    },
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS.keys())
def test_keys(sides: tuple[Side, Side], keys: dict[str, Any]) -> None:
    """Each key has the same effect on both sides of the pair."""
    config = ptp(**keys)
    both_add(sides, config)
    if config["ipam"]["type"] != "static":
        both_add(sides, config, "c2")
        both_delete(sides, config, "c2")
    both_delete(sides, config)


def test_source_addresses(sides: tuple[Side, Side]) -> None:
    """The routes to the gateway and to the subnet name the source, on both sides."""
    for side in sides:
        side.container("c1")
        side.add(ptp(ipam={"ranges": V4 + V6})).ok()
        shown = [
            (route["dst"], route.get("gateway"), route.get("prefsrc"), route.get("scope"))
            for family in ("-4", "-6")
            for route in side.node.ip(family, "route", "show", "dev", "eth0", netns="/run/netns/c1")
            if not route["dst"].startswith("fe80")
        ]
        assert sorted(shown, key=str) == sorted(
            [
                ("10.77.0.1", None, "10.77.0.2", "link"),
                ("10.77.0.0/24", "10.77.0.1", "10.77.0.2", None),
                ("fd00:77::1", None, "fd00:77::2", None),
                ("fd00:77::/64", "fd00:77::1", "fd00:77::2", None),
            ],
            key=str,
        )


def test_check_agrees(sides: tuple[Side, Side]) -> None:
    """CHECK passes right after ADD, and fails on both when the route to the subnet is missing."""
    config = ptp(ipam={"ranges": V4 + V6, "routes": [{"dst": "0.0.0.0/0"}]})
    for side in sides:
        side.container("c1")
        result = side.add(config).ok().json
        assert side.check(config, result).ok().json is None
        side.node.run("ip", "route", "del", "default", netns="/run/netns/c1").ok()
        assert side.check(config, result).code == 1


def test_delete_twice(sides: tuple[Side, Side]) -> None:
    """The second DEL has nothing to do. No link, route, address or lease is left."""
    config = ptp(ipMasq=True)
    for side in sides:
        side.container("c1")
        side.add(config).ok()
        side.delete(config).ok()
        side.delete(config).ok()
        assert set(side.node.links()) == {"lo"}
        assert not side.node.ip("route", "show")
        assert "10.77.0.2" not in side.leases("net")


def test_delete_without_namespace(sides: tuple[Side, Side]) -> None:
    """The namespace is gone before DEL: nothing is left. The reference forgets its masquerade rules."""
    config = ptp(ipMasq=True)
    for side in sides:
        side.container("c1")
        side.add(config).ok()
        side.node.run("ip", "netns", "del", "c1").ok()
        side.delete(config, netns="").ok()
    assert set(sides[0].node.links()) == {"lo"}
    assert "10.77.0.2" not in sides[0].node.run("nft", "list", "ruleset").out


REFUSED: dict[str, dict[str, Any]] = {
    "no such ipam": {"ipam": {"type": "nobody"}},
    "mtu": {"mtu": 70000},
    "range": {"ipam": {"ranges": [[{"subnet": "10.77.0.0/24", "rangeStart": "10.78.0.1"}]]}},
}


@pytest.mark.parametrize("keys", REFUSED.values(), ids=REFUSED.keys())
def test_refusals_leave_nothing(sides: tuple[Side, Side], keys: dict[str, Any]) -> None:
    """Both refuse, and nothing of ours is made or leased."""
    for side in sides:
        side.container("c1")
        assert side.add(ptp(**keys)).code == 1
    assert sides[0].state()["c1"]["links"].keys() == {"lo"}
    assert set(sides[0].node.links()) == {"lo"}
    assert not {name for name in sides[0].leases("net") if not name.startswith("last")}


def test_reference_container_is_taken_down_by_ours(sides: tuple[Side, Side]) -> None:
    """Made by the reference under the same network: our DEL removes its link and its lease."""
    ours = sides[0]
    ours.container("c1")
    config = ptp(ipMasq=True)
    ours.call("ADD", {**config, "type": "ptp"}, executable=REFERENCE / "ptp").ok()
    ours.delete(config).ok()
    assert ours.state()["c1"]["links"].keys() == {"lo"}
    assert set(ours.node.links()) == {"lo"}
    assert "10.77.0.2" not in ours.leases("net")
    assert "10.77.0.2" not in ours.node.run("iptables-save", "-t", "nat").out


# where ours differs on purpose ----------------------------------------------------


def test_a_static_address_without_gateway(sides: tuple[Side, Side]) -> None:
    """The reference fails, and leaves its link in the container; ours takes the subnet's first address."""
    config = ptp(ipam={"type": "static", "addresses": [{"address": "10.77.5.5/24"}]})
    for side, expected in zip(sides, (0, 1), strict=True):
        side.container("c1")
        assert side.add(config).code == expected
    assert "10.77.5.1" in {route.get("gateway") for route in sides[0].node.ip("route", netns="/run/netns/c1")}
