"""Bridges that other programs delete, take down or strip, on a kernel in memory."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.reconcile import endpoints, networks
from cni_cnm.cnm.reconcile.changed import EVERYTHING, Changed
from cni_cnm.cnm.reconcile.reconcile import compare, reconcile
from cni_cnm.errors import Conflict
from cni_cnm.kernel import RouteEntry
from cni_cnm.model import EndpointSpec, IpamSpec, NetworkSpec
from tests.memory_kernel.stack import MemoryStack
from tests.unit.drivers.world import World

SUBNETS = ("10.9.0.0/24", "fd09::/64")
GATEWAYS = (ip_interface("10.9.0.1/24"), ip_interface("fd09::1/64"))


def network(name: str = "net", *subnets: str, **options: Any) -> NetworkSpec:
    """With options a network of the reference profile, which has them."""
    ranges = [[{"subnet": subnet}] for subnet in subnets or SUBNETS]
    of_profile = {"bridge": "br9"} if options else {"labels": {"com.docker.network.bridge.name": "br9"}}
    given = {**of_profile, "profile": "reference" if options else "cnm", **options}
    return NetworkSpec(name, "bridge", given, IpamSpec("host-local", {"ranges": ranges}))


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.attach(network(), "a")
    made.attach(network(), "b")
    return made


def found(world: World, changed: Changed = EVERYTHING) -> list[str]:
    return [difference.sentence for difference in compare(world.engine, changed)]


def repaired(world: World) -> list[str]:
    outcomes = list(reconcile(world.engine))
    assert all(outcome.result == "repaired" for outcome in outcomes), outcomes
    return [outcome.sentence for outcome in outcomes]


def lose_route(host: MemoryStack, index: int) -> None:
    host.delete_route(RouteEntry(ip_network("10.9.0.0/24"), link=index))


def lose_address(host: MemoryStack, index: int) -> None:
    host.delete_address(index, GATEWAYS[1])


LOSSES: list[tuple[Callable[[MemoryStack, int], None], str]] = [
    (lambda host, index: host.set_link(index, up=False), "br9 is down"),
    (lambda host, index: host.set_link(index, mtu=1300), "br9 has the MTU 1300 instead of 1500"),
    (lose_address, "br9 does not have the address fd09::1/64"),
    (lose_route, "the route to 10.9.0.0/24 over br9 is missing"),
    (lambda host, _: host.set_sysctls([("net/ipv4/ip_forward", "0")]), "forwarding of IPv4 is off"),
]


@pytest.mark.parametrize(("lose", "sentence"), LOSSES, ids=[sentence for _, sentence in LOSSES])
def test_what_a_bridge_lost_is_put_back(world: World, lose: Callable[[MemoryStack, int], None], sentence: str) -> None:
    """The look names it and changes nothing; the repair says it once, and then nothing differs."""
    assert found(world) == []
    lose(world.host, world.link("br9").ifindex)
    assert found(world) == found(world) == [f"the network net: {sentence}"]
    assert repaired(world) == [f"the network net: {sentence}; put right"]
    assert found(world) == repaired(world) == []
    world.check(network())


def test_a_deleted_bridge_is_made_again_with_its_containers(world: World) -> None:
    """Its MAC, addresses and ports are the same; CHECK passes for each."""
    before = world.link("br9")
    world.host.delete_link(before.ifindex)
    assert found(world) == ["the network net: br9 does not exist"]
    assert repaired(world) == ["the network net: br9 does not exist; made again, with 2 containers on it"]
    bridge = world.link("br9")
    assert (bridge.mac, bridge.mtu, bridge.up) == (before.mac, before.mtu, True)
    assert tuple(world.host.addresses(bridge.ifindex)) == GATEWAYS
    assert len(world.host.links(master=bridge.ifindex)) == 2
    world.check(network(), "a")
    world.check(network(), "b")


def test_a_kill_in_the_middle_is_finished_by_the_next_repair(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each change of the kernel in turn."""

    class Killed(BaseException):
        pass

    write, left = MemoryStack._write, 0

    def killed(stack: MemoryStack, action: Callable[[], None]) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Killed
        write(stack, action)

    for step in range(1, 100):
        world.host.delete_link(world.link("br9").ifindex)
        left = step
        with monkeypatch.context() as patched:
            patched.setattr(MemoryStack, "_write", killed)
            try:
                repaired(world)
            except Killed:
                pass
        repaired(world)
        assert len(world.host.links(master=world.link("br9").ifindex)) == 2
        assert found(world) == []
        world.check(network(), "a")
        if left > 0:
            break
    assert step > 8, "as many changes at least"


def test_the_mtu_of_a_bridge_made_again_is_that_of_its_containers(world: World) -> None:
    """Also if the uplink has another one by now."""
    world.host.set_link(world.link("eth0").ifindex, mtu=9000)
    assert found(world) == []
    world.host.delete_link(world.link("br9").ifindex)
    repaired(world)
    assert world.link("br9").mtu == 1500


def test_a_network_whose_containers_are_gone_needs_no_bridge(world: World) -> None:
    """After DEL, after a kill of the container, and after a reboot: nothing is made."""
    world.detach(network(), "a")
    world.namespaces.remove("/netns/b")
    world.host.delete_link(world.link("br9").ifindex)
    assert found(world) == []
    assert repaired(world) == []
    assert world.host.link("br9") is None


def test_an_unused_bridge_of_0_1_0_gets_the_mtu_of_the_uplink(world: World) -> None:
    """Its MTU was not fixed, so the kernel gave it 1500 when the last port left."""
    world.detach(network(), "a")
    world.detach(network(), "b")
    world.host.set_link(world.link("eth0").ifindex, mtu=1400)
    assert repaired(world) == ["the network net: br9 has the MTU 1500 instead of 1400; put right"]
    assert world.link("br9").mtu == 1400
    assert world.attach(network()).interfaces[0].mtu == 1400


def test_the_mtu_of_a_bridge_of_two_networks_stays(world: World) -> None:
    """It cannot be that of both."""
    second = network("second", "10.8.0.0/24", mtu=1400)
    world.controller.attach(second, EndpointSpec("a", "eth1", "/netns/a", "test"))
    world.host.set_link(world.link("br9").ifindex, mtu=1450)
    assert found(world) == []


def test_another_programs_bridge_is_given_its_addresses_only(tmp_path: Path) -> None:
    """That program decides about its state and its MTU, and makes it again."""
    world = World(tmp_path)
    world.host.add_bridge("br9", mac="02:00:00:00:00:09")
    world.attach(network("net", SUBNETS[0], isgateway=True))
    index = world.link("br9").ifindex
    world.host.set_link(index, up=False, mtu=1300)
    world.host.delete_address(index, GATEWAYS[0])
    assert repaired(world) == ["the network net: br9 does not have the address 10.9.0.1/24; put right"]
    assert (world.link("br9").up, world.link("br9").mtu) == (False, 1300)
    world.host.delete_link(index)
    assert found(world) == repaired(world) == []


def test_another_programs_address_stays(tmp_path: Path) -> None:
    """Also with `forceAddress`, by which an ADD replaces it: said as what was not repaired."""
    world = World(tmp_path)
    spec = network("net", SUBNETS[0], isgateway=True, forceaddress=True)
    world.attach(spec)
    index = world.link("br9").ifindex
    world.host.delete_address(index, GATEWAYS[0])
    world.host.add_address(index, ip_interface("10.77.0.1/24"))
    [outcome] = reconcile(world.engine)
    assert outcome.result == "failed"
    assert "this was not repaired: br9 already has the address 10.77.0.1/24" in outcome.sentence
    assert list(world.host.addresses(index)) == [ip_interface("10.77.0.1/24")]
    with pytest.raises(Conflict):
        networks.repair(world.engine, next(networks.compare(world.engine, EVERYTHING)))


def test_a_link_of_that_name_that_is_no_bridge_stays(world: World) -> None:
    world.host.delete_link(world.link("br9").ifindex)
    world.host.add_ifb("br9")
    assert repaired(world) == []
    assert world.link("br9").kind == "ifb"


def test_gateways_that_only_endpoints_know(tmp_path: Path) -> None:
    """An executable of CNI_PATH tells no subnets: the gateway is the endpoint's."""
    world = World(tmp_path)
    giver = tmp_path / "giver"
    answer = '{"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.5/24", "gateway": "10.9.0.1"}]}'
    giver.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\n", encoding="ascii")
    giver.chmod(0o755)
    spec = network("net", isgateway=True)._replace(ipam=IpamSpec("giver", {"type": "giver"}, cni_path=str(tmp_path)))
    world.attach(spec)
    assert found(world) == []
    world.host.delete_address(world.link("br9").ifindex, GATEWAYS[0])
    assert repaired(world) == ["the network net: br9 does not have the address 10.9.0.1/24; put right"]


def test_only_what_has_changed_is_compared(world: World) -> None:
    """A change of another link says nothing of this bridge."""
    world.host.set_link(world.link("br9").ifindex, up=False)
    assert found(world, Changed(links=frozenset(["eth0"]), bridges=True)) == []
    assert found(world, Changed(links=frozenset(["br9"]))) == ["the network net: br9 is down"]


def test_records_of_endpoints_are_not_read_where_nothing_differs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be a thousand."""
    monkeypatch.setattr(endpoints, "living", lambda *_: pytest.fail("read"))
    assert list(networks.compare(world.engine, EVERYTHING)) == []


def test_a_network_deleted_since_the_look_is_left_alone(world: World) -> None:
    world.host.set_link(world.link("br9").ifindex, up=False)
    [difference] = networks.compare(world.engine, EVERYTHING)
    for name in "ab":
        world.detach(network(), name)
    world.controller.network("net").delete()
    assert networks.repair(world.engine, difference) == ""
    assert world.host.link("br9") is None


def test_a_gateway_of_a_widened_subnet(world: World) -> None:
    """Endpoints from before have the narrower prefix: the bridge gets the wider one, and not both."""
    wide = network("net", "10.9.0.0/16", SUBNETS[1])
    world.containers["c"] = world.namespaces.create("/netns/c")
    world.attach(wide, "c")
    index = world.link("br9").ifindex
    assert found(world) == []
    world.host.delete_address(index, ip_interface("10.9.0.1/16"))
    repaired(world)
    assert [one for one in world.host.addresses(index) if one.version == 4] == [ip_interface("10.9.0.1/16")]
    assert world.host.route_link(ip_address("10.9.200.1")) == index
