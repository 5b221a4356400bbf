"""The container's side of an endpoint: sysctls, addresses, link state, routes. Needs a Stack and no record."""

from __future__ import annotations

import errno
from time import monotonic, sleep

from cni_cnm.bases import Protocol
from cni_cnm.cnm.interface import interface_routes
from cni_cnm.errors import CheckFailed, DriverFailed, InvalidConfig, KernelError, KernelFeatureMissing
from cni_cnm.model import IPV6_MTU
from cni_cnm.waiting import waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cni_cnm.drivers import Role
    from cni_cnm.kernel import Link, PortState, Stack
    from cni_cnm.model import Address, Device, Route

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
    port_state: Callable[[], PortState | None] | None = None,
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
        if versions:
            stack.set_link(index, arp_notify=True)  # as the reference bridge does
        for address in addresses:
            stack.add_address(index, address.interface, dad=role.dad, prefix_route=role.gateway != "router")
        if role.up:
            stack.set_link(index, up=True)
    if role.dad and 6 in versions:
        _wait_for_dad(stack, ifname, index)
    announced = role.up and addresses and port_state is not None and _forwards(port_state)
    wanted = [
        *interface_routes.to_gateways(addresses, role, index),
        *interface_routes.entries(routes, index, addresses),
    ]
    try:
        with stack.batch():
            if announced:
                # What the kernel announced when the link came up (arp_notify, ndisc_notify) was dropped by the port.
                # It does so again when the MAC is set, be it to the same.
                stack.set_link(index, mac=device.container.mac)
            for route in wanted:
                stack.add_route(route)
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise
        interface_routes.add_behind(stack, wanted)
    return index


def require_ipv6_mtu(ifname: str, mtu: int, versions: Collection[int]) -> None:
    """InvalidConfig for an MTU with which the kernel would take IPv6 off the link. 0: not known."""
    if 6 in versions and 0 < mtu < IPV6_MTU:
        raise InvalidConfig(
            f"the mtu of {ifname} would be {mtu}, and it has IPv6 addresses, which need {IPV6_MTU} at least",
            hint=f"set mtu to {IPV6_MTU} or more, or leave out the IPv6 subnet",
        )


class Configured(Protocol):
    """What a container must have: `cnm.endpoint.results.Expected`."""

    @property
    def mac(self) -> str: ...
    @property
    def addresses(self) -> Sequence[Address]: ...
    @property
    def routes(self) -> Sequence[Route]: ...
    @property
    def added_routes(self) -> Sequence[Route]: ...


def check(stack: Stack, name: str, wanted: Configured, own: Sequence[Address], role: Role) -> None:
    """CheckFailed naming the first thing that the interface lacks. `own`: the addresses that it was given."""
    link = stack.link(name)
    if link is None:
        raise CheckFailed(f"the container's interface {name} is missing")
    if link.mac.lower() != wanted.mac.lower():
        raise CheckFailed(f"{name} has the MAC {link.mac}, it was given {wanted.mac}")
    if role.up and not link.up:
        raise CheckFailed(f"the container's interface {name} is down")
    present = stack.addresses(link.ifindex)
    for address in wanted.addresses:
        if address.interface not in present:
            raise CheckFailed(f"{name} does not have the address {address.interface}")
    interface_routes.check(stack, interface_routes.to_gateways(own, role, link.ifindex))
    interface_routes.check(stack, interface_routes.entries(wanted.routes, link.ifindex, own))
    interface_routes.check_anywhere(stack, wanted.added_routes)


def require_link(stack: Stack, ifname: str) -> Link:
    link = stack.link(ifname)
    if link is None:
        raise DriverFailed(f"the container's interface {ifname} vanished while it was being set up")
    return link


def _hygiene(ifname: str, versions: set[int], role: Role) -> list[tuple[str, str]]:
    """The reference bridge's sysctls of IPv6, and no router advertisements where addresses are managed.

    Without addresses (L2) no sysctl is set.
    """
    if not versions:
        return []
    values = []
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


def _forwards(port_state: Callable[[], PortState | None]) -> bool:
    """False for a port that listens first (spanning tree), for half a minute, and for what is no port."""
    if (state := port_state()) != "disabled":
        return state == "forwarding"
    deadline = monotonic() + FORWARDING_LIMIT_S
    with waiting():
        while (state := port_state()) == "disabled" and monotonic() < deadline:
            sleep(0.001)
    return state == "forwarding"


def _wait_for_dad(stack: Stack, ifname: str, index: int) -> None:
    deadline = monotonic() + DAD_LIMIT_S
    with waiting():
        _await_unique(stack, ifname, index, deadline)


def _await_unique(stack: Stack, ifname: str, index: int, deadline: float) -> None:
    while stack.tentative(index):
        if monotonic() > deadline:
            raise DriverFailed(
                f"duplicate address detection on {ifname} did not finish in {DAD_LIMIT_S:g} s",
                hint="is the bridge up and connected? without enabledad addresses are usable at once",
            )
        sleep(0.02)
