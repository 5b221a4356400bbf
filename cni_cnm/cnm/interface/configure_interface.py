"""The container's side of an endpoint: sysctls, addresses, link state, routes. Needs a Stack and no record."""

from __future__ import annotations

import errno
from ipaddress import ip_network
from time import monotonic, sleep

from cni_cnm.errors import CheckFailed, Conflict, DriverFailed, InvalidConfig, KernelError, KernelFeatureMissing
from cni_cnm.kernel import RouteEntry
from cni_cnm.model import IPV6_MTU, ON_LINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cni_cnm.drivers import Role
    from cni_cnm.kernel import Link, PortState, Stack
    from cni_cnm.model import Address, Device, IPNetwork, Route

LOOPBACK = 1
"""Index of `lo` in every namespace. It is set up, so that a runtime needs no plugin for it."""

DAD_LIMIT_S = 10.0
"""The kernel's detection takes about 2 s; a link that never finishes must not hold the pod for ever."""
FORWARDING_LIMIT_S = 1.0
"""A port forwards a moment after both ends are up, later on a busy machine (linkwatch_event in net/core)."""


def configure(
    stack: Stack,
    device: Device,
    addresses: Sequence[Address],
    routes: Sequence[Route],
    role: Role,
    port_state: Callable[[], PortState] | None = None,
) -> int:
    """Set sysctls, addresses, link up, routes. Nothing is undone: it disappears with the link.

    Returns the link's index. `port_state` asks for the state of the link's other end, if that is the port of a bridge:
    once it forwards, the addresses are announced to the neighbours.
    """
    ifname = device.container.name
    index = device.ifindex or require_link(stack, ifname).ifindex
    versions: set[int] = {address.interface.version for address in addresses}
    require_ipv6_mtu(ifname, device.container.mtu, versions)
    stack.set_sysctls(_hygiene(ifname, versions, role), tolerate=True)
    if 6 in versions and stack.sysctl(f"net/ipv6/conf/{ifname}/disable_ipv6") != "0":
        raise KernelFeatureMissing(
            f"IPv6 is disabled in the container, so {ifname} cannot have an IPv6 address",
            hint="boot without ipv6.disable=1, or give the network IPv4 only",
        )
    with stack.batch():
        stack.set_link(LOOPBACK, up=True)
        for address in addresses:
            stack.add_address(index, address.interface, dad=role.dad, prefix_route=role.gateway != "router")
        if role.up:
            stack.set_link(index, up=True)
    if role.dad and 6 in versions:
        _wait_for_dad(stack, ifname, index)
    announced = role.up and addresses and port_state is not None and _forwards(port_state)
    with stack.batch():
        if announced:
            # What the kernel announced when the link came up (arp_notify, ndisc_notify) was dropped by the port. It
            # does so again when the MAC is set, be it to the same.
            stack.set_link(index, mac=device.container.mac)
        for own in gateway_routes(addresses, role, index):
            stack.add_route(own)
        for route in routes:
            stack.add_route(entry(route, index, addresses))
    return index


def require_ipv6_mtu(ifname: str, mtu: int, versions: Collection[int]) -> None:
    """InvalidConfig for an MTU with which the kernel would take IPv6 off the link. 0: not known."""
    if 6 in versions and 0 < mtu < IPV6_MTU:
        raise InvalidConfig(
            f"the mtu of {ifname} would be {mtu}, and it has IPv6 addresses, which need {IPV6_MTU} at least",
            hint="raise mtu, or leave out the IPv6 subnet",
        )


def add_default(stack: Stack, ifname: str, route: Route, addresses: Sequence[Address], index: int = 0) -> None:
    """`index`: the link's index if the caller knows it, else 0. Conflict if another default route exists."""
    index = index or require_link(stack, ifname).ifindex
    try:
        stack.add_route(entry(route, index, addresses))
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise
        raise Conflict(
            f"the container has an IPv{route.dst.version} default route that is not of this sandbox's endpoints",
            hint="another plugin made it; only one network of a container can be its default gateway",
        ) from error


def remove_default(stack: Stack, ifname: str, route: Route, addresses: Sequence[Address]) -> None:
    """No error if absent: the route disappears with its link."""
    link = stack.link(ifname)
    if link is None:
        return
    try:
        stack.delete_route(entry(route, link.ifindex, addresses))
    except KernelError as error:
        if error.errno != errno.ESRCH:
            raise


def check(stack: Stack, device: Device, addresses: Sequence[Address], routes: Sequence[Route], role: Role) -> None:
    """CheckFailed naming the first thing that differs from what was set up."""
    name = device.container.name
    link = stack.link(name)
    if link is None:
        raise CheckFailed(f"the container's interface {name} is missing")
    if link.mac.lower() != device.container.mac.lower():
        raise CheckFailed(f"{name} has the MAC {link.mac}, it was given {device.container.mac}")
    if role.up and not link.up:
        raise CheckFailed(f"the container's interface {name} is down")
    present = stack.addresses(link.ifindex)
    for address in addresses:
        if address.interface not in present:
            raise CheckFailed(f"{name} does not have the address {address.interface}")
    of_routes = (entry(route, link.ifindex, addresses) for route in routes)
    for expected in (*gateway_routes(addresses, role, link.ifindex), *of_routes):
        table = stack.routes(link=link.ifindex, table=expected.table)
        if not any((r.dst, r.gw, r.priority or 0) == _identity(expected) for r in table):
            raise CheckFailed(f"the route to {expected.dst}{f' via {expected.gw}' if expected.gw else ''} is missing")


def entry(route: Route, index: int, addresses: Sequence[Address]) -> RouteEntry:
    """A route without gateway goes via the first gateway of its family (CNI convention), else on the link."""
    version = route.dst.version
    via = route.gw
    if via is None and route.scope != ON_LINK:
        via = next((a.gateway for a in addresses if a.gateway and a.gateway.version == version), None)
    return RouteEntry(
        dst=route.dst,
        gw=via,
        link=index,
        mtu=route.mtu,
        advmss=route.advmss,
        priority=route.priority,
        table=route.table,
        scope=route.scope,
    )


def gateway_routes(addresses: Sequence[Address], role: Role, index: int) -> Sequence[RouteEntry]:
    """Where the gateway is a router: the way to it, and through it to each address's subnet."""
    found: dict[IPNetwork, RouteEntry] = {}
    for interface, gateway in addresses if role.gateway == "router" else ():
        if gateway is not None:
            alone = ip_network(gateway)
            found.setdefault(alone, RouteEntry(alone, link=index, scope=ON_LINK, src=interface.ip))
            found.setdefault(interface.network, RouteEntry(interface.network, gateway, index, src=interface.ip))
    return tuple(found.values())


def require_link(stack: Stack, ifname: str) -> Link:
    link = stack.link(ifname)
    if link is None:
        raise DriverFailed(f"the container's interface {ifname} vanished while it was being set up")
    return link


def _identity(route: RouteEntry) -> tuple[object, object, int]:
    # The kernel gives an IPv6 route without metric 1024 (IP6_RT_PRIO_USER).
    implied = 1024 if route.dst.version == 6 else 0
    return route.dst, route.gw, route.priority or implied


def _hygiene(ifname: str, versions: set[int], role: Role) -> list[tuple[str, str]]:
    """The reference bridge's sysctls, and no router advertisements where addresses are managed.

    Without addresses (L2) no sysctl is set.
    """
    if not versions:
        return []
    values = [(f"net/ipv4/conf/{ifname}/arp_notify", "1")]
    if 6 in versions:
        values += [
            ("net/ipv6/conf/lo/disable_ipv6", "0"),
            (f"net/ipv6/conf/{ifname}/disable_ipv6", "0"),
            (f"net/ipv6/conf/{ifname}/keep_addr_on_down", "1"),
            (f"net/ipv6/conf/{ifname}/ndisc_notify", "1"),
        ]
    values.append((f"net/ipv6/conf/{ifname}/accept_ra", "0"))
    if role.dad:
        values += [(f"net/ipv6/conf/{ifname}/enhanced_dad", "1"), (f"net/ipv6/conf/{ifname}/accept_dad", "1")]
    else:
        values.append((f"net/ipv6/conf/{ifname}/accept_dad", "0"))
    return values


def _forwards(port_state: Callable[[], PortState]) -> bool:
    """False for a port that listens first (spanning tree), for half a minute."""
    deadline = monotonic() + FORWARDING_LIMIT_S
    while (state := port_state()) == "disabled" and monotonic() < deadline:
        sleep(0.001)
    return state == "forwarding"


def _wait_for_dad(stack: Stack, ifname: str, index: int) -> None:
    deadline = monotonic() + DAD_LIMIT_S
    while stack.tentative(index):
        if monotonic() > deadline:
            raise DriverFailed(
                f"duplicate address detection on {ifname} did not finish in {DAD_LIMIT_S:g} s",
                hint="is the bridge up and connected? without enabledad addresses are usable at once",
            )
        sleep(0.02)
