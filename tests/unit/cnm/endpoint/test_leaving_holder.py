"""Which holder of a host port is waited for, and for how long the wait can last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.endpoint import leaving_holder
from cni_cnm.cnm.host import Host
from cni_cnm.cnm.records import EndpointRecord
from cni_cnm.drivers import drivers
from cni_cnm.errors import PortTaken
from cni_cnm.model import IpamSpec, NetworkSpec, Pod
from cni_cnm.state.store import ENDPOINTS
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces

OLD, NEW = "a" * 64, "b" * 64
RUNS, ENDED = 1, 2
POD = Pod("web-0", "shop", "1")


def record(endpoint_id: str, **more: Any) -> EndpointRecord:
    options = drivers.get("bridge").options(NetworkSpec("net", "bridge", {}, IpamSpec("")))
    given = {"owner": "cni/test", "state": "ready", "epoch": "epoch", "netns_inode": ENDED, **more}
    return EndpointRecord(endpoint_id, "net", "c" * 64, "eth0", "bridge", options, **given)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    namespaces = MemoryNamespaces()
    namespaces.running.add(RUNS)
    return memory_host(tmp_path, namespaces)


class Port:
    """Taken by OLD until it was asked for so many times."""

    def __init__(self, free_after: int) -> None:
        self.free_after, self.asked = free_after, 0

    def publish(self) -> str:
        self.asked += 1
        if self.asked > self.free_after:
            return "published"
        raise taken()


def taken() -> PortTaken:
    return PortTaken("the host port 8080/tcp is already published by net/old/eth0", holder=OLD[:12])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"pod": POD, "netns_inode": RUNS}, {"pod": POD._replace(uid="2")}),
        ({"pod": POD, "owner": "cni/other", "netns_inode": RUNS}, {"pod": POD._replace(uid="2")}),
        ({"pod": POD}, {"pod": POD}),
        ({"pod": POD}, {"pod": Pod("web-5d9c", "shop", "2")}),
        ({}, {}),
    ],
)
def test_one_that_leaves_is_waited_for(host: Host, old: dict[str, Any], new: dict[str, Any]) -> None:
    """A pod of that name with another uid, or one of the same owner in which nothing runs."""
    host.store.put(ENDPOINTS, OLD, record(OLD, **old).to_json())
    assert leaving_holder.wait(host, record(NEW, **new), taken(), Port(0).publish) == "published"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"pod": POD, "netns_inode": RUNS}, {"pod": POD}),
        ({"pod": POD, "netns_inode": RUNS}, {"pod": Pod("web-5d9c", "shop", "2")}),
        ({"pod": POD, "netns_inode": RUNS}, {"pod": Pod("web-0", "garden", "2")}),
        ({"pod": POD, "netns_inode": RUNS}, {}),
        ({"netns_inode": RUNS}, {}),
        ({"netns_inode": 0}, {}),
        ({"owner": "cni/other"}, {}),
        ({"owner": "library"}, {"owner": "library"}),
        ({"owner": "docker", "docker_network": "d" * 64}, {"owner": "docker"}),
    ],
)
def test_one_that_stays_is_not(host: Host, old: dict[str, Any], new: dict[str, Any]) -> None:
    """The first refusal is passed on, and the port is not asked for again."""
    host.store.put(ENDPOINTS, OLD, record(OLD, **old).to_json())
    port = Port(0)
    with pytest.raises(PortTaken, match="net/old/eth0"):
        leaving_holder.wait(host, record(NEW, **new), taken(), port.publish)
    assert port.asked == 0


def test_a_holder_without_a_record_has_left(host: Host) -> None:
    """It left between the refusal and the look at its record."""
    assert leaving_holder.wait(host, record(NEW), taken(), Port(0).publish) == "published"


def test_the_limit(host: Host) -> None:
    """Asked for at once and no more after the limit; the place in the process is free again."""
    settings = host.settings._replace(port_wait=0)
    host.settings = settings
    host.store.put(ENDPOINTS, OLD, record(OLD).to_json())
    for _ in range(leaving_holder._WAITING_MAX + 1):
        port = Port(1)
        with pytest.raises(PortTaken):
            leaving_holder.wait(host, record(NEW), taken(), port.publish)
        assert port.asked == 1


def test_a_process_that_waits_often_enough_waits_no_more(host: Host) -> None:
    """Threads stay free for the DELs that are waited for."""
    port = Port(0)
    for place in leaving_holder._waiting:
        place.acquire()
    try:
        with pytest.raises(PortTaken):
            leaving_holder.wait(host, record(NEW), taken(), port.publish)
    finally:
        for place in leaving_holder._waiting:
            place.release()
    assert port.asked == 0
