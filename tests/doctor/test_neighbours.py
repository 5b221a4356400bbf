"""What is beside this host: its service, the agent of its cluster, and other hosts by packets of a given size."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cni_cnm.cluster.status_file import AgentStatus, StoreStatus, write
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.doctor import echo
from cni_cnm.doctor.checks import cluster, conntrack, reach
from cni_cnm.doctor.finding import Finding
from cni_cnm.settings import SERVICE_SOCKET
from tests.doctor.world import World
from tests.waiting import until

SERVE = "import cni_cnm; cni_cnm.__version__ = {!r}; from cni_cnm.cli import run_command; run_command(['x', 'serve'])"


@pytest.mark.parametrize("version", ["0.2.0", "0.1.7"])
def test_the_version_of_the_service(world: World, version: str, tmp_path: Path) -> None:
    """One of this version is healthy. Another one declines each call of this program."""
    import cni_cnm

    version = cni_cnm.__version__ if version == "0.2.0" else version
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        service = subprocess.Popen([sys.executable, "-c", SERVE.format(version)], stderr=stderr)
    try:
        until(lambda: "answering on" in log.read_text(), "the service", said=log.read_text)
        found = world.findings("service")
        if version == cni_cnm.__version__:
            assert found == []
        else:
            assert "it is of another version" in found[0].what
            assert found[0].commands == ("ss -xlp",)  # it lives: its socket stays
            assert world.findings("service") == found
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(60)
        Path(SERVICE_SOCKET).unlink(missing_ok=True)


def of_cluster(run_dir: Path) -> list[Finding]:
    settings = SimpleNamespace(
        cluster=ClusterSettings("etcd", ("http://192.0.2.1:2379",)), run_dir=str(run_dir), state_dir="/s"
    )
    picture: Any = SimpleNamespace(settings=settings, networks=())
    return [one for one in cluster.look(picture) if isinstance(one, Finding)]


def test_the_agent_of_the_cluster(tmp_path: Path) -> None:
    """Without an agent, with a store that does not answer, and with another host of the same name."""
    (tmp_path / "cluster").mkdir()
    assert [one.what for one in of_cluster(tmp_path)] == ["the agent of the cluster does not run on this host"]
    status = AgentStatus(pid=os.getpid(), host="node1", store=StoreStatus("etcd at http://192.0.2.1:2379", True))
    write(str(tmp_path), status)
    assert of_cluster(tmp_path) == []
    write(str(tmp_path), status._replace(store=status.store._replace(reachable=False, why="timed out")))
    assert [one.what for one in of_cluster(tmp_path)] == ["etcd at http://192.0.2.1:2379 does not answer: timed out"]
    write(str(tmp_path), status._replace(conflict="another host is called node1"))
    [finding] = of_cluster(tmp_path)
    assert (finding.what, finding.commands) == ("another host is called node1", ("cni-cnm node rm node1",))
    write(str(tmp_path), status._replace(conflict="one disk is a copy of the other's"))
    assert of_cluster(tmp_path)[0].commands[0] == "rm -r /s/cluster"


def test_a_store_without_endpoints(tmp_path: Path) -> None:
    """The API of Kubernetes has none in the settings: the agent's kubeconfig or service account says where it is."""
    (tmp_path / "cluster").mkdir()
    write(str(tmp_path), AgentStatus(os.getpid(), store=StoreStatus("the Kubernetes API", False, 0.0, "timed out")))
    settings = SimpleNamespace(cluster=ClusterSettings("kubernetes"), run_dir=str(tmp_path), state_dir="/s")
    picture: Any = SimpleNamespace(settings=settings, networks=())
    [finding] = cluster.look(picture)
    assert isinstance(finding, Finding)
    assert finding.commands == ("cni-cnm node ls",)


def test_a_store_that_does_not_answer(tmp_path: Path) -> None:
    """The agent's reason says it, too: it is said once."""
    (tmp_path / "cluster").mkdir()
    name, url = "etcd at http://192.0.2.1:2379", "http://192.0.2.1:2379"
    why = f"etcd does not answer: {url}: Network is unreachable"
    write(str(tmp_path), AgentStatus(os.getpid(), store=StoreStatus(name, False, 0.0, why)))
    settings = SimpleNamespace(cluster=ClusterSettings("etcd", (url,)), run_dir=str(tmp_path), state_dir="/s")
    picture: Any = SimpleNamespace(settings=settings, networks=())
    [finding] = cluster.look(picture)
    assert isinstance(finding, Finding)
    assert finding.what == f"{name} does not answer: {url}: Network is unreachable"


def test_an_overlay_network_stays_without_settings_of_a_cluster(tmp_path: Path) -> None:
    """Settings that were lost are no reason to remove a network."""
    network = SimpleNamespace(name="pods", driver="overlay")
    picture: Any = SimpleNamespace(settings=SimpleNamespace(cluster=None), networks=(network,))
    [finding] = cluster.look(picture)
    assert isinstance(finding, Finding)
    assert finding.commands == ("cni-cnm network inspect pods",)


def test_a_table_of_connections_that_is_nearly_full() -> None:
    """Its size is the machine's, so a test cannot make it small: the values are given."""
    values = {"net/netfilter/nf_conntrack_count": "236000", "net/netfilter/nf_conntrack_max": "262144"}
    picture: Any = SimpleNamespace(stack=SimpleNamespace(sysctl=values.get))
    [finding] = conntrack.look(picture)
    assert finding.what == "the kernel tracks 236000 connections of at most 262144"
    assert finding.commands == ("sysctl -w net/netfilter/nf_conntrack_max=524288",)
    values["net/netfilter/nf_conntrack_count"] = "2000"
    assert list(conntrack.look(picture)) == []


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.quick("4")
def test_packets_that_are_too_large_for_the_way(world: World, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other host's link takes 1400 bytes, the way here 1500: what fits is found, and is what the command sets."""
    address = ip_address("198.51.100.2" if version == 4 else "2001:db8:1::2")
    world.ip(f"link add wan0 type veth peer name wan1 netns {world.netns['far']}")
    world.ip("link set wan0 up")
    near, far = ("198.51.100.1/24", "198.51.100.2/24") if version == 4 else ("2001:db8:1::1/64", "2001:db8:1::2/64")
    extra = "" if version == 4 else " nodad"
    world.ip(f"addr add {near} dev wan0{extra}")
    world.inside("far", f"addr add {far} dev wan1{extra}")
    world.inside("far", "link set wan1 up")
    monkeypatch.setattr(echo, "TRIES", 1)  # the other host is on this machine: no packet is lost by chance
    monkeypatch.setattr(echo, "SEARCH_S", 0.8)
    overhead = 50 if version == 4 else 70
    try:
        until(lambda: echo.reaches(address, 1280), "the other host")
        assert list(reach._host("node2", address, [("vx0", 1500 - overhead)], 1500)) == []
        world.inside("far", "link set wan1 mtu 1400")
        [finding] = reach._host("node2", address, [("vx0", 1500 - overhead)], 1500)
        assert finding.what.startswith("packets of 1500 bytes do not reach the host node2")
        [command] = finding.commands
        fits = int(command.removeprefix("ip link set dev vx0 mtu "))
        assert 0 <= fits - (1400 - overhead) <= 4  # a veth takes a VLAN's four bytes more
        assert list(reach._host("node2", address, [("vx0", fits)], 1500)) == []
        world.inside("far", "link set wan1 down")
        assert not echo.reaches(address, 1280)
        [finding] = reach._host("node2", address, [], 1500)
        assert finding.what == f"the host node2 does not answer at {address}"
    finally:
        world.ip("link del wan0")
