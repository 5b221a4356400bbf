"""The overlay driver: a bridge network on each host, of one subnet, with blocks of addresses that the hosts claim.

    container ═══ veth ── bridge of the network ── routes to other hosts' blocks ── VXLAN device, or the uplink

On one host it is a bridge network whose addresses are from this host's blocks. The bridge driver does all of that. The
way to other hosts (VXLAN device, routes) is made by the agent of the service (cluster/). What hosts agree on is on
record, so an endpoint needs no other host and no store.
"""

from __future__ import annotations

from functools import lru_cache

from cni_cnm.drivers import Configuration, Driver
from cni_cnm.drivers.bridge import DRIVER as BRIDGE
from cni_cnm.drivers.overlay_options import AGREED, KEYS, OverlayOptions, parse
from cni_cnm.errors import CheckFailed, InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from cni_cnm.drivers import EndpointPlan, NetworkPlan, Place, Role
    from cni_cnm.firewall import Policy
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Device, Interface, IPAddress, IPNetwork, Json, NetworkSpec, Subnet

_ADOPTED_MAX = 64
_SPELLED = {"subnet": "an IPv4 subnet", "subnet6": "an IPv6 subnet"}


class OverlayDriver(Driver[OverlayOptions]):
    name = "overlay"
    configuration = Configuration(KEYS)
    link_kinds = BRIDGE.link_kinds

    def __init__(self) -> None:
        self._adopted: dict[str, tuple[OverlayOptions, OverlayOptions, OverlayOptions]] = {}

    def options(self, network: NetworkSpec) -> OverlayOptions:
        return parse(network)

    def restore(self, raw: Mapping[str, Json]) -> OverlayOptions:
        return OverlayOptions.from_json(raw)

    def settled(self, options: OverlayOptions, *, earlier: bool) -> OverlayOptions:
        bridge = BRIDGE.settled(options.bridge, earlier=earlier)
        return options if bridge is options.bridge else options._replace(bridge=bridge)

    def adopted(self, options: OverlayOptions, recorded: OverlayOptions) -> OverlayOptions:
        """Every pod of a network brings the same two values: what they gave is kept."""
        known = self._adopted.get(recorded.id)
        if known is not None and known[0] is options and known[1] is recorded:
            return known[2]
        _refuse_other_values(options, recorded)
        bridge = BRIDGE.settled(options.bridge, earlier=False)._replace(
            outside=recorded.bridge.outside, ip_hooks=recorded.bridge.ip_hooks
        )
        found = recorded if bridge == recorded.bridge else recorded._replace(bridge=bridge)
        if len(self._adopted) >= _ADOPTED_MAX:
            self._adopted.clear()
        self._adopted[recorded.id] = options, recorded, found
        return found

    def all_subnets(self, options: OverlayOptions) -> Sequence[IPNetwork]:
        return options.subnets

    def fixed(self, options: OverlayOptions) -> Mapping[str, Json]:
        return BRIDGE.fixed(options.bridge)

    def policy(self, options: OverlayOptions) -> Policy:
        return _policy(options)

    def role(self, options: OverlayOptions) -> Role:
        return BRIDGE.role(options.bridge)

    def refuse_new(self, options: OverlayOptions) -> None:
        BRIDGE.refuse_new(options.bridge)

    def validate(self, options: OverlayOptions, host: Stack) -> None:
        BRIDGE.validate(options.bridge, host)

    def owns_data_path(self, options: OverlayOptions, host: Stack) -> bool:
        return BRIDGE.owns_data_path(options.bridge, host)

    def create_network(self, options: OverlayOptions, subnets: Sequence[Subnet], host: Stack) -> None:
        BRIDGE.create_network(options.bridge, subnets, host)

    def delete_network(self, options: OverlayOptions, host: Stack) -> None:
        BRIDGE.delete_network(options.bridge, host)

    def subnet_links(self, options: OverlayOptions, host: Stack) -> tuple[str, ...]:
        return (*BRIDGE.subnet_links(options.bridge, host), options.bridge.outside)

    def change_subnets(
        self,
        options: OverlayOptions,
        old: Sequence[Subnet],
        new: Sequence[Subnet],
        host: Stack,
        in_use: Container[IPAddress] = frozenset(),
    ) -> None:
        BRIDGE.change_subnets(options.bridge, old, new, host, in_use)

    def create_endpoint(self, options: OverlayOptions, plan: EndpointPlan, host: Stack, place: Place) -> Device:
        return BRIDGE.create_endpoint(options.bridge, plan, host, place)

    def compare_network(self, options: OverlayOptions, plan: NetworkPlan, host: Stack) -> Sequence[str]:
        return BRIDGE.compare_network(options.bridge, plan, host)

    def repair_network(self, options: OverlayOptions, plan: NetworkPlan, host: Stack) -> bool:
        return BRIDGE.repair_network(options.bridge, plan, host)

    def compare_endpoint(self, options: OverlayOptions, plan: EndpointPlan, host: Stack) -> Sequence[str]:
        return BRIDGE.compare_endpoint(options.bridge, plan, host)

    def repair_endpoint(self, options: OverlayOptions, plan: EndpointPlan, host: Stack) -> None:
        BRIDGE.repair_endpoint(options.bridge, plan, host)

    def add_gateways(self, options: OverlayOptions, plan: EndpointPlan, host: Stack) -> tuple[Interface, ...]:
        return BRIDGE.add_gateways(options.bridge, plan, host)

    def delete_endpoint(self, options: OverlayOptions, plan: EndpointPlan, host: Stack) -> None:
        BRIDGE.delete_endpoint(options.bridge, plan, host)

    def check_endpoint(self, options: OverlayOptions, plan: EndpointPlan, host: Stack, place: Place) -> None:
        BRIDGE.check_endpoint(options.bridge, plan, host, place)
        device = host.link(options.bridge.outside)
        if device is None or device.kind != "vxlan":
            raise CheckFailed(
                f"the VXLAN device {options.bridge.outside}, by which the network reaches other hosts, is missing",
                hint="the service makes it: `systemctl status cni-cnm`",
            )
        if not device.up:
            raise CheckFailed(f"the VXLAN device {device.name} is down", hint=f"`ip link set {device.name} up`")

    def status(self, options: OverlayOptions, subnets: Sequence[Subnet], host: Stack) -> str:
        return BRIDGE.status(options.bridge, subnets, host)


@lru_cache(64)
def _policy(options: OverlayOptions) -> Policy:
    return BRIDGE.policy(options.bridge)._replace(outside=options.bridge.outside, cluster=options.subnets)


def _refuse_other_values(options: OverlayOptions, recorded: OverlayOptions) -> None:
    for key in AGREED:
        given, there = getattr(options, key), getattr(recorded, key)
        if given and given != there:
            what = _SPELLED.get(key, key)
            raise InvalidConfig(
                f"the configuration says {what} {given}, and the overlay network of all hosts has {there or 'none'}",
                hint=f"leave out {'the subnet' if key in _SPELLED else key}, or give the network another name",
            )


DRIVER = OverlayDriver()
