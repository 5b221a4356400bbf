"""NetworkDriver's messages about networks."""

from __future__ import annotations

from cni_cnm.docker_protocol.body import request, response
from cni_cnm.docker_protocol.options import NetworkOptions
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.validate import network_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.fields import Fields
    from cni_cnm.model import IPInterface, IPNetwork, Json

GW_ALLOC_CHECK = "NetworkDriver.GwAllocCheck"
ALLOCATE_NETWORK = "NetworkDriver.AllocateNetwork"
FREE_NETWORK = "NetworkDriver.FreeNetwork"
CREATE_NETWORK = "NetworkDriver.CreateNetwork"
DELETE_NETWORK = "NetworkDriver.DeleteNetwork"


class IpamData(NamedTuple):
    """One subnet of a network."""

    pool: IPNetwork
    gateway: IPInterface | None = None
    address_space: str = ""
    aux_addresses: Mapping[str, str] = {}
    """Names to addresses with prefix length, verbatim."""

    def to_json(self) -> Json:
        body: dict[str, Json] = {"AddressSpace": self.address_space, "Pool": str(self.pool)}
        if self.gateway is not None:
            body["Gateway"] = str(self.gateway)
        body["AuxAddresses"] = dict(self.aux_addresses)
        return body

    @classmethod
    def read(cls, fields: Fields) -> IpamData:
        pool = fields.required("Pool", network_of)
        return cls(pool, fields.interface("Gateway"), fields.text("AddressSpace"), fields.text_mapping("AuxAddresses"))


class GwAllocCheck(NamedTuple):
    options: NetworkOptions

    @property
    def call(self) -> str:
        return GW_ALLOC_CHECK

    def to_json(self) -> Json:
        return {"Options": self.options.to_json()}

    @classmethod
    def from_json(cls, raw: Json) -> GwAllocCheck:
        return cls(NetworkOptions.read(request(GW_ALLOC_CHECK, raw).object("Options")))


class GwAllocCheckResponse(NamedTuple):
    skip_ipv4: bool = False
    skip_ipv6: bool = False

    def to_json(self) -> Json:
        return {"SkipIPv4": self.skip_ipv4, "SkipIPv6": self.skip_ipv6}

    @classmethod
    def from_json(cls, raw: Json) -> GwAllocCheckResponse:
        fields = response(GW_ALLOC_CHECK, raw)
        return cls(fields.flag("SkipIPv4"), fields.flag("SkipIPv6"))


class AllocateNetwork(NamedTuple):
    """Sent only by a swarm's manager, to drivers of scope global."""

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
        fields = request(ALLOCATE_NETWORK, raw)
        return cls(fields.required("NetworkID", str), fields.text_mapping("Options"), *_ipam_data(fields))


class AllocateNetworkResponse(NamedTuple):
    """Options that every node's CreateNetwork then has."""

    options: Mapping[str, str] = {}

    def to_json(self) -> Json:
        return {"Options": dict(self.options)}

    @classmethod
    def from_json(cls, raw: Json) -> AllocateNetworkResponse:
        return cls(response(ALLOCATE_NETWORK, raw).text_mapping("Options"))


class FreeNetwork(NamedTuple):
    network_id: str

    @property
    def call(self) -> str:
        return FREE_NETWORK

    def to_json(self) -> Json:
        return {"NetworkID": self.network_id}

    @classmethod
    def from_json(cls, raw: Json) -> FreeNetwork:
        return cls(request(FREE_NETWORK, raw).required("NetworkID", str))


class CreateNetwork(NamedTuple):
    """Docker sends neither the network's name nor its labels. An IP version that is not used has no data."""

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
        fields = request(CREATE_NETWORK, raw)
        options = NetworkOptions.read(fields.object("Options"))
        return cls(fields.required("NetworkID", str), options, *_ipam_data(fields))


class DeleteNetwork(NamedTuple):
    network_id: str

    @property
    def call(self) -> str:
        return DELETE_NETWORK

    def to_json(self) -> Json:
        return {"NetworkID": self.network_id}

    @classmethod
    def from_json(cls, raw: Json) -> DeleteNetwork:
        return cls(request(DELETE_NETWORK, raw).required("NetworkID", str))


def _ipam_data(fields: Fields) -> tuple[tuple[IpamData, ...], tuple[IpamData, ...]]:
    ipv4 = tuple(IpamData.read(data) for data in fields.objects("IPv4Data"))
    ipv6 = tuple(IpamData.read(data) for data in fields.objects("IPv6Data"))
    return ipv4, ipv6
