"""What an operator should know: each change is an event once."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.cnm.packet_filter import firewall_state
from cni_cnm.cnm.packet_filter.firewall_state import State
from cni_cnm.firewall.foreign_drops import Obstacle
from cni_cnm.frontend import events
from cni_cnm.frontend.events import Event
from cni_cnm.model import EndpointSpec, IpamSpec, NetworkSpec
from cni_cnm.service.host_events import HostEvents
from cni_cnm.state.store import ADOPT
from tests.unit.drivers.world import World

NET = NetworkSpec("net", "bridge", {}, IpamSpec("host-local", {"subnet": "10.9.0.0/28"}))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def fill(world: World, *numbers: int) -> None:
    for number in numbers:
        world.namespaces.create(f"/netns/c{number}")
        world.controller.attach(NET, EndpointSpec(f"c{number}", "eth0", f"/netns/c{number}", "test"))


def test_networks_that_come_and_go(world: World) -> None:
    """Those of the first look were there before."""
    world.controller.new_network("early")
    seen = HostEvents()
    assert list(seen.look(world.engine)) == []
    world.controller.new_network("web")
    assert list(seen.look(world.engine)) == [Event(events.NETWORK_MADE, "network web was made, driver bridge", "web")]
    world.controller.network("early").delete()
    assert list(seen.look(world.engine)) == [Event(events.NETWORK_REMOVED, "network early was removed", "early")]
    assert list(seen.look(world.engine)) == []


def test_a_network_that_is_taken_over_and_released(world: World) -> None:
    """It had pods before, and has them afterwards: the words say so."""
    seen, store = HostEvents(), world.engine.store
    assert list(seen.look(world.engine)) == []
    store.put(ADOPT, "web", {})
    world.controller.new_network("web")
    [taken] = seen.look(world.engine)
    assert taken.sentence.endswith("was made, driver bridge; it is taken over from the reference plugins")
    world.controller.network("web").delete()
    store.delete(ADOPT, "web")
    [released] = seen.look(world.engine)
    assert released.sentence == "network web was released to the reference plugins, or removed"


def test_a_pool_that_is_nearly_full(world: World) -> None:
    """Once, also when it was so at the first look, and once when it has room again: the two limits are apart."""
    fill(world, *range(11))
    seen = HostEvents()
    assert list(seen.look(world.engine)) == []
    fill(world, 11, 12)
    [low] = seen.look(world.engine)
    assert low == Event(events.POOL_LOW, "network net: 0 of 13 addresses are free", "net")
    assert [event.kind for event in HostEvents().look(world.engine)] == [events.POOL_LOW]
    world.detach(NET, "c0")
    world.detach(NET, "c1")
    assert list(seen.look(world.engine)) == []
    world.detach(NET, "c2")
    assert list(seen.look(world.engine)) == [Event(events.POOL_FREE, "network net: 3 of 13 addresses are free", "net")]


def test_a_firewall_of_another_program(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the comparison of the packet filter has recorded, from its first to its last rule that drops."""
    fill(world, 0)
    seen, host = HostEvents(), world.engine
    assert list(seen.look(host)) == []
    drops, may = Obstacle("", True, "the chain inet other drops it"), Obstacle("", False, "a rule may drop it")
    [network] = [one.id for one in world.controller.networks()]
    recorded: dict[str, object] = {network: [list(drops), list(may)]}
    monkeypatch.setattr(firewall_state, "load", lambda _: State(obstacles=recorded))
    assert list(seen.look(host)) == [Event(events.BLOCKED, f"network net: {drops.sentence}", "net")]
    assert list(seen.look(host)) == []
    recorded.clear()
    assert [event.kind for event in seen.look(host)] == [events.OPEN]
