"""The remote driver: networks of a Docker network plugin, which is called where a built-in driver works itself.

    create_network   CreateNetwork                    delete_network   DeleteNetwork
    create_endpoint  CreateEndpoint, Join             leave            Leave
    program, revoke  …ExternalConnectivity            delete_endpoint  DeleteEndpoint

What the plugin made is on the host: the engine moves it into the sandbox, and back between Leave and DeleteEndpoint, as
libnetwork does. Nothing is kept here. If a plugin answers a Leave or a Delete with an error, that is noted and the
removal goes on. If it does not answer, the record is kept, so that the call is made again.
"""

from __future__ import annotations

from ipaddress import ip_network

from cni_cnm import validate
from cni_cnm.docker_protocol import NETWORK_DRIVER
from cni_cnm.docker_protocol.endpoint_messages import (
    CREATE_ENDPOINT,
    CreateEndpoint,
    CreateEndpointResponse,
    DeleteEndpoint,
    EndpointInterface,
    EndpointOperInfo,
    EndpointOperInfoResponse,
)
from cni_cnm.docker_protocol.join_messages import (
    JOIN,
    InterfaceName,
    Join,
    JoinResponse,
    Leave,
    ProgramExternalConnectivity,
    RevokeExternalConnectivity,
)
from cni_cnm.docker_protocol.network_messages import (
    CreateNetwork,
    DeleteNetwork,
    GwAllocCheck,
    GwAllocCheckResponse,
    IpamData,
)
from cni_cnm.docker_protocol.options import EndpointOptions, NetworkOptions
from cni_cnm.docker_protocol.plugin import had_no_effect, open_plugin, require_answer, send_removal, undo
from cni_cnm.docker_protocol.plugin_messages import GET_CAPABILITIES, DriverCapabilities
from cni_cnm.docker_protocol.ports import bindings, exposed
from cni_cnm.drivers import BUILT_IN, Configuration, Driver, Role
from cni_cnm.errors import CheckFailed, CnmError, DriverFailed, InvalidConfig, PluginFailed
from cni_cnm.fields import Fields
from cni_cnm.firewall import Policy
from cni_cnm.model import ON_LINK, Address, Device, Interface, Lease, Route, digest, stable_mac
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.docker_protocol.plugin import Message, Plugin
    from cni_cnm.drivers import EndpointPlan, Place
    from cni_cnm.kernel import Stack
    from cni_cnm.model import IPInterface, Json, NetworkSpec, Subnet

BRIDGES_ONLY = {"ingressPolicy": "open", "firewalldZone": None, "iptablesAdminChainName": None}
"""Keys of the block `firewall` that are for bridges, and the value of each that requests nothing."""
LABEL_MTU = "com.docker.network.driver.mtu"
DST_PREFIX = "eth"
DEFAULTS = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
NULL_SPACE = "null"
"""The address space of libnetwork's null IPAM: no addresses, or the plugin's own."""


class RemoteOptions(NamedTuple):
    network: str
    """The id that the plugin knows the network by; the same on every host that has a network of the name."""
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    generic: Mapping[str, str] = {}
    """`-o` of Docker."""
    foreign: Mapping[str, Json] = {}
    """A record's options that this driver did not write: of a driver that another program has registered."""

    def to_json(self) -> Mapping[str, Json]:
        return self.foreign or dict(zip(self._fields[:5], self[:5], strict=True))

    @classmethod
    def from_json(cls, raw: Mapping[str, Json]) -> RemoteOptions:
        if "network" not in raw:
            return cls("", foreign=raw)
        return cls(**{key: value for key, value in raw.items() if key in cls._fields[:5]})

    @property
    def message(self) -> NetworkOptions:
        return NetworkOptions(self.ipv4, self.ipv6, self.internal, self.generic)


def named(name: str) -> RemoteDriver:
    return RemoteDriver(name)


class RemoteDriver(Driver[RemoteOptions]):
    """The plugin is looked up only when it is called, because records can exist without it."""

    configuration = Configuration(frozenset(("mtu", "enableipv6")))
    needs_leave = True
    external_connectivity = True

    def __init__(self, name: str) -> None:
        self.name = name

    # what is known without the plugin ---------------------------------------

    def options(self, network: NetworkSpec) -> RemoteOptions:
        raw = Fields(network.options, words=True)
        for key, none in BRIDGES_ONLY.items():
            if key in raw and raw.raw(key) != none:
                raise InvalidConfig(
                    f"firewall.{key} is {raw.raw(key)!r}, which needs a bridge, and the networks of the plugin "
                    f"{self.name} need not have one",
                    hint="leave it out: the plugin decides what reaches the endpoints",
                )
        generic = {str(label): _text(value) for label, value in raw.mapping("labels").items() if value is not None}
        if "mtu" in raw:
            generic.setdefault(LABEL_MTU, str(raw.whole("mtu", 0, 68, 65535)))
        versions = _versions(network.ipam.config)
        ipv6 = 6 in versions or raw.flag("enableIPv6")
        return RemoteOptions(
            digest(network.name), versions != {6}, ipv6, network.internal, dict(sorted(generic.items()))
        )

    def restore(self, raw: Mapping[str, Json]) -> RemoteOptions:
        return RemoteOptions.from_json(raw)

    def policy(self, options: RemoteOptions) -> Policy:
        """Nothing: masquerade, isolation and published ports are the plugin's."""
        return Policy(publishes=False)

    def role(self, options: RemoteOptions) -> Role:
        """No default gateway: the plugin's answer to Join has it."""
        return Role(interface="moved", mac="requested", outside="plugin", internal=options.internal)

    # networks ---------------------------------------------------------------

    def validate(self, options: RemoteOptions, host: Stack) -> None:
        self._capabilities(self._open())

    def skips_gateways(self, options: RemoteOptions) -> frozenset[int]:
        plugin = self._open()
        if not self._capabilities(plugin).gw_alloc_checker:
            return frozenset()
        raw = plugin.send(GwAllocCheck(options.message))
        found = GwAllocCheckResponse.from_json(raw)
        return frozenset(v for v, skipped in ((4, found.skip_ipv4), (6, found.skip_ipv6)) if skipped)

    def owns_data_path(self, options: RemoteOptions, host: Stack) -> bool:
        return True

    def create_network(self, options: RemoteOptions, subnets: Sequence[Subnet], host: Stack) -> None:
        """Undoes a failure itself: only the plugin's error says whether there is something to undo."""
        data = {version: [_data(one) for one in subnets if one.pool.version == version] for version in (4, 6)}
        if not subnets:
            data[4] = [IpamData(DEFAULTS[4], address_space=NULL_SPACE)]
        said = options.message._replace(enable_ipv4=bool(data[4]), enable_ipv6=bool(data[6]))
        plugin = self._open()
        try:
            plugin.send(CreateNetwork(options.network, said, tuple(data[4]), tuple(data[6])))
        except CnmError as error:
            if not had_no_effect(error):
                undo(plugin, error, DeleteNetwork(options.network))
            raise

    def delete_network(self, options: RemoteOptions, host: Stack) -> None:
        self._tell(DeleteNetwork(options.network))

    # endpoints --------------------------------------------------------------

    def create_endpoint(self, options: RemoteOptions, plan: EndpointPlan, host: Stack, place: Place) -> Device:
        network, given = options.network, self._given(plan)
        plugin, said = self._open(), _said(plan)
        delete, leave = DeleteEndpoint(network, plan.id), Leave(network, plan.id)
        try:
            raw = plugin.send(CreateEndpoint(network, plan.id, given, said))
            made = self._filled(CreateEndpointResponse.from_json(raw).interface, given)
        except CnmError as error:
            if isinstance(error, PluginFailed):
                error.hint = "does it still know the network? one without memory has lost it: docs/plugins.md"
            if not had_no_effect(error):
                undo(plugin, error, delete)
            raise
        try:
            raw = plugin.send(Join(network, plan.id, place.sandbox, said))
        except CnmError as error:
            undo(plugin, error, *(() if had_no_effect(error) else (leave,)), delete)
            raise
        try:
            return _device(JoinResponse.from_json(raw), made, plan, place)
        except CnmError as error:
            undo(plugin, error, leave, delete)
            raise

    def program(self, options: RemoteOptions, plan: EndpointPlan, *, ipv6_elsewhere: bool) -> None:
        said = _said(plan)._replace(no_proxy_6to4=ipv6_elsewhere)
        message = ProgramExternalConnectivity(options.network, plan.id, said)
        try:
            self._open().send(message)
        except PluginFailed as error:
            if not error.unsupported:
                raise
            if plan.ports:
                raise DriverFailed(
                    f"the plugin {self.name} publishes no ports, so {plan.ports[0]} cannot be had of it",
                    hint="leave out the ports, or use a network of a driver that publishes them",
                ) from error

    def revoke(self, options: RemoteOptions, plan: EndpointPlan) -> None:
        message = RevokeExternalConnectivity(options.network, plan.id)
        self._tell(message, optional=True)

    def leave(self, options: RemoteOptions, plan: EndpointPlan, place: Place | None) -> None:
        """The engine takes the device out afterwards, if it is still there."""
        self._tell(Leave(options.network, plan.id))

    def delete_endpoint(self, options: RemoteOptions, plan: EndpointPlan, host: Stack) -> None:
        self._tell(DeleteEndpoint(options.network, plan.id))

    def info(self, options: RemoteOptions, plan: EndpointPlan) -> Mapping[str, Json]:
        message = EndpointOperInfo(options.network, plan.id)
        return EndpointOperInfoResponse.from_json(self._open().send(message)).value

    def check_endpoint(self, options: RemoteOptions, plan: EndpointPlan, host: Stack, place: Place) -> None:
        """Whether the plugin knows the endpoint. What it made, the container's end apart, only it can check."""
        try:
            self.info(options, plan)
        except CnmError as error:
            if isinstance(error, PluginFailed) and error.unsupported:
                return
            raise CheckFailed(error.msg, hint=error.hint) from error

    def status(self, options: RemoteOptions, subnets: Sequence[Subnet], host: Stack) -> str:
        require_answer(self.name, NETWORK_DRIVER, GET_CAPABILITIES)
        return ""

    # ------------------------------------------------------------------------

    def _open(self) -> Plugin:
        return open_plugin(self.name, NETWORK_DRIVER, built_in=BUILT_IN)

    def _capabilities(self, plugin: Plugin) -> DriverCapabilities:
        return DriverCapabilities.from_json(plugin.call_once(GET_CAPABILITIES))

    def _tell(self, message: Message, *, optional: bool = False) -> None:
        send_removal(self.name, NETWORK_DRIVER, message, optional=optional)

    def _given(self, plan: EndpointPlan) -> EndpointInterface:
        """The protocol has room for one address a family."""
        found: dict[int, IPInterface] = {}
        for address in plan.addresses:
            version = address.interface.version
            if version in found:
                raise InvalidConfig(
                    f"the endpoint has the addresses {found[version]} and {address.interface}: "
                    f"the plugin {self.name} can be told of one a family",
                    hint="give the ipam one range set a family",
                )
            found[version] = address.interface
        return EndpointInterface(found.get(4), found.get(6), plan.mac)

    def _filled(self, answer: EndpointInterface | None, given: EndpointInterface) -> EndpointInterface:
        """What the plugin filled in. DriverFailed if it changes what it was given."""
        answer = answer or EndpointInterface()
        for what, before, after in zip(("Address", "AddressIPv6", "MacAddress"), given, answer, strict=True):
            if before and after:
                raise DriverFailed(
                    f"the plugin {self.name} answered {CREATE_ENDPOINT} with the {what} {after}, "
                    f"and it was given {before}",
                    hint="a plugin may fill in only what it is given empty",
                )
        return answer


def _said(plan: EndpointPlan) -> EndpointOptions:
    """As libnetwork: both lists of ports always, a MAC only if it is the user's."""
    asked = plan.mac if plan.mac != stable_mac(plan.id) else ""
    return EndpointOptions(bindings(plan.ports), exposed(plan.ports), asked, tuple(plan.nameservers))


def _device(joined: JoinResponse, made: EndpointInterface, plan: EndpointPlan, place: Place) -> Device:
    ways = {4: joined.gateway, 6: joined.gateway_ipv6}
    addresses = tuple(
        Address(interface, ways[interface.version]) for interface in (made.address, made.address_ipv6) if interface
    )
    if joined.interface is None:
        return Device(Interface(""), lease=Lease(addresses))
    link = Interface(_name(joined.interface, place), made.mac or plan.mac, sandbox=place.sandbox)
    return Device(link, source=_link_name(joined.interface.src_name), lease=Lease(addresses, _routes(joined)))


def _routes(joined: JoinResponse) -> tuple[Route, ...]:
    """To each destination one: a gateway is before a default route, and a next hop may be behind a connected route."""
    gateways = [Route(DEFAULTS[way.version], way) for way in (joined.gateway_ipv6, joined.gateway) if way]
    connected = [Route(one.destination, scope=ON_LINK) for one in joined.static_routes if one.next_hop is None]
    routed = [Route(one.destination, one.next_hop) for one in joined.static_routes if one.next_hop is not None]
    return tuple({route.dst: route for route in [*routed[::-1], *connected[::-1], *gateways]}.values())[::-1]


def _name(names: InterfaceName, place: Place) -> str:
    """The name that was asked for, else the plugin's, as libnetwork finds it: the prefix and the lowest free number."""
    if place.ifname or names.dst_name:
        return place.ifname or _link_name(names.dst_name)
    prefix = names.dst_prefix or DST_PREFIX
    taken = {link.name for link in place.stack.links()}
    return _link_name(next(name for n in range(len(taken) + 1) if (name := f"{prefix}{n}") not in taken))


def _link_name(text: str) -> str:
    return validate.require(validate.interface_name, text, f"the link name in the response to {JOIN}", DriverFailed)


def _data(subnet: Subnet) -> IpamData:
    return IpamData(subnet.pool, subnet.gateway, subnet.space, subnet.aux)


def _versions(config: Mapping[str, Json]) -> set[int]:
    """IP versions of the subnets and addresses that an ipam object names; what is wrong in it its IPAM says."""
    listed = [config, *_listed(config.get("addresses"))]
    listed += [one for members in _listed(config.get("ranges")) for one in _listed(members)]
    texts = [str(one.get("subnet") or one.get("address") or "") for one in listed if isinstance(one, dict)]
    return {6 if ":" in text else 4 for text in texts if text}


def _listed(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list | tuple) else ()


def _text(value: Json) -> str:
    """As Docker's `-o` has it: texts all."""
    return str(value).lower() if isinstance(value, bool) else str(value)
