"""NetworkDriver's messages about endpoints."""

from __future__ import annotations

from cni_cnm.docker_protocol.body import request, response
from cni_cnm.docker_protocol.options import EndpointOptions
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.fields import Fields
    from cni_cnm.model import IPInterface, Json

CREATE_ENDPOINT = "NetworkDriver.CreateEndpoint"
ENDPOINT_OPER_INFO = "NetworkDriver.EndpointOperInfo"
DELETE_ENDPOINT = "NetworkDriver.DeleteEndpoint"


class EndpointInterface(NamedTuple):
    """An endpoint's interface. The request has what the caller has decided; a plugin may fill in only the rest."""

    address: IPInterface | None = None
    address_ipv6: IPInterface | None = None
    mac: str = ""
    """Lower-case pairs with colons, "" if not decided."""

    def to_json(self) -> Json:
        return {
            "Address": str(self.address or ""),
            "AddressIPv6": str(self.address_ipv6 or ""),
            "MacAddress": self.mac,
        }

    @classmethod
    def read(cls, fields: Fields) -> EndpointInterface:
        address, address_ipv6 = fields.interface("Address"), fields.interface("AddressIPv6")
        if address is not None and address.version != 4:
            raise fields.wrong("Address", "an IPv4 address")
        if address_ipv6 is not None and address_ipv6.version != 6:
            raise fields.wrong("AddressIPv6", "an IPv6 address")
        return cls(address, address_ipv6, fields.mac("MacAddress"))


class CreateEndpoint(NamedTuple):
    """No container is named. `interface` None is the same as one without fields."""

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
        fields = request(CREATE_ENDPOINT, raw)
        interface = fields.optional_object("Interface")
        return cls(
            fields.required("NetworkID", str),
            fields.required("EndpointID", str),
            EndpointInterface.read(interface) if interface is not None else None,
            EndpointOptions.read(fields.object("Options")),
        )


class CreateEndpointResponse(NamedTuple):
    """The interface's fields that the plugin fills in; None: none of them."""

    interface: EndpointInterface | None = None

    def to_json(self) -> Json:
        return {} if self.interface is None else {"Interface": self.interface.to_json()}

    @classmethod
    def from_json(cls, raw: Json) -> CreateEndpointResponse:
        interface = response(CREATE_ENDPOINT, raw).optional_object("Interface")
        return cls(EndpointInterface.read(interface) if interface is not None else None)


class EndpointIds(NamedTuple):
    """The fields of messages that only name an endpoint."""

    network_id: str
    endpoint_id: str

    def to_json(self) -> Json:
        return {"NetworkID": self.network_id, "EndpointID": self.endpoint_id}


class EndpointOperInfo(EndpointIds):
    call = ENDPOINT_OPER_INFO

    @classmethod
    def from_json(cls, raw: Json) -> EndpointOperInfo:
        return cls(*endpoint_ids(cls.call, raw))


class EndpointOperInfoResponse(NamedTuple):
    """What a plugin says of an endpoint, verbatim. `docker port` shows its `com.docker.network.portmap`."""

    value: Mapping[str, Json] = {}

    def to_json(self) -> Json:
        return {"Value": dict(self.value)}

    @classmethod
    def from_json(cls, raw: Json) -> EndpointOperInfoResponse:
        return cls(response(ENDPOINT_OPER_INFO, raw).mapping("Value"))


class DeleteEndpoint(EndpointIds):
    call = DELETE_ENDPOINT

    @classmethod
    def from_json(cls, raw: Json) -> DeleteEndpoint:
        return cls(*endpoint_ids(cls.call, raw))


def endpoint_ids(call: str, raw: Json) -> tuple[str, str]:
    """NetworkID and EndpointID of a request."""
    fields = request(call, raw)
    return fields.required("NetworkID", str), fields.required("EndpointID", str)
