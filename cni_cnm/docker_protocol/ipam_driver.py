"""Messages of IpamDriver. Requests read with InvalidConfig, responses with DriverFailed (see fields.py)."""

from __future__ import annotations

from typing import NamedTuple

from cni_cnm.docker_protocol import fields

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
"""In a pool's Data: the gateway, with prefix. As RequestAddressType in an address's Options: it is for the gateway."""
REQUEST_ADDRESS_TYPE = "RequestAddressType"
ENDPOINT_MAC = "com.docker.network.endpoint.macaddress"
ENDPOINT_NAME = "com.docker.network.endpoint.name"


class Capabilities(NamedTuple):
    """A plugin that does not know the call (404) has none of them."""

    requires_mac_address: bool = False
    requires_request_replay: bool = False
    """It keeps nothing: pools and addresses are requested again after it or its caller was restarted."""

    def to_json(self) -> Json:
        return {
            "RequiresMACAddress": self.requires_mac_address,
            "RequiresRequestReplay": self.requires_request_replay,
        }

    @classmethod
    def from_json(cls, raw: Json) -> Capabilities:
        given = fields.response(GET_CAPABILITIES, raw)
        return cls(given.boolean("RequiresMACAddress"), given.boolean("RequiresRequestReplay"))


class DefaultAddressSpaces(NamedTuple):
    local_space: str = ""
    global_space: str = ""

    def to_json(self) -> Json:
        return {"LocalDefaultAddressSpace": self.local_space, "GlobalDefaultAddressSpace": self.global_space}

    @classmethod
    def from_json(cls, raw: Json) -> DefaultAddressSpaces:
        given = fields.response(GET_DEFAULT_ADDRESS_SPACES, raw)
        return cls(given.text("LocalDefaultAddressSpace"), given.text("GlobalDefaultAddressSpace"))


class RequestPool(NamedTuple):
    """No network is named: a pool is known by its id alone from then on."""

    address_space: str = ""
    pool: IPNetwork | None = None
    """None: any, of the plugin's choice."""
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
        given = fields.request(REQUEST_POOL, raw)
        return cls(
            given.text("AddressSpace"),
            given.network("Pool"),
            given.network("SubPool"),
            given.texts("Options"),
            given.boolean("V6"),
        )


class Pool(NamedTuple):
    """The answer to RequestPool. 0.0.0.0/0 (::/0) means that no addresses are managed."""

    pool_id: str
    pool: IPNetwork
    data: Mapping[str, str] = {}

    def to_json(self) -> Json:
        return {"PoolID": self.pool_id, "Pool": str(self.pool), "Data": dict(self.data)}

    @classmethod
    def from_json(cls, raw: Json) -> Pool:
        given = fields.response(REQUEST_POOL, raw)
        pool = given.network("Pool")
        if pool is None:
            raise given.wrong("Pool", given.value("Pool"), "a network in CIDR notation")
        return cls(given.required("PoolID"), pool, given.texts("Data"))


class ReleasePool(NamedTuple):
    pool_id: str

    @property
    def call(self) -> str:
        return RELEASE_POOL

    def to_json(self) -> Json:
        return {"PoolID": self.pool_id}

    @classmethod
    def from_json(cls, raw: Json) -> ReleasePool:
        return cls(fields.request(RELEASE_POOL, raw).required("PoolID"))


class RequestAddress(NamedTuple):
    pool_id: str
    address: IPAddress | None = None
    """None: any, of the plugin's choice."""
    options: Mapping[str, str] = {}

    @property
    def call(self) -> str:
        return REQUEST_ADDRESS

    def to_json(self) -> Json:
        return {"PoolID": self.pool_id, "Address": str(self.address or ""), "Options": dict(self.options)}

    @classmethod
    def from_json(cls, raw: Json) -> RequestAddress:
        given = fields.request(REQUEST_ADDRESS, raw)
        return cls(given.required("PoolID"), given.address("Address"), given.texts("Options"))


class GivenAddress(NamedTuple):
    """The answer to RequestAddress. None: the pool is one without addresses."""

    address: IPInterface | None
    data: Mapping[str, str] = {}

    def to_json(self) -> Json:
        return {"Address": str(self.address or ""), "Data": dict(self.data)}

    @classmethod
    def from_json(cls, raw: Json) -> GivenAddress:
        given = fields.response(REQUEST_ADDRESS, raw)
        return cls(given.interface("Address"), given.texts("Data"))


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
        given = fields.request(RELEASE_ADDRESS, raw)
        pool_id, address = given.required("PoolID"), given.address("Address")
        if address is None:
            raise given.wrong("Address", given.value("Address"), "an IP address")
        return cls(pool_id, address)
