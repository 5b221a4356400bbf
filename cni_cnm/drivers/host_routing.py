"""The host as a router between its networks: forwarding, and the link of its default route."""

from __future__ import annotations

import errno

from cni_cnm.errors import CheckFailed, KernelError, KernelFeatureMissing
from cni_cnm.model import IPV6_MTU

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_cnm.kernel import Link, Stack

_ETHERNET_MTU = 1500
_VXLAN_OVERHEAD = 70
"""Bytes that VXLAN adds to a packet at the most, over IPv6: Ethernet 14, VXLAN 8, UDP 8, IPv6 40."""
FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}


def forward(versions: Iterable[int], host: Stack) -> None:
    """Turn forwarding on for these IP versions. The host keeps its own IPv6 routers.

    Forwarding makes the kernel forget the default routes of router advertisements, and ignore further ones, on all
    links but those with accept_ra 2 (addrconf_fixup_forwarding in net/ipv6/addrconf.c).
    """
    wanted = sorted(set(versions))
    if 6 in wanted and host.sysctl(FORWARDING[6]) != "1":
        learned = {route.link for route in host.routes() if route.advertised and route.dst.prefixlen == 0}
        links = [host.link_at(index) for index in sorted(learned)]
        values = [(f"net/ipv6/conf/{link.name}/accept_ra", "2") for link in links if link is not None]
        host.set_sysctls(values, tolerate=True)
    host.set_sysctls([(FORWARDING[version], "1") for version in wanted])


def prepare_ipv6(link: Link, host: Stack) -> None:
    """Before the first IPv6 gateway is put on a link: IPv6 is on there, and addresses stay while the link is down.

    A link inherits `default.disable_ipv6`. Without keep_addr_on_down the gateway is lost when the link goes down and up
    again. KernelFeatureMissing where the host has no IPv6.
    """
    try:
        host.set_sysctls([(f"net/ipv6/conf/{link.name}/disable_ipv6", "0")])
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        raise KernelFeatureMissing(
            f"this host has no IPv6, so {link.name} cannot be the gateway of an IPv6 subnet",
            hint="boot without ipv6.disable=1, or give the network IPv4 only",
        ) from error
    host.set_sysctls([(f"net/ipv6/conf/{link.name}/keep_addr_on_down", "1")], tolerate=True)


def check_forwarding(versions: Iterable[int], host: Stack) -> None:
    """CheckFailed naming the first IP version that is not forwarded."""
    for version in not_forwarded(versions, host):
        raise CheckFailed(f"IPv{version} forwarding is off on the host ({FORWARDING[version]})")


def not_forwarded(versions: Iterable[int], host: Stack) -> list[int]:
    """Those of these IP versions that the host does not forward."""
    return [version for version in sorted(set(versions)) if host.sysctl(FORWARDING[version]) != "1"]


def uplink(stack: Stack) -> Link | None:
    """The link of the default route of the lowest metric, IPv4 before IPv6; None where there is no default route."""
    defaults = [route for route in stack.routes() if route.dst.prefixlen == 0 and route.link]
    if not defaults:
        return None
    return stack.link_at(min(defaults, key=lambda route: (route.dst.version, route.priority or 0)).link)


def uplink_mtu(host: Stack) -> int:
    """MTU of the uplink; 0 (the kernel's) where there is none."""
    link = uplink(host)
    return link.mtu if link is not None else 0


def outside_mtu(outside: str, host: Stack) -> int:
    """MTU for packets that leave by the link `outside`, a VXLAN device; "" for the uplink.

    While the device is not made: as it will be at the least.
    """
    if not outside:
        return uplink_mtu(host)
    link = host.link(outside)
    return link.mtu if link is not None else max((uplink_mtu(host) or _ETHERNET_MTU) - _VXLAN_OVERHEAD, IPV6_MTU)
