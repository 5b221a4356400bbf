"""One container, several networks: whose default route it is when paths, links and namespaces change."""

from __future__ import annotations

import pytest

from tests.side import Side
from tests.surroundings.configs import network

FIRST = network("alpha", "10.91.0.0/24", "fd00:91::/64", isDefaultGateway=True)
SECOND = network("beta", "10.92.0.0/24", "fd00:92::/64", isDefaultGateway=True)


def default(side: Side, version: int, container: str = "c1") -> list[str]:
    found = side.node.ip(f"-{version}", "route", "show", "default", netns=f"/run/netns/{container}")
    return [str(route["gateway"]) for route in found]


@pytest.fixture
def both(side: Side) -> Side:
    """c1 has eth0 on the first network and eth1 on the second."""
    side.container("c1")
    side.add(FIRST).ok()
    side.add(SECOND, ifname="eth1").ok()
    return side


def spellings(side: Side) -> list[str]:
    """Paths of c1's namespace: the runtime's, a link's, and that of a process inside."""
    pid = side.node.run(
        "sh", "-c", "nsenter --net=/run/netns/c1 sleep 300 >/dev/null 2>&1 & echo $!"
    ).ok().out.strip()  # fmt: skip
    return ["/run/netns/c1", "/var/run/netns/c1", f"/proc/{pid}/ns/net"]


@pytest.mark.parametrize("other", [1, 2])
@pytest.mark.quick("1")
def test_one_sandbox_by_several_paths(side: Side, other: int) -> None:
    """A hot-plug controller names it differently than the runtime: one election, and it moves on at the end."""
    side.container("c1")
    paths = spellings(side)
    side.add(FIRST).ok()
    result = side.add(SECOND, ifname="eth1", netns=paths[other]).ok().json
    assert not [route for route in result.get("routes", []) if route["dst"] in ("0.0.0.0/0", "::/0")]
    assert default(side, 4) == ["10.91.0.1"]
    side.check(SECOND, result, ifname="eth1", netns=paths[0]).ok()
    side.delete(FIRST, netns=paths[0]).ok()
    assert (default(side, 4), default(side, 6)) == (["10.92.0.1"], ["fd00:92::1"])
    side.delete(SECOND, ifname="eth1", netns=paths[other]).ok()
    assert side.node.links("/run/netns/c1") == {"lo"}


BREAKAGES = {
    "gone": "link del eth1",
    "down": "link set eth1 down",
    "unaddressed": "addr flush dev eth1",
}


@pytest.mark.parametrize("command", BREAKAGES.values(), ids=BREAKAGES.keys())
@pytest.mark.quick("gone", "down")
def test_del_beside_a_broken_sibling(both: Side, command: str) -> None:
    """The first network's DEL succeeds, and no interface gets a default route that it cannot have."""
    both.node.run("ip", *command.split(), netns="/run/netns/c1").ok()
    both.delete(FIRST).ok()
    assert (default(both, 4), default(both, 6)) == ([], [])
    both.delete(FIRST).ok()
    both.delete(SECOND, ifname="eth1").ok()
    assert not both.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes")


@pytest.mark.parametrize("command", BREAKAGES.values(), ids=BREAKAGES.keys())
@pytest.mark.quick("unaddressed")
def test_add_beside_a_broken_sibling(both: Side, command: str) -> None:
    """A third network's ADD succeeds; if the broken one had the default route, the newcomer has it."""
    both.node.run("ip", *command.replace("eth1", "eth0").split(), netns="/run/netns/c1").ok()
    both.delete(SECOND, ifname="eth1").ok()
    third = network("gamma", "10.93.0.0/24", "fd00:93::/64", isDefaultGateway=True)
    result = both.add(third, ifname="eth2").ok().json
    assert [route["dst"] for route in result["routes"]] == ["0.0.0.0/0", "::/0"]
    assert (default(both, 4), default(both, 6)) == (["10.93.0.1"], ["fd00:93::1"])
    both.check(third, result, ifname="eth2").ok()
    both.delete(FIRST).ok()
    both.delete(third, ifname="eth2").ok()


def test_a_sibling_without_one_family(both: Side) -> None:
    """It lost its IPv6 address: it is handed IPv4's default route, and IPv6 has none."""
    both.node.run("ip", "-6", "addr", "flush", "dev", "eth1", "scope", "global", netns="/run/netns/c1").ok()
    both.delete(FIRST).ok()
    assert (default(both, 4), default(both, 6)) == (["10.92.0.1"], [])


def test_a_namespace_replaced_at_its_path(both: Side) -> None:
    """The old endpoints are of another namespace: DEL takes them down, ADD begins anew beside them."""
    both.node.run("ip", "netns", "del", "c1").ok()
    both.node.run("ip", "netns", "add", "c1").ok()
    result = both.add(FIRST).ok().json
    assert "0.0.0.0/0" in [route["dst"] for route in result["routes"]]
    assert (default(both, 4), default(both, 6)) == (["10.91.0.1"], ["fd00:91::1"])
    both.delete(SECOND, ifname="eth1").ok()
    assert (default(both, 4), default(both, 6)) == (["10.91.0.1"], ["fd00:91::1"])
    both.check(FIRST, result).ok()
    both.delete(FIRST).ok()
    assert not both.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes")


def test_del_in_a_namespace_replaced_at_its_path(both: Side) -> None:
    """No default route is put into a namespace that only has the path."""
    both.node.run("ip", "netns", "del", "c1").ok()
    both.node.run("ip", "netns", "add", "c1").ok()
    both.delete(FIRST).ok()
    both.delete(SECOND, ifname="eth1").ok()
    assert not both.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes")


# a second ADD ---------------------------------------------------------------


def test_a_second_add_for_another_namespace(side: Side) -> None:
    """Refused while the first lives and has its interface, whatever its path is called."""
    for name in ("c1", "c2"):
        side.container(name)
    side.add(FIRST).ok()
    refused = side.add(FIRST, netns="/run/netns/c2")
    assert (refused.code, refused.json["code"]) == (1, 104)
    assert "/run/netns/c1" in refused.json["msg"]
    assert "eth0" in side.node.links("/run/netns/c1")
    assert "eth0" not in side.node.links("/run/netns/c2")


@pytest.mark.parametrize("what", ["namespace", "interface"])
@pytest.mark.quick("namespace")
def test_a_second_add_after_the_first_has_gone(side: Side, what: str) -> None:
    """Its namespace is gone, or its interface is: the old endpoint is taken down, and the new one made."""
    for name in ("c1", "c2"):
        side.container(name)
    side.add(FIRST).ok()
    gone = ("netns", "del", "c1") if what == "namespace" else ("-n", "c1", "link", "del", "eth0")
    side.node.run("ip", *gone).ok()
    side.add(FIRST, netns="/run/netns/c2").ok()
    assert "eth0" in side.node.links("/run/netns/c2")
    assert len([name for name in side.leases("alpha") if name.startswith("10.")]) == 1
