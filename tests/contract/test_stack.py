"""What every Stack promises about links and batches."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from cni_cnm.errors import KernelError, KernelFeatureMissing, NamespaceGone
from cni_cnm.kernel import UNICAST_HAIRPIN_GROUP, Port, Vlan
from tests.contract.conftest import World
from tests.waiting import until

MAC, PEER_MAC = "02:00:00:00:00:02", "02:00:00:00:00:03"


def test_bridge_is_born_down_with_its_mac(world: World) -> None:
    """A bridge has the MAC and MTU it was given and is down; no other is kept under its name."""
    world.host.add_bridge("br0", mac="02:AA:00:00:00:01", mtu=1400)
    link = world.host.link("br0")
    assert link is not None
    assert (link.kind, link.mac, link.mtu, link.up, link.master) == (
        "bridge",
        "02:aa:00:00:00:01",
        1400,
        False,
        0,
    )
    assert not link.vlan_filtering
    assert not link.ip_hooks


def test_frames_inside_a_bridge_pass_the_packet_filter_of_ip(world: World) -> None:
    """As with bridge-nf-call-iptables 1, and for this bridge alone."""
    world.host.add_bridge("br0", mac=MAC, ip_hooks=True)
    world.host.add_bridge("br1", mac=PEER_MAC)
    links = [world.host.link(name) for name in ("br0", "br1")]
    assert [link.ip_hooks for link in links if link is not None] == [True, False]
    with pytest.raises(KernelError, match="br0") as error:
        world.host.add_bridge("br0", mac=MAC)
    assert error.value.errno == errno.EEXIST


def test_veth_is_born_in_its_two_places(world: World) -> None:
    """One request makes both ends, each with its name and MAC, down, the near one on its bridge."""
    bridge = world.bridge()
    made = world.host.add_veth(
        "veth0",
        peer="eth0",
        peer_stack=world.container,
        mtu=1400,
        mac=MAC,
        peer_mac=PEER_MAC,
        master=bridge.ifindex,
    )
    near, far = world.host.link("veth0"), world.container.link("eth0")
    assert near is not None
    assert made in (near, None)  # kernels before 6.2 do not tell
    assert far is not None
    assert (near.kind, near.mac, near.mtu, near.up, near.master) == ("veth", MAC, 1400, False, bridge.ifindex)
    assert (far.kind, far.mac, far.mtu, far.up, far.master) == ("veth", PEER_MAC, 1400, False, 0)
    assert (near.peer, far.peer) == (far.ifindex, near.ifindex)
    assert world.host.link("eth0") is None
    assert world.host.links(master=bridge.ifindex) == [near]


def test_a_veth_in_a_batch_is_not_known_before_its_end(world: World) -> None:
    """Nothing is given for it, and a name that is taken is an error of the batch."""
    with world.host.batch():
        assert world.host.add_veth("veth0", peer="eth0", peer_stack=world.container) is None
    assert world.host.link("veth0") is not None
    with pytest.raises(KernelError, match="veth0") as error:
        world.host.add_veth("veth0", peer="eth1", peer_stack=world.container)
    assert error.value.errno == errno.EEXIST


def test_veth_without_macs_gets_two(world: World) -> None:
    """Ends without a MAC get a valid one each."""
    near, far = world.pair()
    assert near.mac != far.mac
    assert all(not int(link.mac[:2], 16) & 1 for link in (near, far))


@pytest.mark.parametrize("taken", ["near", "far"])
def test_taken_name_makes_neither_end(world: World, taken: str) -> None:
    """EEXIST if either name is taken, and nothing of the pair stays."""
    (world.host if taken == "near" else world.container).add_bridge("same", mac=MAC)
    near, far = ("same", "other") if taken == "near" else ("other", "same")
    with pytest.raises(KernelError) as error:
        world.host.add_veth(near, peer=far, peer_stack=world.container)
    assert error.value.errno == errno.EEXIST
    assert world.host.link("other") is None
    assert world.container.link("other") is None


def test_index_of_a_link(world: World) -> None:
    """0 for a name that no link has, or can have."""
    near, _ = world.pair()
    assert world.host.index_of("veth0") == near.ifindex
    with world.host.batch():
        world.host.add_veth("n" * 15, peer="far", peer_stack=world.container)
        assert world.host.index_of("n" * 15)
    for name in ("absent", "n" * 16, "", "é\udcff"):
        assert world.host.index_of(name) == 0


def test_what_is_no_bridge_has_no_ports(world: World) -> None:
    world.pair()
    for name in ("veth0", "absent"):
        assert world.host.port_count(name) == 0


def test_bridge_takes_1023_ports(world: World) -> None:
    """The next port is refused with EXFULL, and nothing of its veth stays; one that goes makes room."""
    bridge = world.bridge()
    with world.host.batch():
        for n in range(511):
            world.host.add_veth(f"a{n}", peer=f"b{n}", peer_stack=world.host, master=bridge.ifindex)
        world.host.add_veth("a511", peer="b511", peer_stack=world.container, master=bridge.ifindex)
    with world.host.batch():
        for link in world.host.links():
            if link.name.startswith("b") and link.kind == "veth":
                world.host.set_link(link.ifindex, master=bridge.ifindex)
    assert len(world.host.links(master=bridge.ifindex)) == world.host.port_count(bridge.name) == 1023
    with pytest.raises(KernelError) as error:
        world.host.add_veth("more", peer="eth1", peer_stack=world.container, master=bridge.ifindex)
    assert error.value.errno == errno.EXFULL
    assert world.host.link("more") is None
    assert world.container.link("eth1") is None
    last = world.host.link("a511")
    assert last is not None
    world.host.set_link(last.ifindex, master=0)
    world.host.add_veth("more", peer="eth1", peer_stack=world.container, master=bridge.ifindex)


def test_deleting_one_end_deletes_the_other(world: World) -> None:
    """Whichever end is deleted, both are gone; deleting again is done already."""
    near, far = world.pair()
    world.container.delete_link(far.ifindex)
    assert world.host.link("veth0") is None
    assert world.container.link_at(far.ifindex) is None
    world.host.delete_link(near.ifindex)


def test_links_deleted_in_a_block_go_at_its_end(world: World) -> None:
    """All that can, whatever fails in the block or is gone meanwhile; what cannot go is raised, and stays as it was."""
    near, far = world.pair()
    bridge = world.bridge()
    with pytest.raises(KernelError) as error, world.host.deleting():  # noqa: PT012 - the whole block
        for index in (near.ifindex, 999, 1, bridge.ifindex):
            world.host.delete_link(index)
        assert world.host.link("veth0") is not None
        world.container.delete_link(far.ifindex)
    assert error.value.errno == errno.EOPNOTSUPP
    (loopback,) = world.host.links()
    assert (loopback.name, loopback.group) == ("lo", 0)
    world.bridge("br1")
    with pytest.raises(ValueError, match="in the block"), world.host.deleting():  # noqa: PT012 - the whole block
        world.host.delete_link(_index(world, "br1"))
        raise ValueError("in the block")
    assert world.host.link("br1") is None


def _index(world: World, name: str) -> int:
    link = world.host.link(name)
    assert link is not None
    return link.ifindex


def test_deleting_a_bridge_releases_its_ports(world: World) -> None:
    """The ports stay, without master."""
    bridge = world.bridge()
    near, _ = world.pair(master=bridge.ifindex)
    world.host.delete_link(bridge.ifindex)
    found = world.host.link_at(near.ifindex)
    assert found is not None
    assert found.master == 0


def test_set_link_changes_what_is_given(world: World) -> None:
    """Every attribute can be set in one request; the others stay as they are."""
    bridge = world.bridge()
    near, _ = world.pair(up=False)
    world.host.set_link(
        near.ifindex,
        up=True,
        name="other0",
        mac="02:00:00:00:00:09",
        mtu=1300,
        master=bridge.ifindex,
        promisc=True,
        allmulti=True,
        txqlen=77,
        group=5,
        alias="of a pod",
    )
    changed = world.host.link("other0")
    assert changed == near._replace(
        name="other0",
        mac="02:00:00:00:00:09",
        mtu=1300,
        up=True,
        master=bridge.ifindex,
        promisc=True,
        allmulti=True,
        txqlen=77,
        group=5,
        alias="of a pod",
    )
    assert world.host.link("veth0") is None
    world.host.set_link(near.ifindex, master=0, promisc=False, allmulti=False, alias="")
    assert world.host.link("other0") == changed._replace(master=0, promisc=False, allmulti=False, alias="")


def test_unfit_values_are_refused(world: World) -> None:
    """A multicast MAC, a tiny MTU, a name with a slash, a master that is no bridge."""
    near, _ = world.pair()
    refused: list[tuple[int, Callable[[], None]]] = [
        (errno.EADDRNOTAVAIL, lambda: world.host.add_bridge("br1", mac="03:00:00:00:00:01")),
        (errno.EINVAL, lambda: world.host.add_bridge("br1", mac="no mac")),
        (errno.EINVAL, lambda: world.host.set_link(near.ifindex, mtu=10)),
        (errno.EINVAL, lambda: world.host.add_bridge("a/b", mac=MAC)),
        (errno.ERANGE, lambda: world.host.add_bridge("sixteen-letters-", mac=MAC)),
        (errno.EOPNOTSUPP, lambda: world.host.set_link(near.ifindex, master=1)),
        (errno.EINVAL, lambda: world.host.set_link(near.ifindex, master=999)),
        (errno.EEXIST, lambda: world.host.set_link(near.ifindex, name="lo")),
        (errno.ENODEV, lambda: world.host.set_link(999, up=True)),
    ]
    for number, act in refused:
        with pytest.raises(KernelError) as error:
            act()
        assert error.value.errno == number


def test_absent_links_are_none(world: World) -> None:
    """Looking for what is not there is no error."""
    assert world.host.link("absent") is None
    assert world.host.link("longer-than-a-name-can-be") is None
    assert world.host.link("") is None
    assert world.host.link_at(999) is None
    assert world.host.link_at(0) is None
    assert world.host.links(master=999) == []
    assert [link.name for link in world.host.links()] == ["lo"]


def test_moved_link_arrives_down_and_bare(world: World) -> None:
    """A move takes the link out of its bridge and its addresses off; a name can be given on the way."""
    bridge = world.bridge()
    near, far = world.pair(master=bridge.ifindex)
    world.host.move_link(near.ifindex, world.container, name="moved")
    assert world.host.link("veth0") is None
    moved = world.container.link("moved")
    assert moved is not None
    assert (moved.up, moved.master, moved.mac) == (False, 0, near.mac)
    assert moved.peer == far.ifindex
    with pytest.raises(KernelError) as error:
        world.container.move_link(moved.ifindex, world.host, name="br0")
    assert error.value.errno == errno.EEXIST
    assert world.container.link("moved") is not None
    assert [link.name for link in world.host.links()] == ["lo", "br0"]


def test_cookie(world: World) -> None:
    """Of one namespace it is the same, by whatever path; of two it differs."""
    path = world.make("other")
    with world.namespaces.open(path) as other, world.namespaces.open(path) as again:
        assert other.cookie() == again.cookie() != 0
        assert len({stack.cookie() for stack in (world.host, world.container, other)}) == 3


def test_links_of_a_kind(world: World) -> None:
    """Only those are listed, whatever else there is."""
    world.host.add_bridge("br0", mac="02:00:00:00:00:01")
    world.host.add_veth("a", peer="b", peer_stack=world.host)
    world.host.add_bridge("br1", mac="02:00:00:00:00:02")
    assert {link.name for link in world.host.links(kind="bridge")} == {"br0", "br1"}
    assert {link.name for link in world.host.links(kind="veth")} == {"a", "b"}
    assert [link.kind for link in world.host.links(kind="ifb")] == []


def test_port_state(world: World) -> None:
    """A port forwards once both of its ends are up; what is no port, or is not there, has no state."""
    bridge = world.bridge()
    near, far = world.pair(master=bridge.ifindex, up=False)
    world.host.set_link(near.ifindex, up=True)
    assert world.host.port_state("veth0") == "disabled"
    world.container.set_link(far.ifindex, up=True)
    until(lambda: world.host.port_state("veth0") == "forwarding", "it forwards")  # before Linux 6.8 this takes a moment
    assert world.host.port_state("br0") is world.host.port_state("nowhere") is None


def test_port_flags(world: World) -> None:
    """Hairpin and isolation of a bridge port can be set and read; what is no port is refused."""
    bridge = world.bridge()
    near, _ = world.pair(master=bridge.ifindex)
    assert world.host.port(near.ifindex) == Port()
    for port in (Port(hairpin=True), Port(isolated=True), Port(hairpin=True, isolated=True), Port()):
        world.host.set_port(near.ifindex, port)
        assert world.host.port(near.ifindex) == port
    world.host.set_port(near.ifindex, Port(hairpin=True), group=UNICAST_HAIRPIN_GROUP)
    assert (world.host.port(near.ifindex), world.host.link("veth0")) == (
        Port(hairpin=True),
        near._replace(group=UNICAST_HAIRPIN_GROUP, master=bridge.ifindex),
    )
    for act in (lambda: world.host.set_port(1, Port()), lambda: world.host.port(1)):
        with pytest.raises(KernelError) as error:
            act()
        assert error.value.errno == errno.EOPNOTSUPP
    with pytest.raises(KernelError) as error:
        world.host.port(999)
    assert error.value.errno == errno.ENODEV


def test_links_with_their_flags_as_ports(world: World) -> None:
    """One listing has every link; what is no port of a bridge has no flags."""
    bridge = world.bridge()
    near, _ = world.pair(master=bridge.ifindex)
    world.host.set_port(near.ifindex, Port(hairpin=True, isolated=True))
    found = {link.name: (link, port) for link, port in world.host.links_and_ports()}
    assert [link for link, _ in found.values()] == list(world.host.links())
    assert {name: port for name, (_, port) in found.items() if port} == {near.name: Port(True, True)}
    world.host.set_port(near.ifindex, Port(hairpin=True))
    ports = {link.ifindex: port for link, port in world.host.links_and_ports()}
    assert ports[near.ifindex] == Port(hairpin=True)


def test_batch_goes_out_at_its_end(world: World) -> None:
    """Writes of a batch happen together at its end."""
    with world.host.batch():
        world.host.add_bridge("br0", mac=MAC)
        world.host.add_bridge("br1", mac=PEER_MAC)
    assert {link.name for link in world.host.links()} == {"lo", "br0", "br1"}


def test_batch_tries_all_and_raises_the_first_failure(world: World) -> None:
    """Requests behind a failed one are tried; the first failure is the one raised."""
    with pytest.raises(KernelError, match="998") as error, world.host.batch():  # noqa: PT012 - the whole block
        world.host.add_bridge("br0", mac=MAC)
        world.host.set_link(998, up=True)
        world.host.set_link(999, up=True)
        world.host.add_bridge("br1", mac=PEER_MAC)
    assert error.value.errno == errno.ENODEV
    assert {link.name for link in world.host.links()} == {"lo", "br0", "br1"}


def test_reading_sends_a_batch_first(world: World) -> None:
    """A reading verb inside a batch sees what was queued, and raises its failure."""
    with world.host.batch():
        world.host.add_bridge("br0", mac=MAC)
        assert world.host.link("br0") is not None
        assert world.host.sysctl("net/ipv4/conf/br0/forwarding") is not None
        world.host.set_link(998, up=True)
        with pytest.raises(KernelError):
            world.host.links()
        world.host.set_link(1, mtu=1400)
    found = world.host.link("lo")
    assert found is not None
    assert found.mtu == 1400


def test_batch_left_by_an_exception_sends_nothing(world: World) -> None:
    """What is queued when the block fails is forgotten; the next batch starts empty."""
    with pytest.raises(ZeroDivisionError), world.host.batch():  # noqa: PT012 - the whole block
        world.host.add_bridge("br0", mac=MAC)
        raise ZeroDivisionError
    world.host.add_bridge("br1", mac=MAC)
    assert {link.name for link in world.host.links()} == {"lo", "br1"}


def test_nested_batches_end_with_the_outermost(world: World) -> None:
    """A failed inner batch forgets its own requests only; nothing is sent before the outer one ends."""
    with world.host.batch():
        world.host.set_link(998, up=True)
        with pytest.raises(ZeroDivisionError), world.host.batch():  # noqa: PT012 - the whole block
            world.host.add_bridge("br0", mac=MAC)
            raise ZeroDivisionError
        with pytest.raises(KernelError), world.host.batch():
            world.host.links()
        with world.host.batch():
            world.host.add_bridge("br1", mac=MAC)
    assert {link.name for link in world.host.links()} == {"lo", "br1"}


def test_missing_vlan_filtering_is_named(world: World) -> None:
    """Without the kernel's feature no filtering bridge stays behind, and the error names the feature."""
    bridge = world.bridge()
    near, _ = world.pair(master=bridge.ifindex)
    if world.host.vlans(near.ifindex):
        pytest.skip("this kernel has bridge VLAN filtering")
    with pytest.raises(KernelFeatureMissing, match="VLAN filtering"):
        world.host.add_bridge("br1", mac=MAC, vlan_filtering=True)
    assert world.host.link("br1") is None
    with pytest.raises(KernelFeatureMissing, match="VLAN filtering"):
        world.host.add_vlan(near.ifindex, Vlan(100))


def test_namespaces_have_identities(world: World) -> None:
    """The same namespace has one inode however often it is opened; another has another."""
    other = world.namespaces.open(world.make("other"))
    again = world.namespaces.host()
    assert again.inode() == world.host.inode()
    assert len({world.host.inode(), world.container.inode(), other.inode()}) == 3
    assert again.path == ""
    assert not world.namespaces.is_host(other.path)
    assert other.path.endswith("other")
    other.close()
    again.close()


@pytest.mark.parametrize("path", ["", "/nowhere/netns"])
def test_no_namespace_there(world: World, path: str) -> None:
    """An empty or missing path is NamespaceGone."""
    with pytest.raises(NamespaceGone):
        world.namespaces.open(path)
    with pytest.raises(NamespaceGone):
        world.namespaces.is_host(path)
