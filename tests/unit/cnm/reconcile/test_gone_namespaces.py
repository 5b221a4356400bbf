"""Endpoints whose namespace no longer exists, on a kernel in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.reconcile import gone_namespaces
from cni_cnm.cnm.reconcile.gone_namespaces import GRACE_S, GoneNamespaces
from cni_cnm.cnm.records import endpoint_records
from cni_cnm.errors import InvalidNamespace, KernelError
from cni_cnm.model import IpamSpec, NetworkSpec
from cni_cnm.state.store import ENDPOINTS
from tests.memory_kernel.stack import MemoryStack
from tests.unit.drivers.world import World

IPAM = IpamSpec("host-local", {"subnet": "10.9.0.0/24"})
BRIDGE = NetworkSpec("net", "bridge", {"profile": "cnm", "labels": {"com.docker.network.bridge.name": "br9"}}, IPAM)
MACVLAN = NetworkSpec("net", "macvlan", {"labels": {"parent": "eth0"}}, IPAM)


@pytest.fixture(params=[BRIDGE, MACVLAN], ids=["bridge", "macvlan"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    world = World(tmp_path)
    for container in "ab":
        world.attach(request.param, container)
    return world


def found(world: World) -> list[str]:
    return [difference.found for difference in gone_namespaces.compare(world.engine)]


def look(world: World, gone: GoneNamespaces, now: float) -> list[tuple[str, str]]:
    return [(outcome.result, outcome.sentence) for outcome in gone.look(world.engine, now)]


def test_it_is_taken_down_after_the_grace(world: World) -> None:
    gone = GoneNamespaces()
    world.namespaces.remove("/netns/a")
    assert found(world) == ["its namespace /netns/a does not exist"]
    assert look(world, gone, 0) == look(world, gone, GRACE_S - 1) == []
    [(result, sentence)] = look(world, gone, GRACE_S)
    assert result == "repaired"
    assert sentence == "the endpoint net/a/eth0: its namespace /netns/a does not exist; it was taken down"
    assert [record.container_id for record in endpoint_records(world.engine.store)] == ["b"]
    assert world.leases("net") == {"10.9.0.3"}
    assert look(world, gone, GRACE_S * 2) == []


def test_the_grace_begins_again_when_it_was_there_in_between(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = GoneNamespaces()
    world.namespaces.remove("/netns/a")
    assert look(world, gone, 0) == []
    with monkeypatch.context() as patch:
        patch.setattr(gone_namespaces, "compare", lambda _: iter(()))
        assert look(world, gone, 100) == []
    assert look(world, gone, 200) == look(world, gone, GRACE_S + 199) == []
    assert [result for result, _ in look(world, gone, GRACE_S + 200)] == ["repaired"]


def test_a_living_namespace_stays(world: World) -> None:
    assert found(world) == []
    world.namespaces.move("/netns/a", "/netns/elsewhere")  # a process keeps it
    assert found(world) == []


def test_where_not_all_processes_are_seen_only_a_lost_link_is_evidence(world: World) -> None:
    world.namespaces.sees_all = False
    world.namespaces.remove("/netns/a")
    record = next(endpoint_records(world.engine.store))
    assert bool(found(world)) == (record.driver == "bridge")


def test_a_path_that_leads_to_another_namespace_is_not_the_endpoints(world: World) -> None:
    world.namespaces.create("/netns/a")
    assert found(world) == ["its namespace /netns/a does not exist"]


def test_what_cannot_be_looked_at_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.namespaces.remove("/netns/a")

    def refused(path: str) -> MemoryStack:
        raise InvalidNamespace(f"the network namespace {path} cannot be opened: Permission denied")

    monkeypatch.setattr(world.namespaces, "open", refused)
    assert found(world) == []


@pytest.mark.parametrize("change", [{"docker_network": "d"}, {"netns": ""}, {"netns_inode": 0}, {"epoch": "earlier"}])
def test_endpoints_that_others_look_after_stay(world: World, change: dict[str, Any]) -> None:
    [record] = [one for one in endpoint_records(world.engine.store) if one.container_id == "a"]
    world.namespaces.remove("/netns/a")
    world.engine.store.put(ENDPOINTS, record.id, record._replace(**change).to_json())
    assert found(world) == []


def test_it_is_looked_at_again_before_it_is_taken_down(world: World) -> None:
    world.namespaces.remove("/netns/a")
    [difference] = gone_namespaces.compare(world.engine)
    [record] = [one for one in endpoint_records(world.engine.store) if one.id == difference.key]
    world.engine.store.put(ENDPOINTS, record.id, record._replace(netns="").to_json())
    assert list(gone_namespaces.collect(world.engine, difference)) == []
    world.engine.store.delete(ENDPOINTS, record.id)
    assert list(gone_namespaces.collect(world.engine, difference)) == []


def test_an_error_is_said_and_the_record_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = GoneNamespaces()
    world.namespaces.remove("/netns/a")
    look(world, gone, 0)

    def fails(*_: object) -> None:
        raise KernelError("no", 5)

    monkeypatch.setattr(gone_namespaces, "take_down", fails)
    assert look(world, gone, GRACE_S) == [
        ("failed", "the endpoint net/a/eth0: its namespace /netns/a does not exist; it was not taken down: no")
    ]
    assert len(list(endpoint_records(world.engine.store))) == 2


def test_a_device_that_the_kernel_has_brought_back_to_the_host_is_no_sign_of_life(world: World) -> None:
    """The kernel does so with a device that was moved into a container whose namespace ends."""
    world.host.add_bridge("dev0", mac="02:00:00:00:00:07")
    world.namespaces.remove("/netns/a")
    [record] = [one for one in endpoint_records(world.engine.store) if one.container_id == "a"]
    world.engine.store.put(ENDPOINTS, record.id, record._replace(host_ifname="dev0").to_json())
    [difference] = gone_namespaces.compare(world.engine)
    assert [outcome.result for outcome in gone_namespaces.collect(world.engine, difference)] == ["repaired"]
