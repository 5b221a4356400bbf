"""The bridge driver: a Linux bridge per network, a veth pair per endpoint.

    host namespace                                   container
    cni0 (gateway addresses, fixed MAC and MTU) ── vethXXXXXXXX ═══ eth0

The pair is made in its two places in one request, as a port of the bridge: moving a link costs 14 ms in the kernel.
The bridge's MAC stays while ports come and go: neighbours' entries for the gateway would be wrong otherwise
(bridge_link.py). Bridges stay when the last endpoint leaves, as with Docker and the reference.
"""

from __future__ import annotations

import errno
from ipaddress import ip_network

from cni_cnm import validate
from cni_cnm.drivers import Configuration, Driver, Role, firewall_options
from cni_cnm.drivers import bridge_gateway as gateway
from cni_cnm.drivers import bridge_link as bridges
from cni_cnm.drivers import bridge_vlan as vlans
from cni_cnm.drivers.bridge_options import KEYS, REFERENCE_KEYS, BridgeOptions, parse
from cni_cnm.errors import CheckFailed, Conflict, DriverFailed, InvalidConfig, KernelError, NotReady
from cni_cnm.firewall import Policy
from cni_cnm.kernel import UNICAST_HAIRPIN_GROUP, Port
from cni_cnm.model import Device, Interface, stable_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from cni_cnm.drivers import EndpointPlan, NetworkPlan, Place
    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import IPAddress, Json, NetworkSpec, Subnet

_REPAIR = "`cni-cnm repair` puts it right, unless another program made the bridge"
PORTS_MAX = 1023
"""BR_MAX_PORTS less the reserved port 0 (net/bridge/br_private.h)."""


class BridgeDriver(Driver[BridgeOptions]):
    name = "bridge"
    configuration = Configuration(KEYS, REFERENCE_KEYS)
    link_kinds = frozenset(("veth",))

    def options(self, network: NetworkSpec) -> BridgeOptions:
        return parse(network)

    def restore(self, raw: Mapping[str, Json]) -> BridgeOptions:
        return BridgeOptions.from_json(raw)

    def settled(self, options: BridgeOptions, *, earlier: bool) -> BridgeOptions:
        return options if options.hairpin is not None else options._replace(hairpin=not earlier)

    def fixed(self, options: BridgeOptions) -> Mapping[str, Json]:
        modes = {"gateway_mode_ipv4": options.gateway_modes[0], "gateway_mode_ipv6": options.gateway_modes[1]}
        trusted = ":".join(options.trusted)
        return {"bridge": options.bridge, "ingressPolicy": options.ingress, **modes, "trusted_host_interfaces": trusted}

    def with_policy(self, options: BridgeOptions, policy: Mapping[str, Json]) -> BridgeOptions:
        changed: BridgeOptions = firewall_options.with_policy(options, policy)
        return changed

    def with_policy_of(self, options: BridgeOptions, recorded: BridgeOptions) -> BridgeOptions:
        kept: BridgeOptions = firewall_options.with_policy_of(options, recorded)
        return kept

    def policy(self, options: BridgeOptions) -> Policy:
        cnm = options.profile == "cnm"
        return Policy(
            options.masquerade,
            options.guard_mac,
            options.bridge,
            options.ingress,
            options.internal,
            options.zone,
            options.admin_chain,
            published_only=firewall_options.published_only(options.ingress, options.gateway_modes) if cnm else (),
            routed=firewall_options.routed(options.ingress, options.gateway_modes),
            unmasqueraded=firewall_options.unmasqueraded(options.gateway_modes),
            masquerade_except=tuple(map(ip_network, options.masquerade_except if options.masquerade else ())),
            sources=options.sources,
            trusted=options.trusted if not options.internal else (),
            unicast_hairpin=not options.reflects,
        )

    def role(self, options: BridgeOptions) -> Role:
        return Role(
            gateway="driver" if options.is_gateway else "ipam",
            default_route=options.default_gateway,
            metric=options.metric,
            internal=options.internal,
            up=options.container_up,
            dad=options.dad,
        )

    def refuse_new(self, options: BridgeOptions) -> None:
        validate.require(validate.filter_name, options.bridge, "the name of the bridge")

    def validate(self, options: BridgeOptions, host: Stack) -> None:
        bridges.require(options, host)

    def owns_data_path(self, options: BridgeOptions, host: Stack) -> bool:
        """One with the MAC that is derived for it was made here."""
        there = host.link(options.bridge)
        return there is None or there.mac == stable_mac("bridge", options.bridge)

    def create_network(self, options: BridgeOptions, subnets: Sequence[Subnet], host: Stack) -> None:
        there = host.link(options.bridge)
        wanted = [subnet.gateway for subnet in subnets if subnet.gateway] if options.is_gateway else []
        before = host.addresses(there.ifindex) if there is not None else ()
        try:
            bridge, _ = bridges.ensure(options, {subnet.pool.version for subnet in subnets}, host)
            if options.is_gateway:
                bridges.pin_mac(bridge, host)
                gateway.ensure(options, bridge, wanted, host)
        except BaseException:
            if there is not None:
                added = [one for one in wanted if one not in before]
                for address in host.addresses(there.ifindex):
                    if address in added:
                        host.delete_address(there.ifindex, address)
            raise

    def skips_gateways(self, options: BridgeOptions) -> frozenset[int]:
        """Those of an internal network whose bridge has no address: no endpoint would use the gateway."""
        return frozenset(options.addressless if options.internal else ())

    def subnet_links(self, options: BridgeOptions, host: Stack) -> tuple[str, ...]:
        return (options.bridge, vlans.gateway_port(options)) if options.vlan else (options.bridge,)

    def change_subnets(
        self,
        options: BridgeOptions,
        old: Sequence[Subnet],
        new: Sequence[Subnet],
        host: Stack,
        in_use: Container[IPAddress] = frozenset(),
    ) -> None:
        bridge = host.link(options.bridge)
        if bridge is not None and options.is_gateway:
            before, after = ([s.gateway for s in subnets if s.gateway] for subnets in (old, new))
            gateway.change(options, bridge, before, after, in_use, host)

    def delete_network(self, options: BridgeOptions, host: Stack) -> None:
        """Remove the bridge if nothing is attached. With other ports it is used by another program, too."""
        link = host.link(options.bridge)
        if link is None or link.kind != "bridge" or link.name != options.bridge:
            return
        own = vlans.port_of_gateway(options) if options.vlan else ""
        ports = host.links(master=link.ifindex)
        if all(port.name == own for port in ports):
            for unused in (*ports, link):
                host.delete_link(unused.ifindex)

    def create_endpoint(self, options: BridgeOptions, plan: EndpointPlan, host: Stack, place: Place) -> Device:
        bridge, remade = bridges.ensure(options, {a.interface.version for a in plan.addresses}, host)
        bridges.shield_ipv6(options, bridge, host)
        extra = gateway.ensure(options, bridge, gateway.of(plan.addresses), host) if options.is_gateway else ()
        mtu = options.mtu or (bridge.mtu if options.profile == "cnm" else 0)
        mac = stable_mac("host", plan.id)
        try:
            made = host.add_veth(
                plan.host_ifname,
                peer=place.ifname,
                peer_stack=place.stack,
                mtu=mtu,
                mac=mac,
                peer_mac=plan.mac,
                master=bridge.ifindex,
                up=True,
            )
        except KernelError as error:
            if error.errno != errno.EEXIST:  # it may have been made, if the answer was lost
                self.delete_endpoint(options, plan, host)
            raise _explain(error, options.bridge, place) from error
        port = made or bridges.find(host, plan.host_ifname)
        try:
            bridges.restore_mac(bridge, host)
            # A router takes no advice from its containers: SLAAC on the host's ends would give the host their prefixes.
            host.set_sysctls([(f"net/ipv6/conf/{port.name}/accept_ra", "0")], tolerate=True)
            _set_port(options, plan, port, host)
        except BaseException:
            host.delete_link(port.ifindex)
            raise
        return Device(
            container=Interface(place.ifname, plan.mac, port.mtu, place.sandbox),
            host=(Interface(bridge.name, bridge.mac, bridge.mtu), Interface(port.name, mac, port.mtu)),
            extra=extra,
            ifindex=port.peer,
            remade=remade,
        )

    def compare_network(self, options: BridgeOptions, plan: NetworkPlan, host: Stack) -> Sequence[str]:
        bridge = host.link(options.bridge)
        if bridge is None:
            return [f"{options.bridge} does not exist"] if plan.in_use and plan.owns_link else []
        if bridge.kind != "bridge" or bridge.name != options.bridge:
            return []
        found = []
        if plan.owns_link and plan.in_use:
            if not bridge.up:
                found.append(f"{bridge.name} is down")
            if options.promisc and not bridge.promisc:
                found.append(f"{bridge.name} is not promiscuous")
        mtu = bridges.expected_mtu(options, bridge, plan, host)
        if mtu != bridge.mtu:
            found.append(f"{bridge.name} has the MTU {bridge.mtu} instead of {mtu}")
        if plan.in_use and options.is_gateway:
            found += gateway.compare(options, bridge, plan.gateways, host)
        return found

    def repair_network(self, options: BridgeOptions, plan: NetworkPlan, host: Stack) -> bool:
        remade, bridge = False, host.link(options.bridge)
        versions = {address.version for address in plan.gateways}
        if plan.owns_link and plan.in_use:
            bridge, remade = bridges.ensure(options, versions, host)
        if bridge is None:
            return False
        mtu = bridges.expected_mtu(options, bridge, plan, host)
        if mtu != bridge.mtu:
            bridges.fix_mtu(bridge, mtu, host)
        if plan.in_use and options.is_gateway:
            gateway.repair(options, bridge, plan.gateways, host)
        return remade

    def compare_endpoint(self, options: BridgeOptions, plan: EndpointPlan, host: Stack) -> Sequence[str]:
        bridge, port = host.link(options.bridge), host.link(plan.host_ifname)
        if bridge is None or bridge.kind != "bridge" or port is None or port.kind != "veth":
            return []
        found = [] if port.up else [f"{port.name} is down"]
        if not port.master:
            found.append(f"{port.name} is not a port of {bridge.name}")
        elif port.master == bridge.ifindex and host.port(port.ifindex) != _port(options, plan):
            found.append(f"{port.name} has other port flags than configured")
        elif _is_outside_group(options, port):
            found.append(f"{port.name} is in the link group {port.group}")
        return found

    def repair_endpoint(self, options: BridgeOptions, plan: EndpointPlan, host: Stack) -> None:
        bridge, port = host.link(options.bridge), host.link(plan.host_ifname)
        if bridge is None or port is None or port.kind != "veth" or port.master not in (0, bridge.ifindex):
            return
        joins = port.master == 0
        if joins or not port.up:
            host.set_link(port.ifindex, up=True, master=bridge.ifindex if joins else None)
        flags = _port(options, plan)
        if host.port(port.ifindex) != flags or _is_outside_group(options, port):
            host.set_port(port.ifindex, flags, group=_group(options, flags))
        if options.vlan_filtering:
            vlans.tag(options, port, host)
        if joins:
            bridges.restore_mac(bridge, host)

    def add_gateways(self, options: BridgeOptions, plan: EndpointPlan, host: Stack) -> tuple[Interface, ...]:
        bridge, _ = bridges.ensure(options, {a.interface.version for a in plan.addresses}, host)
        return gateway.ensure(options, bridge, gateway.of(plan.addresses), host) if options.is_gateway else ()

    def delete_endpoint(self, options: BridgeOptions, plan: EndpointPlan, host: Stack) -> None:
        link = host.link(plan.host_ifname)
        if link is not None and link.kind == "veth":
            host.delete_link(link.ifindex)

    def check_endpoint(self, options: BridgeOptions, plan: EndpointPlan, host: Stack, place: Place) -> None:
        bridge = host.link(options.bridge)
        if bridge is None or bridge.kind != "bridge" or bridge.name != options.bridge:
            raise CheckFailed(f"the bridge {options.bridge} is missing", hint=_REPAIR)
        if not bridge.up:
            raise CheckFailed(f"the bridge {options.bridge} is down", hint=_REPAIR)
        if options.promisc and not bridge.promisc:
            raise CheckFailed(f"the bridge {options.bridge} is not promiscuous", hint=_REPAIR)
        if options.is_gateway:
            gateway.check(options, bridge, gateway.of(plan.addresses), host)
        port = host.link(plan.host_ifname)
        if port is None:
            raise CheckFailed(f"the host's end {plan.host_ifname} of {place.ifname} is missing")
        if port.master != bridge.ifindex:
            raise CheckFailed(f"{port.name} is not a port of {options.bridge}")
        if not port.up:
            raise CheckFailed(f"the host's end {port.name} of {place.ifname} is down")
        found = host.port(port.ifindex)
        wanted = _port(options, plan)
        if found != wanted:
            raise CheckFailed(
                f"{port.name} has hairpin={found.hairpin} isolated={found.isolated}, "
                f"configured are hairpin={wanted.hairpin} isolated={wanted.isolated}"
            )
        if _is_outside_group(options, port):
            raise CheckFailed(f"{port.name} is in the link group {port.group}, not in {UNICAST_HAIRPIN_GROUP}")
        if options.vlan_filtering:
            vlans.check(options, port, host)

    def status(self, options: BridgeOptions, subnets: Sequence[Subnet], host: Stack) -> str:
        try:
            link = bridges.require(options, host)
            if link is None:
                return ""
            if options.is_gateway:
                gateway.refuse_conflict(options, link, [s.gateway for s in subnets if s.gateway], host)
        except (Conflict, InvalidConfig) as error:
            raise NotReady(error.msg, hint=error.hint) from error
        if host.port_count(link.name) >= PORTS_MAX:
            return f"the bridge {options.bridge} is full: {PORTS_MAX} ports"
        return ""


def _set_port(options: BridgeOptions, plan: EndpointPlan, port: Link, host: Stack) -> None:
    """The flags and VLANs of an endpoint's port. The kernel takes no flags with the request that makes a port."""
    flags = _port(options, plan)
    if flags != Port():
        host.set_port(port.ifindex, flags, group=_group(options, flags))
    if options.vlan_filtering:
        vlans.tag(options, port, host)


def _port(options: BridgeOptions, plan: EndpointPlan) -> Port:
    """With bridge-nf-call-iptables a redirected packet is bridged: to an own published port, back where it was."""
    return Port(hairpin=bool(options.hairpin) or plan.publishes, isolated=options.isolated_port)


def _group(options: BridgeOptions, flags: Port) -> int | None:
    return UNICAST_HAIRPIN_GROUP if flags.hairpin and not options.reflects else None


def _is_outside_group(options: BridgeOptions, port: Link) -> bool:
    """Of an endpoint that has hairpin by its network. Those of 0.1.0 with published ports have no group."""
    return bool(options.hairpin) and not options.reflects and port.group != UNICAST_HAIRPIN_GROUP


def _explain(error: KernelError, bridge: str, place: Place) -> Exception:
    if error.errno == errno.EXFULL:
        return DriverFailed(
            f"the bridge {bridge} is full: it has {PORTS_MAX} ports, the most a Linux bridge takes",
            hint="put further containers on a network with another bridge",
        )
    if error.errno == errno.EEXIST and place.stack.link(place.ifname) is not None:
        return Conflict(f"the container has an interface {place.ifname} already", hint="DEL the old attachment first")
    return error


DRIVER = BridgeDriver()
