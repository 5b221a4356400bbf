"""Messages of NetworkDriver. Requests read with InvalidConfig, responses with DriverFailed (see fields.py)."""

from __future__ import annotations

from typing import NamedTuple

from cni_cnm.docker_protocol import ACTIVATE, fields
from cni_cnm.docker_protocol.options import EndpointOptions, NetworkOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.docker_protocol.fields import Fields
    from cni_cnm.model import IPAddress, IPInterface, IPNetwork, Json

GET_CAPABILITIES = "NetworkDriver.GetCapabilities"
GW_ALLOC_CHECK = "NetworkDriver.GwAllocCheck"
ALLOCATE_NETWORK = "NetworkDriver.AllocateNetwork"
FREE_NETWORK = "NetworkDriver.FreeNetwork"
CREATE_NETWORK = "NetworkDriver.CreateNetwork"
DELETE_NETWORK = "NetworkDriver.DeleteNetwork"
CREATE_ENDPOINT = "NetworkDriver.CreateEndpoint"
ENDPOINT_OPER_INFO = "NetworkDriver.EndpointOperInfo"
DELETE_ENDPOINT = "NetworkDriver.DeleteEndpoint"
JOIN = "NetworkDriver.Join"
LEAVE = "NetworkDriver.Leave"
PROGRAM_EXTERNAL_CONNECTIVITY = "NetworkDriver.ProgramExternalConnectivity"
REVOKE_EXTERNAL_CONNECTIVITY = "NetworkDriver.RevokeExternalConnectivity"
DISCOVER_NEW = "NetworkDriver.DiscoverNew"
DISCOVER_DELETE = "NetworkDriver.DiscoverDelete"

LOCAL, GLOBAL = "local", "global"
NEXTHOP, CONNECTED = 0, 1
NODE = 1
"""The one DiscoveryType that is sent to plugins."""


class Activation(NamedTuple):
    """The answer to Plugin.Activate: the subsystems a socket serves."""

    implements: tuple[str, ...]

    def to_json(self) -> Json:
        return {"Implements": list(self.implements)}

    @classmethod
    def from_json(cls, raw: Json) -> Activation:
        given = fields.response(ACTIVATE, raw)
        names = given.list("Implements")
        if not all(isinstance(name, str) for name in names):
            raise given.wrong("Implements", names, "a list of texts")
        return cls(tuple(names))


class Capabilities(NamedTuple):
    scope: str
    """`local` or `global`: required."""
    connectivity_scope: str = ""
    """As `scope` if empty."""
    gw_alloc_checker: bool = False
    """It wants GwAllocCheck before a gateway is reserved."""

    def to_json(self) -> Json:
        body: dict[str, Json] = {"Scope": self.scope}
        if self.connectivity_scope:
            body["ConnectivityScope"] = self.connectivity_scope
        if self.gw_alloc_checker:
            body["GwAllocChecker"] = True
        return body

    @classmethod
    def from_json(cls, raw: Json) -> Capabilities:
        given = fields.response(GET_CAPABILITIES, raw)
        scope, connectivity = given.text("Scope"), given.text("ConnectivityScope")
        if scope not in (LOCAL, GLOBAL):
            raise given.wrong("Scope", scope, f"{LOCAL!r} or {GLOBAL!r}")
        if connectivity not in ("", LOCAL, GLOBAL):
            raise given.wrong("ConnectivityScope", connectivity, f"{LOCAL!r} or {GLOBAL!r}")
        return cls(scope, connectivity, given.boolean("GwAllocChecker"))


class IpamData(NamedTuple):
    """One subnet of a network."""

    pool: IPNetwork
    gateway: IPInterface | None = None
    address_space: str = ""
    aux_addresses: Mapping[str, str] = {}
    """Name to address with prefix, verbatim."""

    def to_json(self) -> Json:
        body: dict[str, Json] = {"AddressSpace": self.address_space, "Pool": str(self.pool)}
        if self.gateway is not None:
            body["Gateway"] = str(self.gateway)
        body["AuxAddresses"] = dict(self.aux_addresses)
        return body

    @classmethod
    def read(cls, given: Fields) -> IpamData:
        pool = given.network("Pool")
        if pool is None:
            raise given.wrong("Pool", given.value("Pool"), "a network in CIDR notation")
        return cls(pool, given.interface("Gateway"), given.text("AddressSpace"), given.texts("AuxAddresses"))


class GwAllocCheck(NamedTuple):
    options: NetworkOptions

    @property
    def call(self) -> str:
        return GW_ALLOC_CHECK

    def to_json(self) -> Json:
        return {"Options": self.options.to_json()}

    @classmethod
    def from_json(cls, raw: Json) -> GwAllocCheck:
        return cls(NetworkOptions.read(fields.request(GW_ALLOC_CHECK, raw).inner("Options")))


class GwAllocChecked(NamedTuple):
    skip_ipv4: bool = False
    skip_ipv6: bool = False

    def to_json(self) -> Json:
        return {"SkipIPv4": self.skip_ipv4, "SkipIPv6": self.skip_ipv6}

    @classmethod
    def from_json(cls, raw: Json) -> GwAllocChecked:
        given = fields.response(GW_ALLOC_CHECK, raw)
        return cls(given.boolean("SkipIPv4"), given.boolean("SkipIPv6"))


class AllocateNetwork(NamedTuple):
    """Sent by a swarm's manager only, for drivers of scope global."""

    network_id: str
    options: Mapping[str, str] = {}
    ipv4: tuple[IpamData, ...] = ()
    ipv6: tuple[IpamData, ...] = ()

    @property
    def call(self) -> str:
        return ALLOCATE_NETWORK

    def to_json(self) -> Json:
        return {
            "NetworkID": self.network_id,
            "Options": dict(self.options),
            "IPv4Data": [data.to_json() for data in self.ipv4],
            "IPv6Data": [data.to_json() for data in self.ipv6],
        }

    @classmethod
    def from_json(cls, raw: Json) -> AllocateNetwork:
        given = fields.request(ALLOCATE_NETWORK, raw)
        return cls(given.required("NetworkID"), given.texts("Options"), *_ipam_data(given))


class Allocated(NamedTuple):
    """The answer to AllocateNetwork: options that every node's CreateNetwork then has."""

    options: Mapping[str, str] = {}

    def to_json(self) -> Json:
        return {"Options": dict(self.options)}

    @classmethod
    def from_json(cls, raw: Json) -> Allocated:
        return cls(fields.response(ALLOCATE_NETWORK, raw).texts("Options"))


class FreeNetwork(NamedTuple):
    network_id: str

    @property
    def call(self) -> str:
        return FREE_NETWORK

    def to_json(self) -> Json:
        return {"NetworkID": self.network_id}

    @classmethod
    def from_json(cls, raw: Json) -> FreeNetwork:
        return cls(fields.request(FREE_NETWORK, raw).required("NetworkID"))


class CreateNetwork(NamedTuple):
    """Neither the network's name nor its labels are sent. A family that is not used has no data."""

    network_id: str
    options: NetworkOptions
    ipv4: tuple[IpamData, ...] = ()
    ipv6: tuple[IpamData, ...] = ()

    @property
    def call(self) -> str:
        return CREATE_NETWORK

    def to_json(self) -> Json:
        return {
            "NetworkID": self.network_id,
            "Options": self.options.to_json(),
            "IPv4Data": [data.to_json() for data in self.ipv4],
            "IPv6Data": [data.to_json() for data in self.ipv6],
        }

    @classmethod
    def from_json(cls, raw: Json) -> CreateNetwork:
        given = fields.request(CREATE_NETWORK, raw)
        options = NetworkOptions.read(given.inner("Options"))
        return cls(given.required("NetworkID"), options, *_ipam_data(given))


class DeleteNetwork(NamedTuple):
    network_id: str

    @property
    def call(self) -> str:
        return DELETE_NETWORK

    def to_json(self) -> Json:
        return {"NetworkID": self.network_id}

    @classmethod
    def from_json(cls, raw: Json) -> DeleteNetwork:
        return cls(fields.request(DELETE_NETWORK, raw).required("NetworkID"))


class EndpointInterface(NamedTuple):
    """What is known of an endpoint's interface: in the request given by the caller, in the answer filled in by the
    plugin, which may fill only what was empty."""

    address: IPInterface | None = None
    address_ipv6: IPInterface | None = None
    mac: str = ""
    """As pairs with colons; as written by the other side."""

    def to_json(self) -> Json:
        return {
            "Address": str(self.address or ""),
            "AddressIPv6": str(self.address_ipv6 or ""),
            "MacAddress": self.mac,
        }

    @classmethod
    def read(cls, given: Fields) -> EndpointInterface:
        address, address_ipv6 = given.interface("Address"), given.interface("AddressIPv6")
        if address is not None and address.version != 4:
            raise given.wrong("Address", str(address), "an IPv4 address")
        if address_ipv6 is not None and address_ipv6.version != 6:
            raise given.wrong("AddressIPv6", str(address_ipv6), "an IPv6 address")
        return cls(address, address_ipv6, given.mac("MacAddress"))


class CreateEndpoint(NamedTuple):
    """No container is named. `interface` None: no field is given, and all may be filled."""

    network_id: str
    endpoint_id: str
    interface: EndpointInterface | None = None
    options: EndpointOptions = EndpointOptions()

    @property
    def call(self) -> str:
        return CREATE_ENDPOINT

    def to_json(self) -> Json:
        return {
            "NetworkID": self.network_id,
            "EndpointID": self.endpoint_id,
            "Interface": self.interface.to_json() if self.interface is not None else None,
            "Options": self.options.to_json(),
        }

    @classmethod
    def from_json(cls, raw: Json) -> CreateEndpoint:
        given = fields.request(CREATE_ENDPOINT, raw)
        inner = given.inner("Interface")
        return cls(
            given.required("NetworkID"),
            given.required("EndpointID"),
            EndpointInterface.read(inner) if inner is not None else None,
            EndpointOptions.read(given.inner("Options")),
        )


class EndpointCreated(NamedTuple):
    """The answer to CreateEndpoint; None: nothing was filled in."""

    interface: EndpointInterface | None = None

    def to_json(self) -> Json:
        return {} if self.interface is None else {"Interface": self.interface.to_json()}

    @classmethod
    def from_json(cls, raw: Json) -> EndpointCreated:
        inner = fields.response(CREATE_ENDPOINT, raw).inner("Interface")
        return cls(EndpointInterface.read(inner) if inner is not None else None)


class _OfEndpoint(NamedTuple):
    network_id: str
    endpoint_id: str

    def to_json(self) -> Json:
        return {"NetworkID": self.network_id, "EndpointID": self.endpoint_id}


class EndpointOperInfo(_OfEndpoint):
    call = ENDPOINT_OPER_INFO

    @classmethod
    def from_json(cls, raw: Json) -> EndpointOperInfo:
        return cls(*_of_endpoint(cls.call, raw))


class DeleteEndpoint(_OfEndpoint):
    call = DELETE_ENDPOINT

    @classmethod
    def from_json(cls, raw: Json) -> DeleteEndpoint:
        return cls(*_of_endpoint(cls.call, raw))


class Leave(_OfEndpoint):
    """Comes before the caller takes the interface out of the sandbox; implies RevokeExternalConnectivity."""

    call = LEAVE

    @classmethod
    def from_json(cls, raw: Json) -> Leave:
        return cls(*_of_endpoint(cls.call, raw))


class RevokeExternalConnectivity(_OfEndpoint):
    call = REVOKE_EXTERNAL_CONNECTIVITY

    @classmethod
    def from_json(cls, raw: Json) -> RevokeExternalConnectivity:
        return cls(*_of_endpoint(cls.call, raw))


class OperInfo(NamedTuple):
    """The answer to EndpointOperInfo, verbatim. `docker port` shows what `com.docker.network.portmap` in it says."""

    value: Mapping[str, Json] = {}

    def to_json(self) -> Json:
        return {"Value": dict(self.value)}

    @classmethod
    def from_json(cls, raw: Json) -> OperInfo:
        return cls(fields.response(ENDPOINT_OPER_INFO, raw).mapping("Value"))


class Join(NamedTuple):
    network_id: str
    endpoint_id: str
    sandbox_key: str
    """Path of the network namespace, which need not exist yet."""
    options: EndpointOptions = EndpointOptions()

    @property
    def call(self) -> str:
        return JOIN

    def to_json(self) -> Json:
        return {
            "NetworkID": self.network_id,
            "EndpointID": self.endpoint_id,
            "SandboxKey": self.sandbox_key,
            "Options": self.options.to_json(),
        }

    @classmethod
    def from_json(cls, raw: Json) -> Join:
        given = fields.request(JOIN, raw)
        return cls(
            given.required("NetworkID"),
            given.required("EndpointID"),
            given.text("SandboxKey"),
            EndpointOptions.read(given.inner("Options")),
        )


class InterfaceName(NamedTuple):
    src_name: str
    """A link in the host's namespace, to be moved into the sandbox."""
    dst_prefix: str = ""
    """Its name there, to be followed by the lowest free number."""
    dst_name: str = ""
    """Its name there, before `dst_prefix`."""

    def to_json(self) -> Json:
        return {"SrcName": self.src_name, "DstPrefix": self.dst_prefix, "DstName": self.dst_name}


class StaticRoute(NamedTuple):
    destination: IPNetwork
    next_hop: IPAddress | None = None
    """None: connected, on the endpoint's own link."""

    def to_json(self) -> Json:
        body: dict[str, Json] = {
            "Destination": str(self.destination),
            "RouteType": CONNECTED if self.next_hop is None else NEXTHOP,
        }
        return body if self.next_hop is None else {**body, "NextHop": str(self.next_hop)}

    @classmethod
    def read(cls, given: Fields) -> StaticRoute:
        destination, kind = given.network("Destination"), given.number("RouteType", NEXTHOP, CONNECTED)
        if destination is None:
            raise given.wrong("Destination", given.value("Destination"), "a network in CIDR notation")
        if kind == CONNECTED:
            return cls(destination)
        hop = given.address("NextHop")
        if hop is None or hop.version != destination.version:
            raise given.wrong("NextHop", given.value("NextHop"), f"an IPv{destination.version} address")
        return cls(destination, hop)


class Joined(NamedTuple):
    """The answer to Join. `interface` None: the endpoint has no link. Gateways are plain addresses."""

    interface: InterfaceName | None = None
    gateway: IPAddress | None = None
    gateway_ipv6: IPAddress | None = None
    static_routes: tuple[StaticRoute, ...] = ()
    disable_gateway_service: bool = False
    """The sandbox gets no other way out if this endpoint offers none."""

    def to_json(self) -> Json:
        body: dict[str, Json] = {}
        if self.interface is not None:
            body["InterfaceName"] = self.interface.to_json()
        if self.gateway is not None:
            body["Gateway"] = str(self.gateway)
        if self.gateway_ipv6 is not None:
            body["GatewayIPv6"] = str(self.gateway_ipv6)
        if self.static_routes:
            body["StaticRoutes"] = [route.to_json() for route in self.static_routes]
        if self.disable_gateway_service:
            body["DisableGatewayService"] = True
        return body

    @classmethod
    def from_json(cls, raw: Json) -> Joined:
        given = fields.response(JOIN, raw)
        names, gateway, gateway_ipv6 = (
            given.inner("InterfaceName"),
            given.address("Gateway"),
            given.address("GatewayIPv6"),
        )
        if gateway is not None and gateway.version != 4:
            raise given.wrong("Gateway", str(gateway), "an IPv4 address")
        if gateway_ipv6 is not None and gateway_ipv6.version != 6:
            raise given.wrong("GatewayIPv6", str(gateway_ipv6), "an IPv6 address")
        link = None
        if names is not None and names.text("SrcName"):
            link = InterfaceName(names.text("SrcName"), names.text("DstPrefix"), names.text("DstName"))
        return cls(
            link,
            gateway,
            gateway_ipv6,
            tuple(StaticRoute.read(route) for route in given.inners("StaticRoutes")),
            given.boolean("DisableGatewayService"),
        )


class ProgramExternalConnectivity(NamedTuple):
    """The endpoint is the sandbox's way out: publish its ports. May come again, and for two endpoints of a sandbox."""

    network_id: str
    endpoint_id: str
    options: EndpointOptions = EndpointOptions()

    @property
    def call(self) -> str:
        return PROGRAM_EXTERNAL_CONNECTIVITY

    def to_json(self) -> Json:
        return {
            "NetworkID": self.network_id,
            "EndpointID": self.endpoint_id,
            "Options": self.options.to_json(),
        }

    @classmethod
    def from_json(cls, raw: Json) -> ProgramExternalConnectivity:
        given = fields.request(PROGRAM_EXTERNAL_CONNECTIVITY, raw)
        options = EndpointOptions.read(given.inner("Options"))
        return cls(given.required("NetworkID"), given.required("EndpointID"), options)


class Discovery(NamedTuple):
    """DiscoverNew and DiscoverDelete: a node of the cluster came or went."""

    kind: int
    data: Mapping[str, Json] = {}
    """For `NODE`: Address, BindAddress, Self."""

    def to_json(self) -> Json:
        return {"DiscoveryType": self.kind, "DiscoveryData": dict(self.data)}

    @classmethod
    def from_json(cls, raw: Json) -> Discovery:
        given = fields.request(DISCOVER_NEW, raw)
        return cls(given.number("DiscoveryType"), given.mapping("DiscoveryData"))


def _of_endpoint(call: str, raw: Json) -> tuple[str, str]:
    given = fields.request(call, raw)
    return given.required("NetworkID"), given.required("EndpointID")


def _ipam_data(given: Fields) -> tuple[tuple[IpamData, ...], tuple[IpamData, ...]]:
    ipv4 = tuple(IpamData.read(data) for data in given.inners("IPv4Data"))
    ipv6 = tuple(IpamData.read(data) for data in given.inners("IPv6Data"))
    return ipv4, ipv6
