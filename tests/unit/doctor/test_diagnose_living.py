"""Containers that live, start or end while the host is looked at: no command removes their parts."""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import ip_interface
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cni_cnm.cnm.endpoint import locked_endpoint
from cni_cnm.cnm.packet_filter import ownerless_elements
from cni_cnm.cnm.records import endpoint_records
from cni_cnm.doctor import picture as picture_module
from cni_cnm.doctor.checks import firewalls, leases
from cni_cnm.doctor.checks import records as check_of_records
from cni_cnm.doctor.diagnose import diagnose
from cni_cnm.doctor.finding import Finding
from cni_cnm.doctor.picture import Picture
from cni_cnm.kernel.contract.filter_rules import BaseChain
from cni_cnm.model import IpamSpec, NetworkSpec, PortMapping
from cni_cnm.state.store import ENDPOINTS, NETWORKS
from tests.unit.drivers.world import World

CHECKS = ("overlaps", "networks", "bridges", "packet_filter", "leases", "links", "records", "endpoints", "duplicates",
          "inside")  # fmt: skip
IPAM = IpamSpec("host-local", {"subnet": "10.9.0.0/24"})
BRIDGE = NetworkSpec("net", "bridge", {"profile": "cnm", "labels": {"com.docker.network.bridge.name": "br9"}}, IPAM)
MACVLAN = NetworkSpec("net", "macvlan", {"labels": {"parent": "eth0"}}, IPAM)
BOTH = pytest.mark.parametrize("network", [BRIDGE, MACVLAN], ids=["bridge", "macvlan"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def found(world: World, *checks: str, meanwhile: Callable[[], object] = lambda: None) -> list[Finding]:
    """`meanwhile`: between the reading of the records and that of everything else."""
    with Picture(world.engine) as picture:
        _ = picture.networks, picture.every_endpoint
        meanwhile()
        looked = diagnose(picture, checks or CHECKS)
    assert [one for _, one in looked.unchecked if one.what == "the rest of this check"] == []
    return [finding for _, finding in looked.findings]


def place(world: World, container: str) -> Path:
    [record] = [one for one in endpoint_records(world.engine.store) if one.container_id == container]
    return Path(world.engine.store.place(ENDPOINTS, record.id))


@BOTH
def test_a_namespace_that_a_process_keeps_is_not_gone(world: World, network: NetworkSpec) -> None:
    world.attach(network, "a")
    world.namespaces.move("/netns/a", "/netns/elsewhere")
    assert found(world, "records") == []


def test_fix_looks_again_whether_the_namespace_is_gone(world: World) -> None:
    world.attach(MACVLAN, "a")
    world.containers["a"] = world.namespaces.create("/netns/other")
    world.namespaces.move("/netns/a", "/netns/elsewhere")
    [record] = endpoint_records(world.engine.store)
    finding = Finding("", "", (), safe=True, key=f"gone {record.id}")
    assert check_of_records.fix(world.engine, finding) == ""
    world.namespaces.remove("/netns/elsewhere")
    assert [one.key for one in found(world, "records")] == [finding.key]
    assert check_of_records.fix(world.engine, finding) == "removed"
    assert list(endpoint_records(world.engine.store)) == []


@BOTH
def test_a_container_that_starts(world: World, network: NetworkSpec) -> None:
    world.attach(network, "a")
    ports = (PortMapping("tcp", 8080, 80),) if network is BRIDGE else ()
    assert found(world, meanwhile=lambda: world.attach(network, "b", ports=ports)) == []


@BOTH
def test_a_container_that_ends(world: World, network: NetworkSpec) -> None:
    world.attach(network, "a")
    world.attach(network, "b", ports=(PortMapping("tcp", 8080, 80),) if network is BRIDGE else ())
    assert found(world, meanwhile=lambda: world.detach(network, "b")) == []


def test_a_container_whose_del_is_at_work(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its link is taken away before its record: as long as the endpoint is locked, that is no finding."""
    monkeypatch.setattr(picture_module, "_AT_WORK_S", 0.1)
    world.attach(BRIDGE, "a")
    [record] = endpoint_records(world.engine.store)
    world.host.set_link(world.link(record.host_ifname).ifindex, up=False)
    with locked_endpoint.lock(world.engine, record.id):
        assert found(world, "endpoints", "inside", "records") == []
    assert [one.about for one in found(world, "endpoints")] == [record.label]


@BOTH
@pytest.mark.parametrize("content", ["{", ""], ids=["damaged", "empty"])
def test_a_record_that_cannot_be_read_costs_nothing_of_its_container(
    world: World, network: NetworkSpec, content: str
) -> None:
    world.attach(network, "a")
    path = place(world, "a")
    path.write_text(content)
    [finding] = found(world)
    assert path.name in finding.what
    assert finding.commands == (f"cat {path}",)
    path.rename(f"{path}.damaged")
    commands = [command for one in found(world) if not one.safe for command in one.commands]
    assert [one for one in commands if not one.startswith("ip -details link show")] == []


def test_a_lost_record_of_a_network_takes_no_isolation_away(world: World) -> None:
    """Its elements have an owner as long as an endpoint of it is on record."""
    world.attach(BRIDGE, "a")
    path = Path(world.engine.store.place(NETWORKS, "net"))
    path.write_text("{")
    [finding] = [one for one in found(world, "records") if one.about == str(path)]
    assert finding.commands == (f"cat {path}",)
    os.unlink(path)
    assert ownerless_elements.find(world.engine) == set()
    [finding] = found(world)
    assert finding.what == "the network net has 1 endpoint, and no record"
    assert finding.commands == ("cni-cnm endpoint ls --network net",)
    world.detach(BRIDGE, "a")
    assert [one.key for one in found(world)] == ["ownerless"]


def test_the_host_keeps_its_address(world: World) -> None:
    world.attach(MACVLAN, "a")
    world.host.add_address(world.link("eth0").ifindex, ip_interface("10.9.0.2/24"))
    commands = [command for one in found(world, "duplicates", "overlaps") for command in one.commands]
    assert commands
    assert [one for one in commands if " show" not in one] == []


def test_a_lease_where_no_bridge_shows_its_container(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be that of a living container of the reference plugin."""
    world.attach(MACVLAN, "a")
    monkeypatch.setattr(leases, "_STARTS_S", -1.0)
    (world.folder / "leases" / "net" / "10.9.0.77").write_text("another\r\neth0")
    assert found(world, "leases") == []
    with Picture(world.engine) as picture:
        [(_, left)] = diagnose(picture, ["leases"]).unchecked
    assert "10.9.0.77" in left.reason


def test_a_firewall_of_bridges_stays_closed() -> None:
    network: Any = SimpleNamespace(policy=SimpleNamespace(bridge="br9"))
    chain = BaseChain(family="bridge", table="fw", name="f", hook=2, drops=True)
    assert firewalls._accept(network, chain) == ("nft list chain bridge fw f",)


def test_a_new_network_lacks_no_elements(world: World) -> None:
    """They are written with the first endpoint."""
    world.controller.new_network("fresh", ipam_config={"subnet": "10.5.0.0/24"})
    assert found(world, "packet_filter") == []
