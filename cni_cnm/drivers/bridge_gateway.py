"""The bridge as its subnets' gateway: its addresses, and forwarding."""

from __future__ import annotations

import errno

from cni_cnm.drivers import bridge_vlan as vlans
from cni_cnm.drivers import host_routing
from cni_cnm.errors import CheckFailed, Conflict, KernelError
from cni_cnm.kernel import RouteEntry
from cni_cnm.model import Interface, ip_interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from cni_cnm.drivers.bridge_options import BridgeOptions
    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import Address, IPAddress, IPInterface


_IP6_PRIORITY = 256
"""Of the route that the kernel adds with an IPv6 address (IP6_RT_PRIO_ADDRCONF)."""


def ensure(options: BridgeOptions, bridge: Link, wanted: Sequence[IPInterface], host: Stack) -> tuple[Interface, ...]:
    """Put the gateways on the bridge (with `vlan`, on a port of their own, returned for the report); forward."""
    wanted = _on_bridge(options, wanted)
    if not wanted:
        return ()
    link = vlans.ensure_gateway_port(options, bridge, host) if options.vlan else bridge
    present = host.addresses(link.ifindex)
    missing = [address for address in wanted if address not in present]
    _add_missing(missing, present, wanted, options, link, host)
    host_routing.forward((address.version for address in wanted), host)
    return (Interface(link.name, link.mac, link.mtu),) if options.vlan else ()


def change(
    options: BridgeOptions,
    bridge: Link,
    old: Sequence[IPInterface],
    new: Sequence[IPInterface],
    in_use: Container[IPAddress],
    host: Stack,
) -> None:
    """The network's gateways are `new` instead of `old`. On failure they are what they were.

    One that is `in_use` stays: endpoints have their default route by it.
    """
    link = _link(options, bridge, host)
    if link is None:
        return
    old, new = _on_bridge(options, old), _on_bridge(options, new)
    present = host.addresses(link.ifindex)
    kept = [address for address in present if address not in old and address.ip not in in_use]
    added: list[IPInterface] = []
    removed: list[IPInterface] = []
    try:
        for address in new:
            if address in present:
                continue
            _make_room(address, kept, new, options, link, host)
            same = next((one for one in old if one.ip == address.ip and one in present), None)
            if same is not None and same.version == 6:  # the kernel takes an IPv6 address once, whatever its prefix
                host.delete_address(link.ifindex, same)
                removed.append(same)
            host.add_address(link.ifindex, address)
            added.append(address)
        for address in old:
            replaced = any(one.ip == address.ip for one in new)  # by the same address with another prefix
            unused = replaced or address.ip not in in_use
            if unused and address in present and address not in new and address not in removed:
                host.delete_address(link.ifindex, address)
                removed.append(address)
    except BaseException:
        for address in added:
            host.delete_address(link.ifindex, address)
        for address in removed:
            _add(host, link, address)
        raise


def refuse_conflict(options: BridgeOptions, bridge: Link, wanted: Sequence[IPInterface], host: Stack) -> None:
    """Conflict for what `ensure` would not replace. Changes nothing."""
    link = _link(options, bridge, host)
    if link is None or options.force_address:
        return
    wanted = _on_bridge(options, wanted)
    present = host.addresses(link.ifindex)
    for address in wanted:
        for other in _in_the_way(address, present, wanted):
            raise _conflict(options, link, other, address)


def check(options: BridgeOptions, bridge: Link, wanted: Sequence[IPInterface], host: Stack) -> None:
    wanted = _on_bridge(options, wanted)
    link = _link(options, bridge, host)
    if link is None:
        raise CheckFailed(f"the gateway's link {vlans.gateway_port(options)} is missing")
    for address in _lacking(wanted, host.addresses(link.ifindex)):
        raise CheckFailed(
            f"{link.name} does not have the gateway address {address}", hint="`cni-cnm repair` puts it back"
        )
    host_routing.check_forwarding((address.version for address in wanted), host)


def compare(options: BridgeOptions, bridge: Link, wanted: Sequence[IPInterface], host: Stack) -> list[str]:
    """What is missing of the gateways, a phrase each. Changes nothing."""
    wanted = _on_bridge(options, wanted)
    link = _link(options, bridge, host)
    if link is None:
        return [f"{vlans.gateway_port(options)} does not exist"]
    present = host.addresses(link.ifindex)
    found = [f"{link.name} does not have the address {address}" for address in _lacking(wanted, present)]
    found += [f"the route to {route.dst} over {link.name} is missing" for route in _lost_routes(link, wanted, host)]
    return found + [
        f"forwarding of IPv{version} is off"
        for version in host_routing.not_forwarded([one.version for one in wanted], host)
    ]


def repair(options: BridgeOptions, bridge: Link, wanted: Sequence[IPInterface], host: Stack) -> None:
    """Put it right. Conflict for an address of another program that is in the way, whatever `forceAddress` says."""
    wanted = _on_bridge(options, wanted)
    careful = options._replace(force_address=False)
    link = _link(options, bridge, host)
    if link is None and wanted:
        link = vlans.ensure_gateway_port(options, bridge, host)
    if link is not None:
        present = host.addresses(link.ifindex)
        _add_missing(_lacking(wanted, present), present, wanted, careful, link, host)
    host_routing.forward((address.version for address in wanted), host)
    now = host.link(vlans.gateway_port(options)) if options.vlan else host.link_at(bridge.ifindex)
    for route in _lost_routes(now, wanted, host) if now is not None else ():
        host.add_route(route)


def of(addresses: Sequence[Address]) -> list[IPInterface]:
    """The gateways of an endpoint's addresses, with their subnets' prefixes."""
    return [
        ip_interface(f"{address.gateway}/{address.interface.network.prefixlen}")
        for address in addresses
        if address.gateway is not None
    ]


def _link(options: BridgeOptions, bridge: Link, host: Stack) -> Link | None:
    """The link that has the gateways: the bridge, or with `vlan` a port of it, which may be absent."""
    return host.link(vlans.gateway_port(options)) if options.vlan else bridge


def _on_bridge(options: BridgeOptions, gateways: Sequence[IPInterface]) -> Sequence[IPInterface]:
    """Those that the bridge has: for some IP versions it may have no address."""
    if not options.addressless:
        return gateways
    return [one for one in gateways if one.version not in options.addressless]


def _lacking(wanted: Sequence[IPInterface], present: Sequence[IPInterface]) -> list[IPInterface]:
    """After a subnet was widened, endpoints that were there before still have the narrower prefix."""
    return [
        address
        for address in wanted
        if not any(one.ip == address.ip and one.network.prefixlen <= address.network.prefixlen for one in present)
    ]


def _lost_routes(link: Link, wanted: Sequence[IPInterface], host: Stack) -> list[RouteEntry]:
    """The routes to the gateways' subnets that another program has removed. The kernel adds them with the address.

    Nothing of a link that is down, and none of one in a VRF, whose routes are in that one's table.
    """
    if not link.up or link.master:
        return []
    own = [one for one in host.addresses(link.ifindex) if any(address.ip == one.ip for address in wanted)]
    there = {route.dst for route in host.routes(link=link.ifindex)} if own else set()
    return [
        RouteEntry(
            one.network,
            link=link.ifindex,
            priority=_IP6_PRIORITY if one.version == 6 else None,
            src=one.ip if one.version == 4 else None,
        )
        for one in own
        if one.network not in there and one.network.prefixlen < one.max_prefixlen
    ]


def _add_missing(
    missing: Sequence[IPInterface],
    present: Sequence[IPInterface],
    wanted: Sequence[IPInterface],
    options: BridgeOptions,
    link: Link,
    host: Stack,
) -> None:
    """`missing` are those of `wanted` that are not among the addresses that are `present`."""
    if any(address.version == 6 for address in missing):
        host_routing.prepare_ipv6(link, host)
    for address in missing:
        _make_room(address, present, wanted, options, link, host)
        _add(host, link, address)


def _make_room(
    address: IPInterface,
    present: Sequence[IPInterface],
    wanted: Sequence[IPInterface],
    options: BridgeOptions,
    link: Link,
    host: Stack,
) -> None:
    """The reference's rule: one IPv4 subnet, and no overlapping IPv6 ones, unless they are this network's own."""
    for other in _in_the_way(address, present, wanted):
        if not options.force_address:
            raise _conflict(options, link, other, address)
        host.delete_address(link.ifindex, other)


def _in_the_way(
    address: IPInterface, present: Sequence[IPInterface], wanted: Sequence[IPInterface]
) -> Iterator[IPInterface]:
    for other in present:
        same_version = other.version == address.version and other not in wanted and not other.ip.is_link_local
        if same_version and (address.version == 4 or address.network.overlaps(other.network)):
            yield other


def _conflict(options: BridgeOptions, link: Link, other: IPInterface, address: IPInterface) -> Conflict:
    # The key is of the reference profile: in a configuration of the cnm profile it would change the profile.
    force = "set forceAddress to replace it, or " if options.profile == "reference" else ""
    return Conflict(
        f"{link.name} already has the address {other}, the network's gateway is {address}",
        hint=f"{force}give this network a bridge of its own",
    )


def _add(host: Stack, link: Link, address: IPInterface) -> None:
    try:
        host.add_address(link.ifindex, address)
    except KernelError as error:
        if error.errno != errno.EEXIST:  # another pod's ADD was there first
            raise
