"""The chained driver: the interface is another plugin's, made before this one was called (`prevResult`).

It makes and removes nothing. The endpoint adds published ports, shaping, tuning and the block `firewall` to that
interface. Rules name the bridge that the interface is a port of. If it is a port of none, but has an end on the host
(ptp), they name that end, which is then a network of one endpoint.
"""

from __future__ import annotations

from cni_cnm.drivers import CHAINED, POLICY_OF_CHAIN, Configuration, Driver, ExistingInterface, Role
from cni_cnm.errors import CheckFailed, InvalidConfig
from cni_cnm.firewall import Policy
from cni_cnm.model import Device, Interface
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.drivers import EndpointPlan, Place
    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import EndpointSpec, Json, NetworkSpec


class ChainedOptions(NamedTuple):
    filters: bool = False
    """False: no block `firewall`, so no policy at all. Another plugin of the chain may have one."""
    ingress: str = "open"
    internal: bool = False
    zone: str = ""
    admin_chain: str = ""
    bridge: str = ""
    """The link that the policy goes by: the bridge of the host's end, else that end. "" until it is found."""
    alone: bool = False
    """`bridge` is the endpoint's own link."""

    def to_json(self) -> Mapping[str, Json]:
        if not self.filters:
            return {}
        found = {key: value for key, value in (("bridge", self.bridge), ("alone", self.alone)) if value}
        return {**dict(zip(self._fields[1:5], self[1:5], strict=True)), **found}

    @classmethod
    def from_json(cls, raw: Mapping[str, Json]) -> ChainedOptions:
        return cls(bool(raw), **{key: value for key, value in raw.items() if key in cls._fields[1:]})


class ChainedDriver(Driver[ChainedOptions]):
    name = CHAINED
    configuration = Configuration(
        refused="is not configured: it follows from a prevResult and no ipam",
        hint="leave out driver, and put this plugin behind an interface plugin",
    )
    uses_existing_interface = True

    def options(self, network: NetworkSpec) -> ChainedOptions:
        raw = network.options
        return ChainedOptions(
            bool(raw.keys() - {POLICY_OF_CHAIN}) or network.internal,
            raw.get("ingresspolicy", "open"),
            network.internal,
            raw.get("firewalldzone", ""),
            raw.get("iptablesadminchainname", ""),
        )

    def restore(self, raw: Mapping[str, Json]) -> ChainedOptions:
        return ChainedOptions.from_json(raw)

    def fixed(self, options: ChainedOptions) -> Mapping[str, Json]:
        found = {"bridge": options.bridge} if options.bridge else {}
        return {**found, "ingressPolicy": options.ingress} if options.filters else {}

    def with_policy_of(self, options: ChainedOptions, recorded: ChainedOptions) -> ChainedOptions:
        return recorded

    def policy(self, options: ChainedOptions) -> Policy:
        if not options.bridge:
            return Policy()
        return Policy(
            bridge=options.bridge,
            ingress=options.ingress,
            internal=options.internal,
            zone=options.zone,
            admin_chain=options.admin_chain,
            alone=options.alone,
        )

    def role(self, options: ChainedOptions) -> Role:
        return Role(interface="existing")

    def existing_interface(
        self, options: ChainedOptions, spec: EndpointSpec, host: Stack, place: Place
    ) -> ExistingInterface[ChainedOptions]:
        link = _require(place)
        port = _host_end(link, host)
        if port is None:
            for requested, what in (
                (spec.ports, "publish a port"),
                (spec.bandwidth, "limit bandwidth"),
                (options.internal or options.ingress != "open", "filter"),
            ):
                if requested:
                    raise InvalidConfig(
                        f"{place.ifname} is a {link.kind or 'hardware'} link without an end on the host, so there is "
                        f"nothing to {what} by",
                        hint="only tuning can be added to it; the rest takes a veth, as bridge and ptp make it",
                    )
        mac = (spec.tuning and spec.tuning.mac) or link.mac
        if port is None or not options.filters:
            return ExistingInterface(port.name if port else "", mac, options, options)
        bridge = _bridge(port, host)
        if bridge is not None:
            options = options._replace(bridge=bridge.name)
            return ExistingInterface(port.name, mac, options, options)
        return ExistingInterface(port.name, mac, options, options._replace(bridge=port.name, alone=True))

    def create_endpoint(self, options: ChainedOptions, plan: EndpointPlan, host: Stack, place: Place) -> Device:
        """What is there: the container's link, and of the host the bridge, if there is one, and the other end."""
        link = _require(place)
        port = _host_end(link, host)
        on_host = (_bridge(port, host), port) if port is not None else ()
        return Device(
            container=Interface(link.name, link.mac, link.mtu, place.sandbox),
            host=tuple(Interface(one.name, one.mac, one.mtu) for one in on_host if one is not None),
        )

    def delete_endpoint(self, options: ChainedOptions, plan: EndpointPlan, host: Stack) -> None:
        """The interface plugin removes its own."""

    def check_endpoint(self, options: ChainedOptions, plan: EndpointPlan, host: Stack, place: Place) -> None:
        if place.stack.link(place.ifname) is None:
            raise CheckFailed(f"the container's interface {place.ifname} is missing")


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
