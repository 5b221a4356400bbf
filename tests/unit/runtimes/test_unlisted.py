"""Endpoints that their runtime does not list, on a kernel in memory with made-up runtimes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cni_cnm.cnm.records import endpoint_records
from cni_cnm.model import EndpointSpec, IpamSpec, NetworkSpec
from cni_cnm.runtimes import podman, unlisted
from cni_cnm.runtimes.asked import RuntimeSilent
from cni_cnm.runtimes.runtime import Runtime
from cni_cnm.state.store import ENDPOINTS
from tests.unit.drivers.world import World

NET = NetworkSpec(
    "net",
    "bridge",
    {"profile": "cnm", "labels": {"com.docker.network.bridge.name": "br9"}},
    IpamSpec("host-local", {"subnet": "10.9.0.0/24"}),
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    for container in "ab":
        world.controller.attach(NET, EndpointSpec(container, "eth0", f"/netns/{container}", "cni/containerd"))
    written(world, unlisted.NEW_S + 1)
    return world


def written(world: World, seconds_ago: float) -> None:
    """All endpoints were attached so long ago."""
    for name in world.engine.store.names(ENDPOINTS):
        os.utime(world.engine.store.place(ENDPOINTS, name), (0, time.time() - seconds_ago))


def runtime(*containers: str) -> tuple[Runtime, ...]:
    return (Runtime("containerd", frozenset(("cni/containerd",)), lambda: frozenset(containers)),)


def leftover(world: World, *runtimes: Runtime) -> list[str]:
    return [record.container_id for record, _ in unlisted.look(world.engine, runtimes).leftover.values()]


def test_what_the_runtime_does_not_list_is_left_over(world: World) -> None:
    assert leftover(world, *runtime("a", "b")) == []
    assert leftover(world, *runtime("b")) == ["a"]
    [(record, why)] = unlisted.look(world.engine, runtime("b")).leftover.values()
    assert why == "containerd does not have its container"
    assert unlisted.remove(world.engine, record)
    assert not unlisted.remove(world.engine, record)
    assert [one.container_id for one in endpoint_records(world.engine.store)] == ["b"]
    assert world.leases("net") == {"10.9.0.3"}


def test_a_runtime_that_does_not_answer_keeps_everything(world: World) -> None:
    def silent() -> frozenset[str]:
        raise RuntimeSilent("containerd has no socket")

    found = unlisted.look(world.engine, [Runtime("containerd", frozenset(("cni/containerd",)), silent)])
    assert not found.leftover
    assert found.kept == ["endpoints of cni/containerd are kept: containerd has no socket"]


def test_owners_that_no_runtime_has_are_kept(world: World) -> None:
    found = unlisted.look(world.engine, [Runtime("podman", frozenset(("cni/podman",)), frozenset)])
    assert not found.leftover
    assert found.kept == ["endpoints of cni/containerd are kept: no runtime of that name can be asked"]


def test_podmans_containers_by_netavark(world: World) -> None:
    """They are podman's, and it is asked."""
    for record in list(endpoint_records(world.engine.store)):
        world.engine.store.put(ENDPOINTS, record.id, record._replace(owner="netavark").to_json())
    written(world, unlisted.NEW_S + 1)
    listing = podman.RUNTIME._replace(containers=lambda: frozenset("b"))
    found = unlisted.look(world.engine, [listing])
    assert {(record.container_id, why) for record, why in found.leftover.values()} == {
        ("a", "podman does not have its container")
    }


@pytest.mark.parametrize("change", [{"owner": "docker"}, {"owner": "library"}, {"docker_network": "d"}])
def test_other_frontends_are_not_concerned(world: World, change: dict[str, str]) -> None:
    for record in list(endpoint_records(world.engine.store)):
        world.engine.store.put(ENDPOINTS, record.id, {**record.to_json(), **_keys(change)})
    assert unlisted.look(world.engine, runtime()) == unlisted.Found({}, [])


def _keys(change: dict[str, str]) -> dict[str, str]:
    return {"guest" if key == "docker_network" else key: value for key, value in change.items()}


def test_a_process_keeps_an_endpoint_whatever_the_runtime_says(world: World) -> None:
    """A runtime that was started with an empty store lists nothing."""
    record = next(one for one, _ in unlisted.look(world.engine, runtime()).leftover.values())
    world.namespaces.running.add(record.netns_inode)
    assert record.container_id not in leftover(world, *runtime())
    [sentence] = unlisted.look(world.engine, runtime()).kept
    assert sentence.endswith(
        "is kept: containerd does not have its container, but a process is in its network namespace"
    )
    assert not unlisted.remove(world.engine, record)


def test_a_container_that_was_attached_again_stays(world: World) -> None:
    found = unlisted.look(world.engine, runtime("b"))
    [(record, _)] = found.leftover.values()
    world.engine.store.put(ENDPOINTS, record.id, record._replace(request_id="another", netns_inode=7).to_json())
    assert not unlisted.remove(world.engine, record)
    assert not found.leftover.keys() & unlisted.look(world.engine, runtime("b")).leftover.keys()


def test_a_new_endpoint_stays(world: World) -> None:
    """containerd has attached the pod, and fetches the image of its first container: nothing shows that it lives."""
    written(world, unlisted.NEW_S - 60)
    found = unlisted.look(world.engine, runtime())
    assert not found.leftover
    assert len(found.kept) == 2
    assert "attached less than 15 minutes ago" in found.kept[0]
