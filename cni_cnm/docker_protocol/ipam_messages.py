"""Messages of IpamDriver: pools of addresses, and the addresses in them."""

from __future__ import annotations

from cni_cnm.docker_protocol.body import request, response
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.validate import address, network_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import IPAddress, IPInterface, IPNetwork, Json

GET_CAPABILITIES = "IpamDriver.GetCapabilities"
GET_DEFAULT_ADDRESS_SPACES = "IpamDriver.GetDefaultAddressSpaces"
REQUEST_POOL = "IpamDriver.RequestPool"
RELEASE_POOL = "IpamDriver.ReleasePool"
REQUEST_ADDRESS = "IpamDriver.RequestAddress"
RELEASE_ADDRESS = "IpamDriver.ReleaseAddress"

GATEWAY = "com.docker.network.gateway"
"""In Data of RequestPool: the gateway with prefix length. As RequestAddressType: the address is for the gateway."""
REQUEST_ADDRESS_TYPE = "RequestAddressType"
ENDPOINT_MAC = "com.docker.network.endpoint.macaddress"
ENDPOINT_NAME = "com.docker.network.endpoint.name"


class IpamCapabilities(NamedTuple):
    """The response to IpamDriver.GetCapabilities. A plugin that answers 404 has none of them."""

    requires_mac_address: bool = False
    requires_request_replay: bool = False
    """It stores nothing: pools and addresses are requested again after it or its caller was restarted."""

    def to_json(self) -> Json:
        return {
            "RequiresMACAddress": self.requires_mac_address,
            "RequiresRequestReplay": self.requires_request_replay,
        }

    @classmethod
    def from_json(cls, raw: Json) -> IpamCapabilities:
        fields = response(GET_CAPABILITIES, raw)
        return cls(fields.flag("RequiresMACAddress"), fields.flag("RequiresRequestReplay"))


class DefaultAddressSpaces(NamedTuple):
    local_space: str = ""
    global_space: str = ""

    def to_json(self) -> Json:
        return {"LocalDefaultAddressSpace": self.local_space, "GlobalDefaultAddressSpace": self.global_space}

    @classmethod
    def from_json(cls, raw: Json) -> DefaultAddressSpaces:
        fields = response(GET_DEFAULT_ADDRESS_SPACES, raw)
        return cls(fields.text("LocalDefaultAddressSpace"), fields.text("GlobalDefaultAddressSpace"))


class RequestPool(NamedTuple):
    """No network is named; later calls have only the pool's id."""

    address_space: str = ""
    pool: IPNetwork | None = None
    """None: the plugin chooses."""
    sub_pool: IPNetwork | None = None
    """The part of `pool` that addresses come from."""
    options: Mapping[str, str] = {}
    v6: bool = False

    @property
    def call(self) -> str:
        return REQUEST_POOL

    def to_json(self) -> Json:
        return {
            "AddressSpace": self.address_space,
            "Pool": str(self.pool or ""),
            "SubPool": str(self.sub_pool or ""),
            "Options": dict(self.options),
            "V6": self.v6,
        }

    @classmethod
    def from_json(cls, raw: Json) -> RequestPool:
        fields = request(REQUEST_POOL, raw)
        return cls(
            fields.text("AddressSpace"),
            fields.parsed("Pool", network_of),
            fields.parsed("SubPool", network_of),
            fields.text_mapping("Options"),
            fields.flag("V6"),
        )


class RequestPoolResponse(NamedTuple):
    """`pool` 0.0.0.0/0 or ::/0: the plugin manages no addresses."""

    pool_id: str
    pool: IPNetwork
    data: Mapping[str, str] = {}

    def to_json(self) -> Json:
        return {"PoolID": self.pool_id, "Pool": str(self.pool), "Data": dict(self.data)}

    @classmethod
    def from_json(cls, raw: Json) -> RequestPoolResponse:
        fields = response(REQUEST_POOL, raw)
        return cls(fields.required("PoolID", str), fields.required("Pool", network_of), fields.text_mapping("Data"))


class ReleasePool(NamedTuple):
    pool_id: str

    @property
    def call(self) -> str:
        return RELEASE_POOL

    def to_json(self) -> Json:
        return {"PoolID": self.pool_id}

    @classmethod
    def from_json(cls, raw: Json) -> ReleasePool:
        return cls(request(RELEASE_POOL, raw).required("PoolID", str))


class RequestAddress(NamedTuple):
    pool_id: str
    address: IPAddress | None = None
    """None: the plugin chooses."""
    options: Mapping[str, str] = {}

    @property
    def call(self) -> str:
        return REQUEST_ADDRESS

    def to_json(self) -> Json:
        return {"PoolID": self.pool_id, "Address": str(self.address or ""), "Options": dict(self.options)}

    @classmethod
    def from_json(cls, raw: Json) -> RequestAddress:
        fields = request(REQUEST_ADDRESS, raw)
        return cls(fields.required("PoolID", str), fields.address("Address"), fields.text_mapping("Options"))


class RequestAddressResponse(NamedTuple):
    address: IPInterface | None
    """None: the plugin manages no addresses of the pool."""
    data: Mapping[str, str] = {}

    def to_json(self) -> Json:
        return {"Address": str(self.address or ""), "Data": dict(self.data)}

    @classmethod
    def from_json(cls, raw: Json) -> RequestAddressResponse:
        fields = response(REQUEST_ADDRESS, raw)
        return cls(fields.interface("Address"), fields.text_mapping("Data"))


class ReleaseAddress(NamedTuple):
    pool_id: str
    address: IPAddress

    @property
    def call(self) -> str:
        return RELEASE_ADDRESS

    def to_json(self) -> Json:
        return {"PoolID": self.pool_id, "Address": str(self.address)}

    @classmethod
    def from_json(cls, raw: Json) -> ReleaseAddress:
        fields = request(RELEASE_ADDRESS, raw)
        return cls(fields.required("PoolID", str), fields.required("Address", address))
