"""Used, reserved and free addresses of a network, and who holds each."""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from cni_cnm.cnm.records import NetworkRecord, load_network
from cni_cnm.find.addresses import (
    DOCKER_REQUESTED,
    DOCKER_RESERVED,
    ENDPOINT,
    GATEWAY,
    OTHER,
    VOID,
    NetworkUse,
    RangeUse,
    use_of,
)
from cni_cnm.model import IpamSpec
from tests.unit.find.pods import NETWORK, Pods

SMALL = NETWORK._replace(
    ipam=IpamSpec("host-local", {"ranges": [[{"subnet": "10.1.0.0/28", "rangeend": "10.1.0.10"}]]})
)


@pytest.fixture
def pods(tmp_path: Path) -> Pods:
    return Pods(tmp_path)


def network(pods: Pods, name: str = "podnet") -> NetworkRecord:
    found = load_network(pods.host.store, name)
    assert found is not None
    return found


def use(pods: Pods) -> NetworkUse:
    return use_of(pods.host, network(pods))


def kinds(found: NetworkUse) -> dict[str, str]:
    return {str(holder.address): holder.kind for holder in found.holders}


def lease(folder: str, name: str, owner: str, *, age: float = 0) -> None:
    path = f"{folder}/{name}"
    Path(path).write_bytes(owner.encode())
    if age:
        os.utime(path, (1, 1))


def test_each_holder(pods: Pods) -> None:
    """Endpoints, the gateway, Docker, another program, a lease of an earlier boot; counted once each."""
    pods.add("c1", "shop/web", network=SMALL)
    folder = use(pods).folder
    lease(folder, "10.1.0.3", "docker\r\nreserved")
    lease(folder, "10.1.0.4", "docker\r\nrequested")
    lease(folder, "10.1.0.5", "nerdctl1\r\neth0")
    lease(folder, "10.1.0.6", "")
    found = use(pods)
    assert kinds(found) == {
        "10.1.0.1": GATEWAY,
        "10.1.0.2": ENDPOINT,
        "10.1.0.3": DOCKER_RESERVED,
        "10.1.0.4": DOCKER_REQUESTED,
        "10.1.0.5": OTHER,
        "10.1.0.6": VOID,
    }
    (one,) = found.ranges
    assert (one.size, len(one.used), len(one.reserved), one.free, one.percent) == (10, 3, 2, 5, 50)
    assert (str(one.first), str(one.last), str(one.gateway)) == ("10.1.0.1", "10.1.0.10", "10.1.0.1")
    assert one.bar(64) == "R#R##....."
    by_address = {str(holder.address): holder for holder in found.holders}
    web, other = by_address["10.1.0.2"], by_address["10.1.0.5"]
    assert web.endpoint is not None
    assert (web.endpoint.container, web.container_id, web.ifname, web.leased) == ("shop/web", "c1", "eth0", True)
    assert (other.endpoint, other.container_id, other.ifname) == (None, "nerdctl1", "eth0")


def test_an_endpoint_without_its_lease(pods: Pods) -> None:
    """The endpoint has the address, also where another program has taken the lease."""
    pods.add("c1", network=SMALL)
    folder = use(pods).folder
    os.unlink(f"{folder}/10.1.0.2")
    (holder,) = [one for one in use(pods).holders if one.kind == ENDPOINT]
    assert (str(holder.address), holder.leased) == ("10.1.0.2", False)
    lease(folder, "10.1.0.2", "thief\r\neth0")
    found = use(pods)
    assert kinds(found)["10.1.0.2"] == ENDPOINT
    assert len(found.ranges[0].used) == 1


def test_a_full_range(pods: Pods) -> None:
    for number in range(9):
        pods.add(f"c{number}", network=SMALL)
    (one,) = use(pods).ranges
    assert (one.free, one.percent, one.bar(64)) == (0, 100, "R#########")


def test_an_ipam_whose_ranges_are_not_known(pods: Pods) -> None:
    """Of `static` what endpoints hold, and no size."""
    static = IpamSpec("static", {"addresses": [{"address": "10.4.0.9/24"}]})
    pods.add("c1", network=NETWORK._replace(name="fixed", ipam=static))
    found = use_of(pods.host, network(pods, "fixed"))
    assert (kinds(found), found.ranges, found.folder) == ({"10.4.0.9": ENDPOINT}, [], "")
    without = RangeUse(ip_network("10.4.0.0/24"), used=frozenset((1,)))
    assert (without.size, without.free, without.percent, without.bar(9)) == (None, None, None, "")


@pytest.mark.parametrize(
    ("subnet", "used", "reserved", "bar"),
    [
        ("10.0.0.0/24", range(0), range(0), "........"),
        ("10.0.0.0/24", range(256), range(0), "########"),
        ("10.0.0.0/24", range(128), range(0), "####...."),
        ("10.0.0.0/24", [0, *range(32, 48)], [64], ":+R....."),
        ("10.0.0.0/30", [1], [0], "R#.."),
        ("fd00::/64", range(9), range(0), ":......."),
    ],
)
def test_bar(subnet: str, used: range, reserved: range, bar: str) -> None:
    """Each character stands for as many addresses, and the last one for the last of them."""
    first = int(ip_network(subnet)[0])
    one = RangeUse(
        ip_network(subnet), None, ip_network(subnet)[0], ip_network(subnet)[-1],
        frozenset(first + number for number in used), frozenset(first + number for number in reserved),
    )  # fmt: skip
    assert one.bar(8) == bar


@pytest.mark.parametrize("size", range(1, 40))
def test_a_bar_shows_each_address(size: int) -> None:
    """All held is all full, in every width; one that is held is never shown as free."""
    first = ip_address("10.0.0.0")
    for width in (1, 3, 8, 64):
        for used in (range(size), range(size - 1), range(size - 1, size)):
            numbers = frozenset(int(first) + number for number in used)
            bar = RangeUse(ip_network("10.0.0.0/24"), None, first, first + (size - 1), numbers).bar(width)
            assert len(bar) == min(width, size)
            assert (set(bar) == {"#"}) == (len(used) == size)
            assert (set(bar) == {"."}) == (not used)


def test_a_block_of_an_overlay_network_that_is_lost(pods: Pods) -> None:
    """Another host has it: there is no address to give, and that host is named."""
    pods.add("c1", network=SMALL)
    sets = [[{"subnet": "10.1.0.0/28", "rangeend": "10.1.0.10"}, {"subnet": "10.1.1.0/24", "Lost": "node2"}]]
    found = use_of(pods.host, network(pods)._replace(ipam={"ranges": sets}))
    assert [(one.lost, one.size, one.free, one.percent, one.bar(64)) for one in found.ranges] == [
        ("", 10, 8, 20, "R#........"), ("node2", 0, 0, None, ""),
    ]  # fmt: skip
