"""STATUS and CHECK of overlay networks: what the agent says, what the kernel has, which blocks are this host's."""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from cni_cnm.cluster import status_file
from cni_cnm.cluster.status_file import AgentStatus, NetworkStatus, StoreStatus
from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.network import grow_overlay
from cni_cnm.errors import CheckFailed, NotReady
from cni_cnm.kernel.contract.overlay_stack import Vxlan
from cni_cnm.model import EndpointSpec
from tests.cluster.hosts import ClusterWorld, overlay
from tests.cluster.memory_directory import MemoryStore

STORE = StoreStatus("etcd at http://192.0.2.1:2379", reachable=True)


@pytest.fixture
def host(tmp_path: Path) -> ClusterWorld:
    return ClusterWorld(tmp_path, MemoryStore(), "node1")


def status(host: ClusterWorld) -> list[str]:
    return [*host.controller.status(overlay("web", "10.32.0.0/16"), exhausted_is_error=False)]


def say(
    host: ClusterWorld, network: NetworkStatus | None = None, *, conflict: str = "", store: StoreStatus = STORE
) -> None:
    """What the agent writes; by default that all is well."""
    ready = network or NetworkStatus(overlay_record.network_of(host.record()).id, ready=True)
    made = AgentStatus(os.getpid(), "node1", store=store, conflict=conflict, networks={"web": ready})
    (host.folder / "run/cluster").mkdir(parents=True, exist_ok=True)
    status_file.write(host.engine.settings.run_dir, made)


def device(host: ClusterWorld) -> str:
    name = host.record().policy.outside
    stack = host.namespaces.overlay()
    stack.add_vxlan(name, Vxlan(4096, 4799, ip_address("192.0.2.11")))
    host.host.set_link(host.link(name).ifindex, up=True)
    return name


def test_status_joins_and_waits_for_the_data_path(host: ClusterWorld) -> None:
    """A node is ready before its first pod: with a block, and a way to other hosts."""
    with pytest.raises(NotReady, match="no data path, and no agent runs"):
        status(host)
    assert len(host.blocks()) == 1
    say(host)
    assert status(host) == []


def test_without_an_agent(host: ClusterWorld) -> None:
    host.add("a", overlay("web", "10.32.0.0/16"))
    device(host)
    assert status(host) == ["no agent of the cluster runs on this host: what other hosts change is not followed"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda host: say(host, conflict="another host is called node1"), "another host is called node1"),
        (lambda host: say(host, NetworkStatus("f" * 32, ready=True)), "not made the data path of the network web"),
        (lambda host: say(host, NetworkStatus(_id(host), why="no underlay")), "web has no data path: no underlay"),
        (lambda host: _lose(host), r"other hosts have this host's blocks of the network web now: .* \(node2\)"),
    ],
)  # fmt: skip
def test_reasons_of_50(host: ClusterWorld, change: Callable[[ClusterWorld], None], said: str) -> None:
    host.add("a", overlay("web", "10.32.0.0/16"))
    say(host)
    assert status(host) == []
    change(host)
    with pytest.raises(NotReady, match=said):
        status(host)


def test_a_store_that_is_away_is_a_warning(host: ClusterWorld) -> None:
    """The node's pods go on, and further ones start."""
    host.add("a", overlay("web", "10.32.0.0/16"))
    say(host, store=STORE._replace(reachable=False, why="timed out"))
    [warning] = status(host)
    assert "etcd at http://192.0.2.1:2379 does not answer (timed out)" in warning


def test_status_of_a_store_that_is_away_from_the_beginning(host: ClusterWorld) -> None:
    host.cluster.reachable = False
    with pytest.raises(NotReady, match="has no block of the network web: memory does not answer"):
        status(host)


def test_check_wants_the_device(host: ClusterWorld) -> None:
    host.add("a", overlay("web", "10.32.0.0/16"))
    spec = EndpointSpec("a", "eth0", "/netns/a", "test")
    with pytest.raises(CheckFailed, match=r"the VXLAN device cnm-vx4096, .*, is missing"):
        host.controller.check(overlay(), spec, None)
    name = device(host)
    assert host.controller.check(overlay(), spec, None) == []
    host.host.set_link(host.link(name).ifindex, up=False)
    with pytest.raises(CheckFailed, match=f"{name} is down"):
        host.controller.check(overlay(), spec, None)


def test_check_names_the_holder_of_a_lost_block(host: ClusterWorld) -> None:
    """The container runs on, so it is a warning."""
    host.add("a", overlay("web", "10.32.0.0/16"))
    device(host)
    _lose(host)
    [warning] = host.controller.check(overlay(), EndpointSpec("a", "eth0", "/netns/a", "test"), None)
    assert "which node2 has now" in warning


def _id(host: ClusterWorld) -> str:
    return overlay_record.network_of(host.record()).id


def _lose(host: ClusterWorld) -> None:
    for block in host.blocks():
        grow_overlay.mark_lost(host.engine, "web", ip_network(block), "node2")
