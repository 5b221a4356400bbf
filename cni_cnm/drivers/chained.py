"""The chained driver: the interface is another plugin's, made before this one was called (`prevResult`).

It makes and removes nothing; the endpoint it gives adds published ports, shaping, tuning and the block `firewall` to
that interface. What goes by a bridge goes by the one the interface stands on; where it stands on none, but has an end
on the host (ptp), by that end, which is a network of one endpoint then.
"""

from __future__ import annotations

from cni_cnm.drivers import Adopted, Role
from cni_cnm.errors import CheckFailed, InvalidConfig
from cni_cnm.firewall import Policy
from cni_cnm.model import Device, Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.drivers import EndpointPlan, Place
    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import EndpointSpec, Json, NetworkSpec, Subnet

_BRIDGE, _ALONE = "bridge", "alone"


class ChainedDriver:
    name = "chained"

    def options(self, network: NetworkSpec) -> Mapping[str, Json]:
        """Without a block `firewall` there is no policy at all: whatever stands in the chain for that decides."""
        raw = network.options
        if not raw and not network.internal:
            return {}
        return {
            "ingress": raw.get("ingresspolicy", "open"),
            "internal": network.internal,
            "zone": raw.get("firewalldzone", ""),
            "admin_chain": raw.get("iptablesadminchainname", ""),
        }

    def policy(self, options: Mapping[str, Json]) -> Policy:
        return Policy(**options) if options.get(_BRIDGE) else Policy()

    def role(self, options: Mapping[str, Json]) -> Role:
        return Role(makes_device=False)

    def adopt(self, options: Mapping[str, Json], spec: EndpointSpec, host: Stack, place: Place) -> Adopted:
        link = _require(place)
        port = _host_end(link, host)
        if port is None:
            for wish, what in (
                (spec.ports, "publish a port"),
                (spec.bandwidth, "limit bandwidth"),
                (options, "filter"),
            ):
                if wish:
                    raise InvalidConfig(
                        f"{place.ifname} is a {link.kind or 'hardware'} link without an end on the host, so there is "
                        f"nothing to {what} by",
                        hint="only tuning can be added to it; the rest takes a veth, as bridge and ptp make it",
                    )
        mac = (spec.tuning and spec.tuning.mac) or link.mac
        if port is None or not options:
            return Adopted(port.name if port else "", mac, options, options)
        bridge = _bridge(port, host)
        if bridge is not None:
            options = {**options, _BRIDGE: bridge.name}
            return Adopted(port.name, mac, options, options)
        return Adopted(port.name, mac, options, {**options, _BRIDGE: port.name, _ALONE: True})

    def validate(self, options: Mapping[str, Json], host: Stack) -> None:
        """Nothing of the host is needed."""

    def create_network(self, options: Mapping[str, Json], subnets: Sequence[Subnet], host: Stack) -> bool:
        return False

    def delete_network(self, options: Mapping[str, Json], host: Stack) -> None:
        """Nothing was made."""

    def create_endpoint(
        self,
        options: Mapping[str, Json],
        plan: EndpointPlan,
        host: Stack,
        place: Place,
    ) -> Device:
        """What is there: the container's link, and the host's way to it (the bridge of a port, else the port)."""
        link = _require(place)
        port = _host_end(link, host)
        ways: tuple[Interface, ...] = ()
        if port is not None:
            ways = tuple(Interface(way.name, way.mac, way.mtu) for way in (_bridge(port, host) or port, port))
        return Device(container=Interface(link.name, link.mac, link.mtu, place.sandbox), host=ways)

    def delete_endpoint(self, options: Mapping[str, Json], plan: EndpointPlan, host: Stack) -> None:
        """The interface plugin removes its own."""

    def check_endpoint(
        self,
        options: Mapping[str, Json],
        plan: EndpointPlan,
        host: Stack,
        place: Place,
    ) -> None:
        if place.stack.link(place.ifname) is None:
            raise CheckFailed(f"the container's interface {place.ifname} is missing")

    def status(self, options: Mapping[str, Json], host: Stack) -> str:
        return ""


def _require(place: Place) -> Link:
    link = place.stack.link(place.ifname)
    if link is None:
        raise InvalidConfig(
            f"the container has no interface {place.ifname}",
            hint="prevResult says that an earlier plugin made it; is CNI_IFNAME right?",
        )
    return link


def _bridge(port: Link, host: Stack) -> Link | None:
    """The bridge a link is on. Another master (a VRF, Open vSwitch) is no way that packets are seen on."""
    master = host.link_at(port.master) if port.master else None
    return master if master is not None and master.kind == "bridge" else None


def _host_end(link: Link, host: Stack) -> Link | None:
    """The veth's other end, if it is on the host: an index alone could be of any namespace."""
    if link.kind != "veth" or not link.peer:
        return None
    port = host.link_at(link.peer)
    return port if port is not None and port.kind == "veth" and port.peer == link.ifindex else None


DRIVER = ChainedDriver()
