"""Tuning and bandwidth limits of an endpoint: set, checked, removed and undone, on the kernel in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.cnm.endpoint import interface_tuning
from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
from cni_cnm.cnm.interface import shaping
from cni_cnm.cnm.records import EndpointRecord, load_endpoint
from cni_cnm.cnm.rollback import ErrorList, Rollback
from cni_cnm.drivers import drivers
from cni_cnm.errors import CheckFailed, InvalidConfig
from cni_cnm.model import Bandwidth, Device, Interface, IpamSpec, NetworkSpec, Tuning
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces

NETNS = "/netns/c1"
ID = "a" * 64
IFB = shaping.ifb_name(ID)
BANDWIDTH = Bandwidth(1_000_000, 100_000, 2_000_000, 100_000)
TUNING = Tuning((("net/ipv4/conf/eth0/arp_ignore", "1"),), mtu=1400, txqlen=500)
DEVICE = Device(Interface("eth0", "", 1500, NETNS), (Interface("br0"), Interface("veth0")))


class World:
    """A host with veth0 into a container, whose eth0 it is, and the endpoint's record."""

    def __init__(self, folder: Path) -> None:
        self.namespaces = MemoryNamespaces()
        self.stack = self.namespaces.create(NETNS)
        self.namespaces.host().add_veth("veth0", peer="eth0", peer_stack=self.stack)
        self.host = memory_host(folder, self.namespaces)

    def endpoint(self, bandwidth: Bandwidth | None = None, tuning: Tuning | None = None) -> LockedEndpoint:
        options = drivers.get("bridge").options(NetworkSpec("net", "bridge", {}, IpamSpec("")))
        record = EndpointRecord(
            ID, "net", "b" * 64, "eth0", "bridge", options, "test", "pending", "epoch", ("c1", "eth0"), "c1",
            ifname="eth0", netns=NETNS, netns_inode=self.stack.inode(), bandwidth=bandwidth, tuning=tuning,
        )  # fmt: skip
        return LockedEndpoint(self.host, record)

    def apply(
        self, endpoint: LockedEndpoint, device: Device = DEVICE, *, then: type[Exception] | None = None
    ) -> Device:
        """As an attach does it. `then`: the attach fails afterwards, and is undone."""
        with Rollback() as undo:
            changed = interface_tuning.apply(endpoint, device, self.stack, undo)
            endpoint.record = endpoint.record._replace(device=changed)
            if then is not None:
                raise then
        return changed

    def remove(self, endpoint: LockedEndpoint, *, link_stays: bool) -> None:
        gathered = ErrorList()
        interface_tuning.remove(endpoint, gathered, link_stays=link_stays)
        assert gathered.errors == []

    def shown(self) -> tuple[int, int, str | None, bool, bool]:
        """MTU, queue length and sysctl of eth0; whether veth0 is limited, and whether there is an ifb."""
        link, port = self.stack.link("eth0"), self.host.stack.link("veth0")
        assert link is not None
        assert port is not None
        limited = self.host.stack.rate(port.ifindex) is not None
        return (
            link.mtu,
            link.txqlen,
            self.stack.sysctl("net/ipv4/conf/eth0/arp_ignore"),
            limited,
            self.host.stack.link(IFB) is not None,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_both_are_applied_checked_and_taken_back(world: World) -> None:
    """On an interface that stays, every value is what it was before."""
    before = world.shown()
    endpoint = world.endpoint(BANDWIDTH, TUNING)
    device = world.apply(endpoint)
    assert (device.container.mtu, [extra.name for extra in device.extra]) == (1400, [IFB])
    assert world.shown() == (1400, 500, "1", True, True)
    interface_tuning.check(endpoint.record, world.stack, world.host.stack, "")
    world.remove(endpoint, link_stays=True)
    assert world.shown() == before


def test_what_was_there_before_is_recorded_before_anything_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process killed in the middle leaves a record that says how to go back."""
    endpoint = world.endpoint(tuning=TUNING)
    monkeypatch.setattr(type(world.stack), "set_sysctls", lambda *_: pytest.fail("reached"))
    with pytest.raises(pytest.fail.Exception):
        world.apply(endpoint)
    stored = load_endpoint(world.host.store, ID)
    assert stored is not None
    assert stored.tuning_before is not None
    assert (stored.tuning_before.mtu, stored.device) == (1500, DEVICE)


def test_a_failed_attach_is_undone(world: World) -> None:
    """Whatever failed after it: limits and values are taken back."""
    before = world.shown()
    with pytest.raises(ZeroDivisionError):
        world.apply(world.endpoint(BANDWIDTH, TUNING), then=ZeroDivisionError)
    assert world.shown() == before


def test_on_an_interface_of_our_own_only_the_ifb_is_removed(world: World) -> None:
    """The rest disappears with the interface, which is deleted next."""
    endpoint = world.endpoint(BANDWIDTH, TUNING)
    world.apply(endpoint)
    world.remove(endpoint, link_stays=False)
    assert world.shown() == (1400, 500, "1", True, False)


def test_another_namespace_at_the_path_is_not_touched(world: World) -> None:
    """A namespace that was made again has another inode; one that is gone is no error."""
    endpoint = world.endpoint(tuning=TUNING)
    world.apply(endpoint)
    world.stack = world.namespaces.create(NETNS)
    world.host.stack.add_veth("veth0", peer="eth0", peer_stack=world.stack)
    world.remove(endpoint, link_stays=True)
    assert world.shown()[1] != 500
    untouched = world.shown()
    world.namespaces.remove(NETNS)
    world.remove(endpoint, link_stays=True)
    assert untouched[0] == 1500


def test_bandwidth_needs_a_link_on_the_host(world: World) -> None:
    """Refused before anything is recorded."""
    with pytest.raises(InvalidConfig, match="eth0 has no link on the host"):
        world.apply(world.endpoint(BANDWIDTH), DEVICE._replace(host=()))
    assert load_endpoint(world.host.store, ID) is None


def test_check_names_the_difference(world: World) -> None:
    """A value, then a limit."""
    endpoint = world.endpoint(BANDWIDTH, TUNING)
    world.apply(endpoint)
    link = world.stack.link("eth0")
    assert link is not None
    world.stack.set_link(link.ifindex, mtu=1300)
    with pytest.raises(CheckFailed, match="eth0 has mtu 1300, it was given 1400"):
        interface_tuning.check(endpoint.record, world.stack, world.host.stack, "")
    world.stack.set_link(link.ifindex, mtu=1400)
    shaping.remove(world.host.stack, IFB)
    with pytest.raises(CheckFailed, match=f"the ifb {IFB}, which limits the ingress of veth0, is missing"):
        interface_tuning.check(endpoint.record, world.stack, world.host.stack, "")
