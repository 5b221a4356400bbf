"""What every Stack promises about links on other links: macvlan, ipvlan, 802.1Q."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.kernel import Link, Stack
from tests.contract.conftest import World
from tests.memory_kernel.namespaces import MemoryNamespaces

MAC = "02:00:00:00:00:31"


def there(stack: Stack, name: str) -> Link:
    link = stack.link(name)
    assert link is not None
    return link


def refused(number: int, act: Callable[[], None]) -> None:
    with pytest.raises(KernelError) as error:
        act()
    assert error.value.errno == number


@pytest.mark.parametrize("mode", ["bridge", "private", "vepa", "passthru"])
def test_macvlan_is_born_in_the_other_namespace(world: World, mode: str) -> None:
    """The link is in its place at once, down, with its name, mode and parent; passthru has the parent's MAC."""
    parent, _ = world.pair()
    world.host.add_macvlan("mv0", parent.ifindex, mode=mode, to=world.container, mac=MAC, mtu=1400)
    link = there(world.container, "mv0")
    mac = parent.mac if mode == "passthru" else MAC
    assert (link.kind, link.mode, link.mac, link.mtu, link.up) == ("macvlan", mode, mac, 1400, False)
    assert link.peer == parent.ifindex
    assert world.host.link("mv0") is None


def test_macvlan_takes_the_parents_mtu_and_a_mac(world: World) -> None:
    """Nothing given: the parent's MTU, and a MAC of its own that is valid; the queue's length is no obstacle."""
    parent, _ = world.pair()
    world.host.set_link(parent.ifindex, mtu=1300)
    world.host.add_macvlan("mv0", parent.ifindex, mode="bridge", to=world.host, bc_queue=500)
    link = there(world.host, "mv0")
    assert link.mtu == 1300
    assert link.mac != parent.mac
    assert not int(link.mac[:2], 16) & 1


def test_macvlan_refusals_leave_nothing(world: World) -> None:
    """A missing parent, lo, a bridge's port, an MTU above the parent's, a taken name: nothing is made."""
    bridge = world.bridge()
    parent, _ = world.pair()
    world.container.add_bridge("taken", mac="02:00:00:00:00:09")
    world.host.add_veth("port", peer="other", peer_stack=world.host, master=bridge.ifindex)

    def add(index: int, name: str = "mv0", mtu: int = 0) -> Callable[[], None]:
        return lambda: world.host.add_macvlan(name, index, mode="bridge", to=world.container, mtu=mtu)

    refused(errno.ENODEV, add(999))
    refused(errno.EINVAL, add(1))
    refused(errno.EBUSY, add(there(world.host, "port").ifindex))
    refused(errno.EINVAL, add(parent.ifindex, mtu=9000))
    refused(errno.EEXIST, add(parent.ifindex, name="taken"))
    assert {link.name for link in world.container.links()} == {"lo", "eth0", "taken"}


@pytest.mark.parametrize(
    ("first", "second"), [("passthru", "bridge"), ("bridge", "passthru"), ("passthru", "passthru")]
)
def test_passthru_is_alone_on_its_parent(world: World, first: str, second: str) -> None:
    """Whichever comes first; when it goes there is room for the other."""
    parent, _ = world.pair()
    world.host.add_macvlan("mv0", parent.ifindex, mode=first, to=world.container)
    refused(errno.EINVAL, lambda: world.host.add_macvlan("mv1", parent.ifindex, mode=second, to=world.container))
    assert world.container.link("mv1") is None
    world.container.delete_link(there(world.container, "mv0").ifindex)
    world.host.add_macvlan("mv1", parent.ifindex, mode=second, to=world.container)
    assert there(world.container, "mv1").mode == second


def test_macvlans_go_with_their_parent(world: World) -> None:
    """Deleting the parent deletes what is on it, wherever that is."""
    parent, _ = world.pair()
    world.host.add_macvlan("mv0", parent.ifindex, mode="bridge", to=world.container)
    world.host.add_macvlan("mv1", parent.ifindex, mode="private", to=world.host)
    world.host.delete_link(parent.ifindex)
    assert world.container.link("mv0") is None
    assert world.host.link("mv1") is None


def test_macvlans_shrink_with_their_parent(world: World) -> None:
    """A parent's smaller MTU is theirs too."""
    parent, _ = world.pair()
    world.host.add_macvlan("mv0", parent.ifindex, mode="bridge", to=world.container)
    world.host.set_link(parent.ifindex, mtu=1280)
    assert there(world.container, "mv0").mtu == 1280


def test_macvlan_may_stand_on_an_ifb(world: World) -> None:
    """An ifb drops what is not redirected to it: a parent for links that reach only each other."""
    world.host.add_ifb("dm-test")
    world.host.add_macvlan("mv0", there(world.host, "dm-test").ifindex, mode="bridge", to=world.container)
    world.container.set_link(there(world.container, "mv0").ifindex, up=True)
    assert there(world.container, "mv0").up


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
@pytest.mark.parametrize("flag", ["bridge", "private", "vepa"])
def test_ipvlan_has_its_parents_mac(world: World, mode: str, flag: str) -> None:
    """Mode and flag as given, the parent's MAC and MTU; the last one's mode is that of all on the parent."""
    parent, _ = world.pair()
    try:
        world.host.add_ipvlan("iv0", parent.ifindex, mode=mode, flag=flag, to=world.container)
    except KernelFeatureMissing as error:
        pytest.skip(str(error))
    link = there(world.container, "iv0")
    assert (link.kind, link.mode, link.flag, link.mac) == ("ipvlan", mode, flag, parent.mac)
    assert (link.mtu, link.peer, link.up) == (parent.mtu, parent.ifindex, False)
    refused(errno.EBUSY, lambda: world.host.add_macvlan("mv0", parent.ifindex, mode="bridge", to=world.container))
    world.host.add_ipvlan("iv1", parent.ifindex, mode="l2", flag="bridge", to=world.host)
    assert there(world.container, "iv0").mode == "l2"


def test_vlan_link_is_of_one_parent(world: World) -> None:
    """The sub-interface is beside its parent, down, and goes with it; each VLAN once."""
    parent, _ = world.pair()
    try:
        world.host.add_vlan_link("veth0.5", parent.ifindex, 5)
    except KernelFeatureMissing as error:
        pytest.skip(str(error))
    link = there(world.host, "veth0.5")
    assert (link.kind, link.peer, link.mtu, link.mac, link.up) == (
        "vlan",
        parent.ifindex,
        parent.mtu,
        parent.mac,
        False,
    )
    refused(errno.EEXIST, lambda: world.host.add_vlan_link("other", parent.ifindex, 5))
    refused(errno.EEXIST, lambda: world.host.add_vlan_link("veth0.5", parent.ifindex, 6))
    world.host.add_macvlan("mv0", link.ifindex, mode="bridge", to=world.container)
    world.host.delete_link(parent.ifindex)
    assert world.host.link("veth0.5") is None
    assert world.container.link("mv0") is None


@pytest.mark.parametrize("kind", ["ipvlan", "vlan"])
def test_missing_drivers_are_named(world: World, kind: str) -> None:
    """A kernel without the driver: the error names it and how it is loaded, and nothing is made."""
    host, container = world.host, world.container
    if isinstance(world.namespaces, MemoryNamespaces):
        without = MemoryNamespaces(missing=(kind,))
        host, container = without.host(), without.create("/netns/c")
    host.add_bridge("br0", mac=MAC)
    parent = there(host, "br0").ifindex

    def add() -> None:
        if kind == "ipvlan":
            host.add_ipvlan("x0", parent, mode="l2", to=container)
        else:
            host.add_vlan_link("x0", parent, 5)

    error = _missing(add)
    if error is None:
        pytest.skip(f"this kernel has the {kind} driver")
    assert f"no {kind} driver" in error.msg
    assert "modprobe" in error.hint
    assert host.link("x0") is None
    assert container.link("x0") is None


def _missing(act: Callable[[], None]) -> KernelFeatureMissing | None:
    try:
        act()
    except KernelFeatureMissing as error:
        return error
    return None
