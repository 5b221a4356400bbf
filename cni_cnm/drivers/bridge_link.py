"""The bridge itself: found or made, and kept as it is while ports join and leave.

By default the kernel gives a bridge the lowest MAC and the lowest MTU of its ports. A MAC that is set stays. An MTU
stays only after it was *changed*: not if the bridge was made with it, or had it already (br_change_mtu in
net/bridge/br_device.c).
"""

from __future__ import annotations

import errno

from cni_cnm.drivers import bridge_vlan as vlans
from cni_cnm.drivers.host_routing import outside_mtu
from cni_cnm.errors import Conflict, DriverFailed, InvalidConfig, KernelError
from cni_cnm.model import IPV6_MTU, stable_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cni_cnm.drivers import NetworkPlan
    from cni_cnm.drivers.bridge_options import BridgeOptions
    from cni_cnm.kernel import Link, Stack


def require(options: BridgeOptions, host: Stack) -> Link | None:
    """The bridge, None if there is none yet. Conflict or InvalidConfig for a link that cannot be it."""
    link = host.link(options.bridge)
    if link is not None:
        _require_bridge(options, link)
    elif options.unmanaged:
        raise InvalidConfig(
            f"the bridge {options.bridge} does not exist, and an unmanaged network does not make it",
            hint=f"make it first: ip link add {options.bridge} type bridge",
        )
    return link


def ensure(options: BridgeOptions, versions: Collection[int], host: Stack) -> tuple[Link, bool]:
    """The bridge, up, and whether this call made it.

    InvalidConfig if its MTU is too small for one of the IP `versions`.
    """
    link = require(options, host)
    if link is None:
        return _make(options, versions, host), True
    _require_ipv6(options, options.mtu or link.mtu, versions)
    if not link.up or (options.promisc and not link.promisc):
        host.set_link(link.ifindex, up=True, promisc=True if options.promisc else None)
    return link, False


def pin_mac(bridge: Link, host: Stack) -> None:
    """Keep the MAC of a bridge that another program made. Ours was made with a MAC that stays."""
    if bridge.mac != stable_mac("bridge", bridge.name):
        host.set_link(bridge.ifindex, mac=bridge.mac)


def restore_mac(bridge: Link, host: Stack) -> None:
    """Set the MAC that `bridge` had when it was read, if a port that joined since has changed it."""
    if bridge.mac == stable_mac("bridge", bridge.name):
        return
    now = host.link_at(bridge.ifindex)
    if now is not None and now.mac != bridge.mac:
        host.set_link(bridge.ifindex, mac=bridge.mac)


def shield_ipv6(options: BridgeOptions, bridge: Link, host: Stack) -> None:
    """Fix the bridge's MTU before a port with one too small for IPv6 joins: other networks on it need IPv6."""
    if 0 < options.mtu < IPV6_MTU <= bridge.mtu:
        fix_mtu(bridge, bridge.mtu, host)


def fix_mtu(bridge: Link, mtu: int, host: Stack) -> None:
    """Make the MTU independent of the ports'. Only a change does that, so it is set to another value first."""
    with host.batch():
        host.set_link(bridge.ifindex, mtu=mtu + (1 if mtu < 65535 else -1))
        host.set_link(bridge.ifindex, mtu=mtu)


def expected_mtu(options: BridgeOptions, bridge: Link, plan: NetworkPlan, host: Stack) -> int:
    """The MTU that a bridge of ours should have; the one that it has where that is not known.

    In the cnm profile it is that of the containers, and without containers that of the uplink. The kernel raises it to
    1500 with the last port of a bridge that version 0.1.0 made, and lowers it with a port that another program adds.
    With a link to other hosts it is that one's, also where containers were made with another one.
    """
    mtu = options.mtu or (plan.mtu if options.profile == "cnm" and not options.outside else 0)
    if not mtu and options.profile == "cnm" and (plan.in_use or not host.links(master=bridge.ifindex)):
        mtu = outside_mtu(options.outside, host)
    too_small = mtu < IPV6_MTU and any(address.version == 6 for address in plan.gateways)
    return bridge.mtu if not mtu or too_small or not plan.keeps_mtu else mtu


def find(host: Stack, name: str) -> Link:
    """A link that existed a moment ago. DriverFailed if it is gone."""
    link = host.link(name)
    if link is None:
        raise DriverFailed(f"{name} vanished while it was being set up", hint="is another program deleting links?")
    return link


def _make(options: BridgeOptions, versions: Collection[int], host: Stack) -> Link:
    mtu = options.mtu or (outside_mtu(options.outside, host) if options.profile == "cnm" else 0)
    _require_ipv6(options, mtu, versions)
    mac = stable_mac("bridge", options.bridge)
    try:
        host.add_bridge(
            options.bridge, mac=mac, mtu=mtu, vlan_filtering=options.vlan_filtering, ip_hooks=options.ip_hooks
        )
    except KernelError as error:
        if error.errno != errno.EEXIST:  # another pod's ADD makes it at the same time
            raise
    # accept_dad: while its link-local address is tentative (1-2 s) a bridge forwards no IPv6 to a new neighbour.
    sysctls = [(f"net/ipv6/conf/{options.bridge}/{key}", "0") for key in ("accept_ra", "accept_dad")]
    host.set_sysctls(sysctls, tolerate=True)
    link = find(host, options.bridge)
    _require_bridge(options, link)
    if options.vlan_filtering:
        vlans.require(options, link)
    if mtu:
        fix_mtu(link, mtu, host)
    host.set_link(link.ifindex, up=True, promisc=True if options.promisc else None)
    return link


def _require_bridge(options: BridgeOptions, link: Link) -> None:
    if link.name != options.bridge:
        raise InvalidConfig(
            f"{options.bridge} is an alternative name of {link.name}, and packet filters know only the real one",
            hint=f"name the bridge {link.name} in the configuration",
        )
    if link.kind != "bridge":
        raise Conflict(
            f"{link.name} exists and is no bridge ({link.kind or 'a device of its own'})",
            hint="name another bridge in the configuration, or remove that link",
        )


def _require_ipv6(options: BridgeOptions, mtu: int, versions: Collection[int]) -> None:
    if 6 not in versions or not 0 < mtu < IPV6_MTU:
        return
    whose = "mtu is" if options.mtu else f"the mtu of the bridge {options.bridge} would be"
    raise InvalidConfig(
        f"{whose} {mtu}, and the network has IPv6 addresses, which need {IPV6_MTU} at least",
        hint=f"set mtu to {IPV6_MTU} or more, or leave out the IPv6 subnet",
    )
