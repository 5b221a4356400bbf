"""The host's ends of containers' links, on a kernel in memory."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from cni_cnm.cnm.endpoint import locked_endpoint
from cni_cnm.cnm.reconcile import endpoints
from cni_cnm.cnm.reconcile.changed import EVERYTHING, Changed
from cni_cnm.cnm.reconcile.reconcile import compare, reconcile
from cni_cnm.cnm.records import PENDING, endpoint_records
from cni_cnm.errors import TryAgain
from cni_cnm.kernel import Port, RouteEntry
from cni_cnm.model import IpamSpec, NetworkSpec
from cni_cnm.state.store import ENDPOINTS
from tests.memory_kernel.stack import MemoryStack
from tests.unit.drivers.world import World

IPAM = IpamSpec("host-local", {"subnet": "10.9.0.0/24"})
SPECS = {
    "bridge": NetworkSpec(
        "net", "bridge", {"profile": "cnm", "labels": {"com.docker.network.bridge.name": "br9"}}, IPAM
    ),
    "ptp": NetworkSpec("net", "ptp", {"profile": "cnm"}, IPAM),
}
GATEWAY = ip_interface("10.9.0.1/32")
ROUTE = ip_network("10.9.0.2/32")


def world_of(folder: Path, driver: str) -> tuple[World, int, str]:
    """With a container on a network of that driver; the index and name of its link on the host."""
    world = World(folder)
    name = world.attach(SPECS[driver]).interfaces[-1 if driver == "bridge" else 0].name
    [record] = endpoint_records(world.engine.store)
    return world, world.link(record.host_ifname).ifindex, name


def down(host: MemoryStack, index: int) -> None:
    host.set_link(index, up=False)


LOSSES: list[tuple[str, Callable[[MemoryStack, int], None], str]] = [
    ("bridge", down, "is down"),
    ("bridge", lambda host, index: host.set_link(index, master=0), "is not a port of br9"),
    ("bridge", lambda host, index: host.set_port(index, Port(isolated=True)), "has other port flags than configured"),
    ("ptp", down, "is down"),
    ("ptp", lambda host, index: host.set_link(index, group=0), "is in the link group 0"),
    ("ptp", lambda host, index: host.delete_address(index, GATEWAY), "does not have the gateway address 10.9.0.1"),
    ("ptp", lambda host, index: host.delete_route(RouteEntry(ROUTE, link=index)), "the host has no route to 10.9.0.2"),
]


@pytest.mark.parametrize(("driver", "lose", "sentence"), LOSSES, ids=[f"{one} {what}" for one, _, what in LOSSES])
def test_what_the_hosts_end_lost_is_put_back(
    tmp_path: Path, driver: str, lose: Callable[[MemoryStack, int], None], sentence: str
) -> None:
    """It is said once, then nothing differs, and CHECK passes."""
    world, index, _ = world_of(tmp_path, driver)
    assert list(compare(world.engine)) == []
    lose(world.host, index)
    [difference] = compare(world.engine)
    assert difference.object == "the endpoint net/a/eth0"
    assert sentence in difference.found
    assert [outcome.result for outcome in reconcile(world.engine)] == ["repaired"]
    assert list(reconcile(world.engine)) == []
    world.check(SPECS[driver])


def test_a_port_that_another_program_put_on_its_bridge_stays_there(tmp_path: Path) -> None:
    world, index, _ = world_of(tmp_path, "bridge")
    world.host.add_bridge("br1", mac="")
    world.host.set_link(index, master=world.link("br1").ifindex)
    assert list(reconcile(world.engine)) == []


@pytest.mark.parametrize("gone", ["container", "pending", "epoch"])
def test_what_is_left_of_a_container_is_left_alone(tmp_path: Path, gone: str) -> None:
    """One that is gone, one that an ADD is at work on, one of an earlier boot."""
    world, index, _ = world_of(tmp_path, "bridge")
    [record] = endpoint_records(world.engine.store)
    world.host.set_link(index, up=False)
    if gone == "container":
        world.namespaces.remove("/netns/a")
    else:
        changed = record._replace(state=PENDING) if gone == "pending" else record._replace(epoch="earlier")
        world.engine.store.put(ENDPOINTS, record.id, changed.to_json())
    assert list(reconcile(world.engine)) == []


def test_a_request_at_work_on_the_endpoint_is_not_disturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repair waits for its lock, boundedly; an endpoint that was deleted meanwhile is left alone."""
    world, index, _ = world_of(tmp_path, "bridge")
    world.host.set_link(index, up=False)
    [difference] = endpoints.compare(world.engine, EVERYTHING)
    monkeypatch.setattr(endpoints, "_LOCK_S", 0.01)
    with locked_endpoint.lock(world.engine, difference.key), pytest.raises(TryAgain):
        endpoints.repair(world.engine, difference)
    world.detach(SPECS["bridge"])
    assert endpoints.repair(world.engine, difference) == ""


def test_which_changes_concern_endpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their own links, and the deletion of their bridge; for other links no record is read."""
    world, index, _ = world_of(tmp_path, "bridge")
    name = next(endpoint_records(world.engine.store)).host_ifname
    world.host.set_link(index, up=False)
    for changed in (Changed(links=frozenset([name])), Changed(deleted=frozenset(["br9"]))):
        assert len(list(endpoints.compare(world.engine, changed))) == 1
    monkeypatch.setattr(endpoints, "living", lambda *_: pytest.fail("read"))
    assert list(endpoints.compare(world.engine, Changed(links=frozenset(["eth0", "br9"]), bridges=True))) == []
