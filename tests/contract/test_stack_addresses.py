"""What every Stack promises about addresses, routes and sysctls."""

from __future__ import annotations

import errno
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from cni_cnm.errors import KernelError
from cni_cnm.kernel import Link, RouteEntry, Stack
from cni_cnm.model import IPInterface
from tests.contract.conftest import World

KERNEL = 2
"""RTPROT_KERNEL."""
V4, V6 = ip_interface("10.0.0.2/24"), ip_interface("fd00::2/64")


def _given(stack: Stack, link: Link) -> list[IPInterface]:
    """The kernel adds link-local ones when a link gets a carrier."""
    return [address for address in stack.addresses(link.ifindex) if not address.ip.is_link_local]


def _routes(stack: Stack, link: Link, table: int | None = None) -> set[RouteEntry]:
    found = stack.routes(link=link.ifindex, table=table)
    return {route for route in found if not route.dst.is_link_local}


def _addressed(world: World) -> Link:
    _, far = world.pair()
    world.container.add_address(far.ifindex, V4)
    world.container.add_address(far.ifindex, V6)
    return far


def test_addresses_read_back(world: World) -> None:
    """Addresses of both families come back with their prefix, usable at once; equal ones are EEXIST."""
    far = _addressed(world)
    assert _given(world.container, far) == [V4, V6]
    everything = world.container.all_addresses()
    assert [one for index, one in everything if index == far.ifindex and not one.ip.is_link_local] == [V4, V6]
    for version, given in ((4, V4), (6, V6)):
        listed = world.container.all_addresses({version})
        assert given in [one for index, one in listed if index == far.ifindex]
        assert {one.version for _, one in listed} == {version}
    with pytest.raises(KernelError, match=str(V4)) as error:
        world.container.add_address(far.ifindex, V4)
    assert error.value.errno == errno.EEXIST
    with pytest.raises(KernelError) as error:
        world.container.add_address(far.ifindex, ip_interface("fd00::2/80"))
    assert error.value.errno == errno.EEXIST


def test_local_addresses_are_those_of_all_links(world: World) -> None:
    """Also of a link that is down, and of an address that is there twice."""
    far = _addressed(world)
    world.container.add_address(1, V4)
    for version, given in ((4, V4.ip), (6, V6.ip)):
        found = world.container.local_addresses({version})
        assert (far.ifindex, given) in found
        assert {address.version for _, address in found} == {version}
    world.container.set_link(far.ifindex, up=False)
    assert {(1, V4.ip), (far.ifindex, V4.ip)} <= {*world.container.local_addresses({4, 6})}


def test_addresses_are_deleted(world: World) -> None:
    """A deleted address is gone with its subnet's route; a missing one is EADDRNOTAVAIL."""
    far = _addressed(world)
    for address in (V4, V6):
        world.container.delete_address(far.ifindex, address)
        with pytest.raises(KernelError) as error:
            world.container.delete_address(far.ifindex, address)
        assert error.value.errno == errno.EADDRNOTAVAIL
    assert _given(world.container, far) == []
    assert _routes(world.container, far) == set()


def test_first_address_takes_the_later_of_its_subnet_along(world: World) -> None:
    """Deleting the primary IPv4 address deletes its secondaries, unless they are promoted."""
    far = _addressed(world)
    second, other = ip_interface("10.0.0.3/24"), ip_interface("10.1.0.3/24")
    for address in (second, other):
        world.container.add_address(far.ifindex, address)
    world.container.delete_address(far.ifindex, V4)
    assert set(_given(world.container, far)) == {other, V6}
    world.container.set_sysctls([("net/ipv4/conf/eth0/promote_secondaries", "1")])
    for address in (V4, second):
        world.container.add_address(far.ifindex, address)
    world.container.delete_address(far.ifindex, V4)
    assert set(_given(world.container, far)) == {other, second, V6}


def test_addresses_of_no_link(world: World) -> None:
    """Reading and writing addresses of a missing link is ENODEV."""
    for act in (
        lambda: world.host.addresses(999),
        lambda: world.host.tentative(999),
        lambda: world.host.add_address(999, V4),
    ):
        with pytest.raises(KernelError) as error:
            act()
        assert error.value.errno == errno.ENODEV


def test_disabled_ipv6_refuses_addresses(world: World) -> None:
    """With disable_ipv6 an IPv6 address is EACCES."""
    _, far = world.pair()
    world.container.set_sysctls([("net/ipv6/conf/eth0/disable_ipv6", "1")])
    with pytest.raises(KernelError) as error:
        world.container.add_address(far.ifindex, V6)
    assert error.value.errno == errno.EACCES


def test_subnet_routes_come_with_the_link(world: World) -> None:
    """The routes of the addresses' subnets exist while the link is up."""
    _, far = world.pair(up=False)
    world.container.set_sysctls([("net/ipv6/conf/eth0/keep_addr_on_down", "1")])
    world.container.add_address(far.ifindex, V4)
    world.container.add_address(far.ifindex, V6)
    assert not any(route.dst == V4.network for route in _routes(world.container, far))
    world.container.set_link(far.ifindex, up=True)
    assert _routes(world.container, far) == {
        RouteEntry(V4.network, link=far.ifindex, src=V4.ip, protocol=KERNEL),
        RouteEntry(V6.network, link=far.ifindex, priority=256, protocol=KERNEL),
    }
    world.container.set_link(far.ifindex, up=False)
    assert not any(route.dst == V4.network for route in _routes(world.container, far))
    assert _given(world.container, far) == [V4, V6]


ROUTES = [
    RouteEntry(ip_network("0.0.0.0/0"), ip_address("10.0.0.1")),
    RouteEntry(ip_network("::/0"), ip_address("fd00::1"), priority=1024),
    RouteEntry(ip_network("10.9.0.0/16")),
    RouteEntry(ip_network("10.9.0.0/16"), ip_address("10.0.0.9"), mtu=1300, advmss=1200, priority=50),
    RouteEntry(ip_network("fd09::/48"), ip_address("fd00::9"), mtu=1300, advmss=1200, priority=50),
    RouteEntry(ip_network("10.8.0.1/32"), ip_address("10.0.0.1"), table=100, src=V4.ip),
    RouteEntry(ip_network("fd08::1/128"), ip_address("fd00::1"), table=70000, priority=7, src=V6.ip),
    RouteEntry(ip_network("10.7.0.0/16"), scope=0),
    RouteEntry(ip_network("10.6.0.0/16"), ip_address("10.0.0.1"), also_via=(ip_address("10.0.0.9"),), priority=50),
    RouteEntry(
        ip_network("fd06::/48"), ip_address("fd00::1"), also_via=(ip_address("fd00::9"),), mtu=1300, priority=1024
    ),
]


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_routes_read_back(world: World, route: RouteEntry) -> None:
    """A route reads back as it was added; an equal one is EEXIST; deleting it twice is ESRCH."""
    far = _addressed(world)
    route = route._replace(link=far.ifindex)
    before = _routes(world.container, far, route.table)
    world.container.add_route(route)
    assert _routes(world.container, far, route.table) == before | {route}
    with pytest.raises(KernelError, match=str(route.dst)) as error:
        world.container.add_route(route)
    assert error.value.errno == errno.EEXIST
    world.container.delete_route(route)
    assert _routes(world.container, far, route.table) == before
    with pytest.raises(KernelError) as error:
        world.container.delete_route(route)
    assert error.value.errno == errno.ESRCH


def test_a_route_behind_another(world: World) -> None:
    """Appended, a route is there beside one of the same destination; an equal one is EEXIST."""
    far = _addressed(world)
    first, second = (
        RouteEntry(ip_network("10.9.0.0/16"), ip_address(f"10.0.0.{host}"), far.ifindex) for host in (1, 9)
    )
    world.container.add_route(first)
    with pytest.raises(KernelError) as error:
        world.container.add_route(second)
    assert error.value.errno == errno.EEXIST
    world.container.add_route(second, append=True)
    assert [route for route in world.container.routes() if route.dst == first.dst] == [first, second]
    with pytest.raises(KernelError) as error:
        world.container.add_route(second, append=True)
    assert error.value.errno == errno.EEXIST


def test_defaults_are_filled_in(world: World) -> None:
    """What is the default reads back as None; an IPv6 route has the kernel's priority of 1024."""
    far = _addressed(world)
    before = _routes(world.container, far)
    on_link = RouteEntry(ip_network("10.9.0.0/16"), link=far.ifindex)
    six = RouteEntry(ip_network("fd09::/48"), ip_address("fd00::1"), link=far.ifindex)
    world.container.add_route(on_link._replace(table=254, scope=253, priority=0))
    world.container.add_route(six._replace(table=254))
    assert _routes(world.container, far) == before | {on_link, six._replace(priority=1024)}


def test_gateway_finds_its_link(world: World) -> None:
    """A route without link goes over the one its gateway is on."""
    far = _addressed(world)
    route = RouteEntry(ip_network("10.9.0.0/16"), ip_address("10.0.0.1"))
    world.container.add_route(route)
    assert route._replace(link=far.ifindex) in world.container.routes()


def test_gateway_on_a_host_route(world: World) -> None:
    """A gateway outside every subnet is reached over a route without gateway (ptp)."""
    _, far = world.pair()
    world.container.add_address(far.ifindex, ip_interface("10.0.0.2/32"))
    gateway = ip_address("169.254.1.1")
    default = RouteEntry(ip_network("0.0.0.0/0"), gateway, far.ifindex)
    with pytest.raises(KernelError) as error:
        world.container.add_route(default)
    assert error.value.errno == errno.ENETUNREACH
    with world.container.batch():
        world.container.add_route(RouteEntry(ip_network("169.254.1.1/32"), link=far.ifindex))
        world.container.add_route(default)
    assert default in world.container.routes()


def test_unreachable_gateways_are_refused(world: World) -> None:
    """A gateway on no link or of one's own, a foreign source, a link that is down or missing."""
    far = _addressed(world)
    four, six = ip_network("10.9.0.0/16"), ip_network("fd09::/48")
    for number, route in (
        (errno.ENETUNREACH, RouteEntry(four, ip_address("172.16.0.1"))),
        (errno.EHOSTUNREACH, RouteEntry(six, ip_address("fd77::1"))),
        (errno.EINVAL, RouteEntry(six, V6.ip)),
        (errno.EINVAL, RouteEntry(four, ip_address("10.0.0.1"), src=ip_address("10.0.0.77"))),
        (errno.ENODEV, RouteEntry(four, link=999)),
    ):
        with pytest.raises(KernelError) as error:
            world.container.add_route(route)
        assert (error.value.errno, route) == (number, route)
    world.container.set_link(far.ifindex, up=False)
    with pytest.raises(KernelError) as error:
        world.container.add_route(RouteEntry(four, link=far.ifindex))
    assert error.value.errno == errno.ENETDOWN


def test_routes_go_with_their_link(world: World) -> None:
    """A deleted link takes its routes along, in the other namespace, too."""
    far = _addressed(world)
    world.container.add_route(RouteEntry(ip_network("0.0.0.0/0"), ip_address("10.0.0.1"), far.ifindex))
    near = world.host.link("veth0")
    assert near is not None
    world.host.delete_link(near.ifindex)
    assert world.container.routes() == []


def test_absent_table_is_empty(world: World) -> None:
    """Reading a table that does not exist gives nothing."""
    assert world.host.routes(table=4711) == []


def test_sysctls_differ_by_namespace(world: World) -> None:
    """A sysctl is set in its own namespace only, in one call with others, and reads back stripped."""
    world.pair()
    before = world.host.sysctl("net/ipv4/ip_forward")
    world.container.set_sysctls([("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/eth0/arp_notify", "1")])
    assert world.container.sysctl("net/ipv4/ip_forward") == "1"
    assert world.container.sysctl("net/ipv4/conf/eth0/arp_notify") == "1"
    assert world.host.sysctl("net/ipv4/ip_forward") == before == "0"
    assert world.host.sysctl("net/ipv4/conf/eth0/arp_notify") is None


def test_arp_notify_is_set_with_the_link(world: World) -> None:
    """The sysctl, without /proc/sys."""
    _, far = world.pair()
    for value in (True, False):
        world.container.set_link(far.ifindex, arp_notify=value)
        assert world.container.sysctl("net/ipv4/conf/eth0/arp_notify") == str(int(value))


def test_sysctls_follow_a_renamed_link(world: World) -> None:
    """Keys of a link carry its name and keep their values."""
    _, far = world.pair()
    world.container.set_sysctls([("net/ipv4/conf/eth0/arp_notify", "1")])
    world.container.set_link(far.ifindex, name="eth1")
    assert world.container.sysctl("net/ipv4/conf/eth0/arp_notify") is None
    assert world.container.sysctl("net/ipv4/conf/eth1/arp_notify") == "1"


def test_missing_sysctl(world: World) -> None:
    """A missing key is None to a reader, ENOENT to a writer; tolerated, the others are written."""
    missing = "net/ipv4/conf/absent/arp_notify"
    assert world.host.sysctl(missing) is None
    with pytest.raises(KernelError, match=missing) as error:
        world.host.set_sysctls([(missing, "1")])
    assert error.value.errno == errno.ENOENT
    world.host.set_sysctls([(missing, "1"), ("net/ipv4/ip_forward", "1")], tolerate=True)
    assert world.host.sysctl("net/ipv4/ip_forward") == "1"


def test_the_link_of_a_route(world: World) -> None:
    """By the most specific route there is; 0 where there is none."""
    far = _addressed(world)
    stack, inside, outside = world.container, ip_address("10.0.0.9"), ip_address("192.0.2.1")
    assert stack.route_link(inside) == stack.route_link(ip_address("fd00::9")) == far.ifindex
    assert stack.route_link(outside) == stack.route_link(ip_address("2001:db8::1")) == 0
    stack.add_route(RouteEntry(ip_network("0.0.0.0/0"), ip_address("10.0.0.1"), far.ifindex))
    assert stack.route_link(outside) == far.ifindex
