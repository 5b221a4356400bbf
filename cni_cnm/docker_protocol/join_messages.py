"""NetworkDriver's messages about an endpoint in its sandbox."""

from __future__ import annotations

from cni_cnm.docker_protocol.body import request, response
from cni_cnm.docker_protocol.endpoint_messages import EndpointIds, endpoint_ids
from cni_cnm.docker_protocol.options import EndpointOptions
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.validate import network_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.fields import Fields
    from cni_cnm.model import IPAddress, IPNetwork, Json

JOIN = "NetworkDriver.Join"
LEAVE = "NetworkDriver.Leave"
PROGRAM_EXTERNAL_CONNECTIVITY = "NetworkDriver.ProgramExternalConnectivity"
REVOKE_EXTERNAL_CONNECTIVITY = "NetworkDriver.RevokeExternalConnectivity"

NEXTHOP, CONNECTED = 0, 1


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
        fields = request(JOIN, raw)
        return cls(
            fields.required("NetworkID", str),
            fields.required("EndpointID", str),
            fields.text("SandboxKey"),
            EndpointOptions.read(fields.object("Options")),
        )


class InterfaceName(NamedTuple):
    src_name: str
    """The link in the host's namespace that the caller moves into the sandbox."""
    dst_prefix: str = ""
    """Its name there is this and the lowest free number."""
    dst_name: str = ""
    """Its name there; goes before `dst_prefix`."""

    def to_json(self) -> Json:
        return {"SrcName": self.src_name, "DstPrefix": self.dst_prefix, "DstName": self.dst_name}


class StaticRoute(NamedTuple):
    destination: IPNetwork
    next_hop: IPAddress | None = None
    """None: the destination is on the endpoint's own link."""

    def to_json(self) -> Json:
        body: dict[str, Json] = {
            "Destination": str(self.destination),
            "RouteType": CONNECTED if self.next_hop is None else NEXTHOP,
        }
        return body if self.next_hop is None else {**body, "NextHop": str(self.next_hop)}

    @classmethod
    def read(cls, fields: Fields) -> StaticRoute:
        destination = fields.required("Destination", network_of)
        kind = fields.whole("RouteType", NEXTHOP, NEXTHOP, CONNECTED)
        if kind == CONNECTED:
            return cls(destination)
        hop = fields.address("NextHop")
        if hop is None or hop.version != destination.version:
            raise fields.wrong("NextHop", f"an IPv{destination.version} address")
        return cls(destination, hop)


class JoinResponse(NamedTuple):
    """`interface` None: the endpoint has no link. Gateways are addresses without prefix length."""

    interface: InterfaceName | None = None
    gateway: IPAddress | None = None
    gateway_ipv6: IPAddress | None = None
    static_routes: tuple[StaticRoute, ...] = ()
    disable_gateway_service: bool = False
    """The sandbox gets no default gateway of Docker's own if this endpoint offers none."""

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
    def from_json(cls, raw: Json) -> JoinResponse:
        fields = response(JOIN, raw)
        gateway, gateway_ipv6 = fields.address("Gateway"), fields.address("GatewayIPv6")
        if gateway is not None and gateway.version != 4:
            raise fields.wrong("Gateway", "an IPv4 address")
        if gateway_ipv6 is not None and gateway_ipv6.version != 6:
            raise fields.wrong("GatewayIPv6", "an IPv6 address")
        names = fields.object("InterfaceName")
        interface = InterfaceName(names.text("SrcName"), names.text("DstPrefix"), names.text("DstName"))
        return cls(
            interface if interface.src_name else None,
            gateway,
            gateway_ipv6,
            tuple(StaticRoute.read(route) for route in fields.objects("StaticRoutes")),
            fields.flag("DisableGatewayService"),
        )


class Leave(EndpointIds):
    """Sent before the caller takes the interface out of the sandbox. Implies RevokeExternalConnectivity."""

    call = LEAVE

    @classmethod
    def from_json(cls, raw: Json) -> Leave:
        return cls(*endpoint_ids(cls.call, raw))


class ProgramExternalConnectivity(NamedTuple):
    """The endpoint is the sandbox's default gateway: publish its ports.

    May be sent again, and for two endpoints of a sandbox (one for each IP version).
    """

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
        fields = request(PROGRAM_EXTERNAL_CONNECTIVITY, raw)
        options = EndpointOptions.read(fields.object("Options"))
        return cls(fields.required("NetworkID", str), fields.required("EndpointID", str), options)


class RevokeExternalConnectivity(EndpointIds):
    call = REVOKE_EXTERNAL_CONNECTIVITY

    @classmethod
    def from_json(cls, raw: Json) -> RevokeExternalConnectivity:
        return cls(*endpoint_ids(cls.call, raw))
