"""The ptp driver: a veth pair per endpoint and no bridge; the host routes between the pairs.

    host namespace                                             container
    vethXXXXXXXX: 10.1.0.1/32, route to 10.1.0.5/32 ═══════════ eth0: 10.1.0.5/24, subnet via 10.1.0.1

Every host's end has the gateway address. The container reaches its neighbours through it too, so no endpoint sees
another one's frames. The host's ends of a network have one link group, which is how the packet filter knows it.
As the reference `ptp` plugin; proxy ARP and proxy NDP are not used.
"""

from __future__ import annotations

import errno

from cni_cnm.drivers import Configuration, Driver, Role, firewall_options, host_routing
from cni_cnm.drivers.ptp_options import KEYS, REFERENCE_KEYS, PtpOptions, parse
from cni_cnm.errors import CheckFailed, Conflict, DriverFailed, KernelError
from cni_cnm.firewall import Policy
from cni_cnm.kernel import RouteEntry
from cni_cnm.model import Device, Interface, ip_interface, ip_network, stable_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cni_cnm.drivers import EndpointPlan, Place
    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import Address, IPInterface, Json, NetworkSpec

HOST = 254
"""Scope of the route to a container (RT_SCOPE_HOST), as the reference's."""


class PtpDriver(Driver[PtpOptions]):
    name = "ptp"
    configuration = Configuration(KEYS, REFERENCE_KEYS)
    link_kinds = frozenset(("veth",))

    def options(self, network: NetworkSpec) -> PtpOptions:
        return parse(network)

    def restore(self, raw: Mapping[str, Json]) -> PtpOptions:
        return PtpOptions.from_json(raw)

    def fixed(self, options: PtpOptions) -> Mapping[str, Json]:
        return {"ingressPolicy": options.ingress}

    def with_policy(self, options: PtpOptions, policy: Mapping[str, Json]) -> PtpOptions:
        changed: PtpOptions = firewall_options.with_policy(options, policy)
        return changed

    def with_policy_of(self, options: PtpOptions, recorded: PtpOptions) -> PtpOptions:
        kept: PtpOptions = firewall_options.with_policy_of(options, recorded)
        return kept

    def policy(self, options: PtpOptions) -> Policy:
        return Policy(
            masquerade=options.masquerade,
            ingress=options.ingress,
            internal=options.internal,
            zone=options.zone,
            admin_chain=options.admin_chain,
            group=options.group,
            published_only=firewall_options.published_only(options.ingress) if options.published_only else (),
            routed=firewall_options.routed(options.ingress),
            masquerade_except=tuple(map(ip_network, options.masquerade_except if options.masquerade else ())),
        )

    def role(self, options: PtpOptions) -> Role:
        return Role(gateway="router", default_route=options.default_route, internal=options.internal)

    def create_endpoint(self, options: PtpOptions, plan: EndpointPlan, host: Stack, place: Place) -> Device:
        host_routing.forward((address.interface.version for address in plan.addresses), host)
        mac = stable_mac(f"host {plan.id}")
        try:
            made = host.add_veth(
                plan.host_ifname,
                peer=place.ifname,
                peer_stack=place.stack,
                mtu=options.mtu,
                mac=mac,
                peer_mac=plan.mac,
            )
        except KernelError as error:
            if error.errno == errno.EEXIST and place.stack.link(place.ifname) is not None:
                raise Conflict(
                    f"the container has an interface {place.ifname} already", hint="DEL the old attachment first"
                ) from error
            if error.errno != errno.EEXIST:  # it may have been made, if the answer was lost
                self.delete_endpoint(options, plan, host)
            raise
        end = made or host.link(plan.host_ifname)
        if end is None:
            raise DriverFailed(f"{plan.host_ifname} vanished while it was being set up")
        try:
            _route(options, end, plan.addresses, host)
        except BaseException:
            host.delete_link(end.ifindex)
            raise
        return Device(
            container=Interface(place.ifname, plan.mac, end.mtu, place.sandbox),
            host=(Interface(end.name, mac, end.mtu),),
            ifindex=end.peer,
        )

    def add_gateways(self, options: PtpOptions, plan: EndpointPlan, host: Stack) -> tuple[Interface, ...]:
        end = host.link(plan.host_ifname)
        if end is None:
            raise DriverFailed(f"{plan.host_ifname} vanished while it was being set up")
        host_routing.forward((address.interface.version for address in plan.addresses), host)
        _route(options, end, plan.addresses, host)
        return ()

    def delete_endpoint(self, options: PtpOptions, plan: EndpointPlan, host: Stack) -> None:
        """Addresses and routes go with the link."""
        link = host.link(plan.host_ifname)
        if link is not None and link.kind == "veth":
            host.delete_link(link.ifindex)

    def check_endpoint(self, options: PtpOptions, plan: EndpointPlan, host: Stack, place: Place) -> None:
        end = host.link(plan.host_ifname)
        if end is None:
            raise CheckFailed(f"the host's end {plan.host_ifname} of {place.ifname} is missing")
        for difference in _differences(options, end, plan.addresses, host):
            raise CheckFailed(difference)
        host_routing.check_forwarding((address.interface.version for address in plan.addresses), host)

    def compare_endpoint(self, options: PtpOptions, plan: EndpointPlan, host: Stack) -> Sequence[str]:
        end = host.link(plan.host_ifname)
        if end is None or end.kind != "veth":
            return []
        versions = [address.interface.version for address in plan.addresses]
        off = [f"forwarding of IPv{version} is off" for version in host_routing.not_forwarded(versions, host)]
        return [*_differences(options, end, plan.addresses, host), *off]

    def repair_endpoint(self, options: PtpOptions, plan: EndpointPlan, host: Stack) -> None:
        end = host.link(plan.host_ifname)
        if end is not None and end.kind == "veth":
            host_routing.forward((address.interface.version for address in plan.addresses), host)
            _put_right(options, end, plan.addresses, host)


def _put_right(options: PtpOptions, end: Link, addresses: Sequence[Address], host: Stack) -> None:
    """Routes come last: they are gone while the link is down."""
    if not end.up or end.group != options.group:
        host.set_link(end.ifindex, up=True, group=options.group)
    present = host.addresses(end.ifindex)
    for gateway in _gateways(addresses):
        if gateway not in present:
            host.add_address(end.ifindex, gateway)
    routed = {route.dst for route in host.routes(link=end.ifindex)}
    for address in addresses:
        if ip_network(address.interface.ip) not in routed:
            host.add_route(_route_to(address, end))


def _differences(options: PtpOptions, end: Link, addresses: Sequence[Address], host: Stack) -> Iterator[str]:
    """What the host's end lacks, a sentence each."""
    if not end.up:
        yield f"the host's end {end.name} is down"
    if end.group != options.group:
        yield f"{end.name} is in the link group {end.group}, not in its network's, {options.group}"
    present = host.addresses(end.ifindex)
    for gateway in _gateways(addresses):
        if gateway not in present:
            yield f"{end.name} does not have the gateway address {gateway}"
    routed = {route.dst for route in host.routes(link=end.ifindex)}
    for address in addresses:
        if ip_network(address.interface.ip) not in routed:
            yield f"the host has no route to {address.interface.ip} over {end.name}"


def _route(options: PtpOptions, end: Link, addresses: Sequence[Address], host: Stack) -> None:
    """The host's end, up, with the gateways and a route to each address."""
    if any(address.interface.version == 6 for address in addresses):
        host_routing.prepare_ipv6(end, host)
    # accept_dad: while its link-local address is tentative (1-2 s) a link asks for no IPv6 neighbour.
    host.set_sysctls([(f"net/ipv6/conf/{end.name}/{key}", "0") for key in ("accept_ra", "accept_dad")], tolerate=True)
    with host.batch():
        for gateway in _gateways(addresses):
            host.add_address(end.ifindex, gateway)
        host.set_link(end.ifindex, up=True, group=options.group)
        for address in addresses:
            host.add_route(_route_to(address, end))


def _route_to(address: Address, end: Link) -> RouteEntry:
    return RouteEntry(ip_network(address.interface.ip), link=end.ifindex, scope=HOST)


def _gateways(addresses: Sequence[Address]) -> list[IPInterface]:
    """Each with the length of a single address."""
    return [ip_interface(gateway) for gateway in dict.fromkeys(a.gateway for a in addresses) if gateway is not None]


DRIVER = PtpDriver()
