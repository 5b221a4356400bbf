"""The same configurations through cni-cnm's macvlan driver and the reference macvlan: results and kernel state.

Where ours differs on purpose, the test says so and shows the reference's fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.differential.conftest import CALLED_AS, our_side
from tests.side import REFERENCE, Side, normal, require_reference

V4 = [[{"subnet": "10.77.0.0/24"}]]
V6 = [[{"subnet": "fd00:77::/64"}]]
MODES = ("bridge", "private", "vepa", "passthru")


@pytest.fixture(params=CALLED_AS)
def ours(request: pytest.FixtureRequest, require_root: None, tmp_path: Path) -> Iterator[Side]:
    side = our_side(tmp_path, "macvlan" if request.param == "names" else "")
    yield side
    side.close()


@pytest.fixture
def reference(require_root: None) -> Iterator[Side]:
    require_reference()
    side = Side(REFERENCE / "macvlan", "macvlan")
    yield side
    side.close()


@pytest.fixture
def sides(ours: Side, reference: Side) -> tuple[Side, Side]:
    """Both with the parent wan0 (the default route) and the link lan0, up."""
    for side in (ours, reference):
        for name, address in (("wan0", "198.51.100.2/24"), ("lan0", "")):
            side.node.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"x{name}").ok()
            for end in (name, f"x{name}"):
                side.node.run("ip", "link", "set", end, "up").ok()
            if address:
                side.node.run("ip", "addr", "add", address, "dev", name).ok()
        side.node.run("ip", "route", "add", "default", "via", "198.51.100.1").ok()
    return ours, reference


def macvlan(version: str = "1.0.0", ipam: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    ipam = {"ranges": V4} if ipam is None else ipam
    block = {"ipam": {"type": "host-local", **ipam}} if ipam else {}
    given = {"master": "lan0", **keys}
    return {"cniVersion": version, "name": "net", "driver": "macvlan", **block, **given}


def add(side: Side, config: dict[str, Any], container: str = "c1", **more: Any) -> Any:
    """The reference is told the key `driver`, too, and ignores it."""
    return side.add(config, container, **more)


def state(side: Side) -> dict[str, Any]:
    """As the reference, apart from duplicate address detection (docs/decisions/0026-addresses-and-links.md)."""
    found = side.state()
    for container in side.containers:
        found[container]["sysctls"].pop("6/accept_dad", None)
    return found


def both_add(sides: tuple[Side, Side], config: dict[str, Any], container: str = "c1", **more: Any) -> None:
    for side in sides:
        side.container(container)
    mine, theirs = (add(side, config, container, **more) for side in sides)
    assert (mine.code, normal(mine.json)) == (theirs.code, normal(theirs.json)), mine.err
    assert state(sides[0]) == state(sides[1])
    assert sides[0].leases("net") == sides[1].leases("net")


def both_delete(sides: tuple[Side, Side], config: dict[str, Any], container: str = "c1") -> None:
    mine, theirs = (side.delete(config, container) for side in sides)
    assert (mine.code, mine.json) == (theirs.code, theirs.json) == (0, None)
    assert state(sides[0]) == state(sides[1])
    assert sides[0].leases("net") == sides[1].leases("net")


def links(side: Side, container: str = "c1") -> Any:
    """Kind, mode and parent's index as `ip` shows them."""
    (link,) = side.node.ip("-d", "link", "show", "eth0", netns=f"/run/netns/{container}")
    return link["linkinfo"]["info_kind"], link["linkinfo"]["info_data"]["mode"], link["link_index"], link["mtu"]


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"])
@pytest.mark.parametrize("ranges", [V4, V6, V4 + V6], ids=["v4", "v6", "dual"])
def test_versions_and_families(sides: tuple[Side, Side], version: str, ranges: Any) -> None:
    """The same result, links, addresses, routes and leases for every version."""
    config = macvlan(version, {"ranges": ranges})
    both_add(sides, config)
    both_delete(sides, config)


@pytest.mark.parametrize("mode", MODES)
def test_modes(sides: tuple[Side, Side], mode: str) -> None:
    """Every mode, as the kernel shows it; the parent is as it was afterwards."""
    config = macvlan(mode=mode)
    both_add(sides, config)
    assert links(sides[0]) == links(sides[1])
    assert links(sides[0])[1] == mode
    both_delete(sides, config)


KEYS: dict[str, dict[str, Any]] = {
    "default master": {"master": ""},
    "mtu": {"mtu": 1400},
    "mac": {"mac": "c2:11:22:33:44:44"},
    "mac by args": {"args": {"cni": {"mac": "c2:11:22:33:44:55"}}},
    "mac by runtimeConfig": {"capabilities": {"mac": True}, "runtimeConfig": {"mac": "c2:11:22:33:44:66"}},
    "dns": {"dns": {"nameservers": ["10.1.1.1"], "search": ["s"]}},
    "routes": {
        "ipam": {
            "ranges": V4,
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.77.0.1"}, {"dst": "10.9.0.0/16", "gw": "10.77.0.9"}],
        }
    },
    "static": {"ipam": {"type": "static", "addresses": [{"address": "10.77.5.5/24", "gateway": "10.77.5.1"}]}},
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS.keys())
def test_keys(sides: tuple[Side, Side], keys: dict[str, Any]) -> None:
    """Each key has the same effect, and two containers one after the other the same addresses."""
    config = macvlan(**keys)
    both_add(sides, config)
    assert links(sides[0]) == links(sides[1])
    both_delete(sides, config)


def test_layer_two(sides: tuple[Side, Side]) -> None:
    """No ipam: a link that is up, without addresses."""
    config = macvlan(ipam={})
    both_add(sides, config)
    both_delete(sides, config)


def test_parent_in_the_container(sides: tuple[Side, Side]) -> None:
    """linkInContainer: the parent is a link of the container."""
    config = macvlan(master="own0", linkInContainer=True)
    for side in sides:
        side.container("c1")
        netns = "/run/netns/c1"
        side.node.run("ip", "link", "add", "own0", "type", "veth", "peer", "name", "own1", netns=netns).ok()
        side.node.run("ip", "link", "set", "own0", "up", netns=netns).ok()
        side.node.run("ip", "link", "set", "own1", "up", netns=netns).ok()
    mine, theirs = (add(side, config) for side in sides)
    if theirs.code and "not found" in str(theirs.json):
        pytest.skip("this reference (before 1.2) has no linkInContainer")
    assert normal(mine.ok().json) == normal(theirs.ok().json)
    assert links(sides[0]) == links(sides[1])
    both_delete(sides, config)


def test_check_agrees(sides: tuple[Side, Side]) -> None:
    """CHECK passes right after ADD on both sides, and fails on both when the mode is another."""
    config = macvlan(mode="private")
    for side in sides:
        side.container("c1")
        result = add(side, config).ok().json
        assert side.check(config, result).ok().json is None
        netns = "/run/netns/c1"
        side.node.run("ip", "link", "set", "eth0", "type", "macvlan", "mode", "bridge", netns=netns).ok()
        assert side.check(config, result).code == 1


REFUSED: dict[str, dict[str, Any]] = {
    "no such master": {"master": "none0"},
    "lo": {"master": "lo"},
    "mode": {"mode": "l2"},
    "mtu": {"mtu": 9000},
}


@pytest.mark.parametrize("keys", REFUSED.values(), ids=REFUSED.keys())
def test_refusals_leave_nothing(sides: tuple[Side, Side], keys: dict[str, Any]) -> None:
    """Both refuse; ours with the code of a configuration, or by the name with theirs. Nothing is made or leased."""
    for side in sides:
        side.container("c1")
        assert add(side, macvlan(**keys)).code == 1
    ours = sides[0]
    assert add(ours, macvlan(**keys)).json["code"] == (7 if ours.type == "cni-cnm" else 999)
    assert ours.state()["c1"]["links"].keys() == {"lo"}
    assert not {name for name in ours.leases("net") if not name.startswith("last")}


def test_reference_container_is_taken_down_by_ours(sides: tuple[Side, Side]) -> None:
    """Made by the reference under the same network: our DEL removes its link and its lease."""
    ours = sides[0]
    ours.container("c1")
    config = macvlan()
    ours.call("ADD", {**config, "type": "macvlan"}, executable=REFERENCE / "macvlan").ok()
    ours.delete(config).ok()
    assert ours.state()["c1"]["links"].keys() == {"lo"}
    assert "10.77.0.2" not in ours.leases("net")


# where ours differs on purpose ----------------------------------------------------


def test_passthru_beside_another_is_explained(sides: tuple[Side, Side]) -> None:
    """A second container in passthru: the reference says "invalid argument", ours why, and leaves no lease."""
    config = macvlan(mode="passthru")
    for side, word in zip(sides, ("must be alone", "invalid argument"), strict=True):
        for container in ("c1", "c2"):
            side.container(container)
        add(side, config).ok()
        refused = add(side, config, "c2")
        assert refused.code == 1
        assert word in refused.json["msg"]
    assert "10.77.0.3" not in sides[0].leases("net")


def test_delete_with_a_plain_file_for_a_namespace(sides: tuple[Side, Side]) -> None:
    """After a crash the namespace's file may be a plain file: the reference fails for ever, ours is done."""
    config = macvlan()
    for side, expected in zip(sides, (0, 1), strict=True):
        side.container("c1")
        add(side, config).ok()
        side.node.run("umount", "/run/netns/c1").ok()
        assert side.delete(config).code == expected
    assert "10.77.0.2" not in sides[0].leases("net")
