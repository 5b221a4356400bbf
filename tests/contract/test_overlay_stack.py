"""What every OverlayStack promises about VXLAN devices, neighbours, forwarding entries and the agent's routes."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from cni_cnm.errors import KernelError
from cni_cnm.kernel import Link, RouteEntry
from cni_cnm.kernel.contract.overlay_stack import FdbEntry, Neighbour, OverlayStack, Vxlan
from cni_cnm.kernel.contract.route import CLUSTER
from cni_cnm.kernel.overlay_stack import KernelOverlayStack
from cni_cnm.kernel.setns import own_fd
from tests.memory_kernel.namespaces import MemoryNamespaces

MAC, OTHER = "02:00:00:00:00:41", "02:00:00:00:00:42"
LOCAL = {4: ip_address("192.0.2.1"), 6: ip_address("2001:db8::1")}
FAR = {4: ip_address("192.0.2.2"), 6: ip_address("2001:db8::2")}
NEXT = {4: ip_address("10.32.1.0"), 6: ip_address("fd32:0:0:1::")}
BLOCK = {4: ip_network("10.32.1.0/24"), 6: ip_network("fd32:0:0:1::/64")}


@pytest.fixture(params=["memory", "kernel"])
def stack(request: pytest.FixtureRequest) -> Iterator[OverlayStack]:
    """A fresh host, in memory or of the kernel."""
    if request.param == "memory":
        yield MemoryNamespaces().overlay()
        return
    request.getfixturevalue("host")
    made = KernelOverlayStack(own_fd(), "")
    yield made
    made.close()


def device(stack: OverlayStack, version: int = 4, *, up: bool = True) -> Link:
    """A VXLAN device over an underlay of this IP version."""
    stack.add_vxlan("vx0", Vxlan(4096, 4799, LOCAL[version]), mac=MAC, mtu=1450)
    link = there(stack, "vx0")
    if up:
        stack.set_link(link.ifindex, up=True)
    return link


def there(stack: OverlayStack, name: str) -> Link:
    link = stack.link(name)
    assert link is not None
    return link


def permanent(stack: OverlayStack, link: int) -> list[Neighbour]:
    """Without those of the kernel's own IPv6 multicast."""
    return [entry for entry in stack.neighbours(link) if entry.permanent]


def refused(number: int, act: Callable[[], object]) -> None:
    with pytest.raises(KernelError) as error:
        act()
    assert error.value.errno == number


@pytest.mark.parametrize("version", [4, 6])
def test_a_device_reads_back(stack: OverlayStack, version: int) -> None:
    """VNI, port and source address, MAC and MTU as given; it is down, and learns nothing."""
    link = device(stack, version, up=False)
    assert (link.kind, link.mac, link.mtu, link.up) == ("vxlan", MAC, 1450, False)
    assert stack.vxlan(link.ifindex) == Vxlan(4096, 4799, LOCAL[version], learning=False)
    assert stack.links(kind="vxlan") == [link]
    assert stack.fdb(link.ifindex) == []
    assert permanent(stack, link.ifindex) == []


def test_no_vxlan_device(stack: OverlayStack) -> None:
    """A link of another kind, and an index without link, are none."""
    assert stack.vxlan(1) is None
    assert stack.vxlan(4711) is None


def test_a_device_is_refused(stack: OverlayStack) -> None:
    """A taken name, and a VNI that another device has on the same port, are EEXIST."""
    device(stack)
    refused(errno.EEXIST, lambda: stack.add_vxlan("vx0", Vxlan(4097, 4799, LOCAL[4])))
    refused(errno.EEXIST, lambda: stack.add_vxlan("vx1", Vxlan(4096, 4799, FAR[4])))
    stack.add_vxlan("vx1", Vxlan(4096, 4789, LOCAL[4]))
    stack.add_vxlan("vx2", Vxlan(4097, 4799, LOCAL[4]))
    assert {link.name for link in stack.links(kind="vxlan")} == {"vx0", "vx1", "vx2"}


def test_learning_and_no_source_address(stack: OverlayStack) -> None:
    """Both read back."""
    stack.add_vxlan("vx0", Vxlan(4096, 4799, None, learning=True))
    assert stack.vxlan(there(stack, "vx0").ifindex) == Vxlan(4096, 4799, None, learning=True)


@pytest.mark.parametrize("version", [4, 6])
def test_the_source_address_changes_in_place(stack: OverlayStack, version: int) -> None:
    """While the device is up, and nothing else changes. Another IP version is refused."""
    link = device(stack, version)
    entry = FdbEntry(link.ifindex, OTHER, FAR[version])
    stack.add_fdb_entry(entry)
    stack.set_vxlan_local(link.ifindex, FAR[version])
    assert stack.vxlan(link.ifindex) == Vxlan(4096, 4799, FAR[version])
    assert stack.link("vx0") == link._replace(up=True)
    assert stack.fdb(link.ifindex) == [entry]
    refused(errno.EOPNOTSUPP, lambda: stack.set_vxlan_local(link.ifindex, FAR[10 - version]))


@pytest.mark.parametrize("version", [4, 6])
def test_neighbours(stack: OverlayStack, version: int) -> None:
    """Added once, replaced on request, deleted once, found by the address. The protocol stays without another one."""
    index = device(stack).ifindex
    entry = Neighbour(index, NEXT[version], MAC, protocol=CLUSTER)
    stack.add_neighbour(entry)
    assert permanent(stack, index) == [entry]
    assert stack.neighbour(index, NEXT[version]) == entry
    assert stack.neighbour(index, FAR[version]) is None
    refused(errno.EEXIST, lambda: stack.add_neighbour(entry))
    stack.add_neighbour(entry._replace(mac=OTHER, protocol=0), replace=True)
    assert permanent(stack, index) == [entry._replace(mac=OTHER)]
    stack.add_neighbour(entry._replace(protocol=4), replace=True)
    assert permanent(stack, index) == [entry._replace(protocol=4)]
    stack.delete_neighbour(index, NEXT[version])
    assert permanent(stack, index) == []
    refused(errno.ENOENT, lambda: stack.delete_neighbour(index, NEXT[version]))


def test_neighbours_go_when_the_device_goes_down(stack: OverlayStack) -> None:
    """Permanent ones, too. Forwarding entries stay."""
    index = device(stack).ifindex
    stack.add_neighbour(Neighbour(index, NEXT[4], MAC))
    stack.add_fdb_entry(FdbEntry(index, OTHER, FAR[4]))
    stack.set_link(index, up=False)
    assert permanent(stack, index) == []
    assert stack.fdb(index) == [FdbEntry(index, OTHER, FAR[4])]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("external", [False, True])
def test_forwarding_entries(stack: OverlayStack, version: int, external: bool) -> None:
    """Added once, replaced on request, deleted once; a deletion is of the entry that leads where it says.

    An entry of an administrator does not become one of a control plane, though it leads elsewhere then.
    """
    index = device(stack, version).ifindex
    entry = FdbEntry(index, OTHER, FAR[version], external)
    stack.add_fdb_entry(entry)
    assert stack.fdb(index) == [entry]
    assert stack.fdb_entry(index, OTHER) == entry
    assert stack.fdb_entry(index, MAC) is None
    refused(errno.EEXIST, lambda: stack.add_fdb_entry(entry))
    stack.add_fdb_entry(FdbEntry(index, OTHER, LOCAL[version], not external), replace=True)
    replaced = FdbEntry(index, OTHER, LOCAL[version], external=False)
    assert stack.fdb(index) == [replaced]
    stack.delete_fdb_entry(entry)
    assert stack.fdb(index) == [replaced]
    stack.delete_fdb_entry(replaced)
    assert stack.fdb(index) == []
    refused(errno.ENOENT, lambda: stack.delete_fdb_entry(replaced))


def test_entries_are_of_one_device(stack: OverlayStack) -> None:
    """The same neighbour and the same MAC on two devices are two entries each."""
    first = device(stack).ifindex
    stack.add_vxlan("vx1", Vxlan(4097, 4799, LOCAL[4]), mac=MAC)
    made = there(stack, "vx1")
    stack.set_link(made.ifindex, up=True)
    for index in (first, made.ifindex):
        stack.add_neighbour(Neighbour(index, NEXT[4], MAC))
        stack.add_fdb_entry(FdbEntry(index, OTHER, FAR[4]))
    assert [one.link for one in permanent(stack, first)] == [first]
    assert [one.link for one in stack.fdb(made.ifindex)] == [made.ifindex]


@pytest.mark.parametrize("version", [4, 6])
def test_a_route_by_the_device(stack: OverlayStack, version: int) -> None:
    """With a gateway that no route leads to, the agent's protocol and a source address; read back by that protocol."""
    index = device(stack).ifindex
    stack.add_bridge("br0", mac="02:00:00:00:00:01")
    bridge = there(stack, "br0")
    own = ip_interface("10.32.0.1/24" if version == 4 else "fd32::1/64")
    stack.set_link(bridge.ifindex, up=True)
    stack.add_address(bridge.ifindex, own)
    priority = 1024 if version == 6 else None
    route = RouteEntry(
        BLOCK[version], NEXT[version], index, src=own.ip, protocol=CLUSTER, onlink=True, priority=priority
    )
    stack.add_route(route)
    assert stack.routes(protocol=CLUSTER) == [route]
    assert route in stack.routes()
    refused(errno.EEXIST, lambda: stack.add_route(route))
    stack.delete_route(route._replace(protocol=None))
    assert stack.routes(protocol=CLUSTER) == []


def test_a_gateway_that_is_not_on_the_link(stack: OverlayStack) -> None:
    """Without `onlink` it is refused."""
    index = device(stack).ifindex
    refused(errno.ENETUNREACH, lambda: stack.add_route(RouteEntry(BLOCK[4], NEXT[4], index)))


@pytest.mark.parametrize("version", [4, 6])
def test_an_unreachable_route(stack: OverlayStack, version: int) -> None:
    """It is listed by its protocol alone, beside another one of the same destination."""
    index = device(stack).ifindex
    refusing = RouteEntry(BLOCK[version], priority=1 << 30, protocol=CLUSTER, kind="unreachable")
    stack.add_route(refusing)
    by_hand = RouteEntry(BLOCK[version], NEXT[version], index, onlink=True, priority=7)
    stack.add_route(by_hand)
    assert stack.routes(protocol=CLUSTER) == [refusing]
    assert [one for one in stack.routes() if one.dst == BLOCK[version]] == [by_hand]
    stack.delete_route(refusing)
    assert stack.routes(protocol=CLUSTER) == []
    assert by_hand in stack.routes()


@pytest.mark.parametrize("version", [4, 6])
def test_a_route_of_another_program_stays(stack: OverlayStack, version: int) -> None:
    """A deletion with a protocol is about routes of that protocol alone."""
    index = device(stack).ifindex
    priority = 1024 if version == 6 else None
    by_hand = RouteEntry(BLOCK[version], NEXT[version], index, onlink=True, priority=priority)
    stack.add_route(by_hand)
    refused(errno.ESRCH, lambda: stack.delete_route(by_hand._replace(protocol=CLUSTER)))
    assert by_hand in stack.routes()


@pytest.mark.parametrize("version", [4, 6])
def test_a_route_takes_the_place_of_another(stack: OverlayStack, version: int) -> None:
    """The new one is added beside the old one, which then goes: of both IP versions."""
    index = device(stack).ifindex
    priority = 1024 if version == 6 else None
    old = RouteEntry(BLOCK[version], NEXT[version], index, onlink=True, priority=priority, protocol=CLUSTER)
    new = old._replace(gw=FAR[version])
    stack.add_route(old)
    with stack.batch():
        stack.add_route(new, append=True)
        stack.delete_route(old)
    assert stack.routes(protocol=CLUSTER) == [new]


def test_attempts_name_every_failure(stack: OverlayStack) -> None:
    """What can be done is done, in one batch; the failures come in order, and later writes raise again."""
    index = device(stack).ifindex
    stack.add_fdb_entry(FdbEntry(index, OTHER, FAR[4]))
    with stack.attempting() as failures:
        stack.add_fdb_entry(FdbEntry(index, OTHER, LOCAL[4]))
        stack.add_neighbour(Neighbour(index, NEXT[4], MAC))
        stack.delete_neighbour(index, FAR[4])
        assert failures == []
    assert [one.errno for one in failures if isinstance(one, KernelError)] == [errno.EEXIST, errno.ENOENT]
    assert OTHER in str(failures[0])
    assert str(FAR[4]) in str(failures[1])
    assert permanent(stack, index) == [Neighbour(index, NEXT[4], MAC)]
    refused(errno.ENOENT, lambda: stack.delete_neighbour(index, FAR[4]))
