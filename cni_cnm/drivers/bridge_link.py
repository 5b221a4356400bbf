"""The bridge itself: found or made, and kept as it is while ports join and leave.

Of its own accord the kernel gives a bridge the lowest MAC and the lowest MTU of its ports. A MAC that is set stays. An
MTU stays once it was *changed*: one that the bridge was made with, or that it had already, counts for nothing
(br_change_mtu in net/bridge/br_device.c).
"""

from __future__ import annotations

import errno

from cni_cnm.drivers import bridge_vlan as vlans
from cni_cnm.drivers.host_routing import uplink_mtu
from cni_cnm.errors import Conflict, DriverFailed, InvalidConfig, KernelError
from cni_cnm.model import IPV6_MTU, digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cni_cnm.drivers.bridge_options import BridgeOptions
    from cni_cnm.kernel import Link, Stack


def require(options: BridgeOptions, host: Stack) -> Link | None:
    """The bridge, None if there is none yet. Conflict or InvalidConfig for a link that cannot be it."""
    link = host.link(options.bridge)
    if link is not None:
        _require_bridge(options, link)
    return link


def ensure(options: BridgeOptions, versions: Collection[int], host: Stack) -> tuple[Link, bool]:
    """The bridge, made if there is none, and up; and whether it was made here.

    InvalidConfig where its MTU is too small for one of `versions`.
    """
    link = host.link(options.bridge)
    if link is None:
        return _make(options, versions, host), True
    _require_bridge(options, link)
    _require_ipv6(options, options.mtu or link.mtu, versions)
    if not link.up or (options.promisc and not link.promisc):
        host.set_link(link.ifindex, up=True, promisc=True if options.promisc else None)
    return link, False


def pin_mac(bridge: Link, host: Stack) -> None:
    """One that another program made keeps the MAC it has. One of ours was made with it."""
    if bridge.mac != stable_mac("bridge", bridge.name):
        host.set_link(bridge.ifindex, mac=bridge.mac)


def restore_mac(bridge: Link, host: Stack) -> None:
    """A port has joined `bridge`, which is as it was before: it has that MAC again, and keeps it from now on."""
    if bridge.mac == stable_mac("bridge", bridge.name):
        return
    now = host.link_at(bridge.ifindex)
    if now is not None and now.mac != bridge.mac:
        host.set_link(bridge.ifindex, mac=bridge.mac)


def shield_ipv6(options: BridgeOptions, bridge: Link, host: Stack) -> None:
    """A port is about to join that is too small for IPv6: other networks on the bridge keep theirs."""
    if 0 < options.mtu < IPV6_MTU <= bridge.mtu:
        _fix_mtu(bridge, bridge.mtu, host)


def stable_mac(*parts: str) -> str:
    """A locally administered unicast address for what the parts name, always the same."""
    octets = bytearray(bytes.fromhex(digest("mac", *parts)[:12]))
    octets[0] = octets[0] & 0xFC | 0x02
    return octets.hex(":")


def find(host: Stack, name: str) -> Link:
    """A link that was there a moment ago."""
    link = host.link(name)
    if link is None:
        raise DriverFailed(f"{name} vanished while it was being set up", hint="is another program deleting links?")
    return link


def _make(options: BridgeOptions, versions: Collection[int], host: Stack) -> Link:
    mtu = options.mtu or (uplink_mtu(host) if options.profile == "cnm" else 0)
    _require_ipv6(options, mtu, versions)
    mac = stable_mac("bridge", options.bridge)
    try:
        host.add_bridge(options.bridge, mac=mac, mtu=mtu, vlan_filtering=options.vlan_filtering)
    except KernelError as error:
        if error.errno != errno.EEXIST:  # two pods at once make the first bridge together
            raise
    # accept_dad: while its link-local address is tentative (1-2 s) a bridge forwards no IPv6 to a new neighbour.
    hygiene = [(f"net/ipv6/conf/{options.bridge}/{key}", "0") for key in ("accept_ra", "accept_dad")]
    host.set_sysctls(hygiene, tolerate=True)
    link = find(host, options.bridge)
    _require_bridge(options, link)
    if options.vlan_filtering:
        vlans.require(options, link)
    if mtu:
        _fix_mtu(link, mtu, host)
    host.set_link(link.ifindex, up=True, promisc=True if options.promisc else None)
    return link


def _fix_mtu(bridge: Link, mtu: int, host: Stack) -> None:
    """From now on the MTU is this whatever the ports have. It takes a change, so it is another one for a moment."""
    with host.batch():
        host.set_link(bridge.ifindex, mtu=mtu + (1 if mtu < 65535 else -1))
        host.set_link(bridge.ifindex, mtu=mtu)


def _require_bridge(options: BridgeOptions, link: Link) -> None:
    if link.name != options.bridge:
        raise InvalidConfig(
            f"{options.bridge} is an alternative name of the link {link.name}, which no packet filter knows it by",
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
        hint="raise mtu, or leave out the IPv6 subnet",
    )
