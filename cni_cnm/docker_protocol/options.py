"""The `Options` of NetworkDriver's messages: libnetwork's own labels, and the options of users."""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.docker_protocol.ports import ExposedPort, PortBinding
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.fields import Fields
    from cni_cnm.model import Json

_PREFIX = "com.docker.network."
GENERIC = f"{_PREFIX}generic"
ENABLE_IPV4 = f"{_PREFIX}enable_ipv4"
ENABLE_IPV6 = f"{_PREFIX}enable_ipv6"
INTERNAL = f"{_PREFIX}internal"
PORTMAP = f"{_PREFIX}portmap"
EXPOSED_PORTS = f"{_PREFIX}endpoint.exposedports"
MAC = f"{_PREFIX}endpoint.macaddress"
DNS_SERVERS = f"{_PREFIX}endpoint.dnsservers"
IFNAME = f"{_PREFIX}endpoint.ifname"
NO_PROXY_6TO4 = f"{_PREFIX}driver.private.no_proxy_6to4"


class NetworkOptions(NamedTuple):
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    internal: bool = False
    generic: Mapping[str, str] = {}
    """The user's driver options (`-o`)."""

    def to_json(self) -> Json:
        body: dict[str, Json] = {ENABLE_IPV4: self.enable_ipv4, ENABLE_IPV6: self.enable_ipv6}
        if self.internal:
            body[INTERNAL] = True
        return {**body, GENERIC: dict(self.generic)}

    @classmethod
    def read(cls, fields: Fields) -> NetworkOptions:
        """IPv4 is on if its label is absent: Docker before 28 does not send it."""
        return cls(
            fields.flag(ENABLE_IPV4, True),
            fields.flag(ENABLE_IPV6),
            fields.flag(INTERNAL),
            fields.text_mapping(GENERIC),
        )


class EndpointOptions(NamedTuple):
    """The options of CreateEndpoint, Join and ProgramExternalConnectivity."""

    ports: tuple[PortBinding, ...] | None = None
    """None: the label is absent. Docker also sends an empty list."""
    exposed: tuple[ExposedPort, ...] | None = None
    mac: str = ""
    """A MAC that the user has set, as pairs with colons. On the wire: base64 of its six bytes."""
    dns_servers: tuple[str, ...] = ()
    no_proxy_6to4: bool = False
    """Another endpoint is the sandbox's IPv6 default gateway."""
    other: Mapping[str, Json] = {}
    """All other options, verbatim; among them the user's."""

    def to_json(self) -> Json:
        body: dict[str, Json] = dict(self.other)
        if self.ports is not None:
            body[PORTMAP] = [port.to_json() for port in self.ports]
        if self.exposed is not None:
            body[EXPOSED_PORTS] = [port.to_json() for port in self.exposed]
        if self.mac:
            body[MAC] = _base64(self.mac)
        if self.dns_servers:
            body[DNS_SERVERS] = list(self.dns_servers)
        if self.no_proxy_6to4:
            body[NO_PROXY_6TO4] = True
        return body

    @classmethod
    def read(cls, fields: Fields) -> EndpointOptions:
        ours = (PORTMAP, EXPOSED_PORTS, MAC, DNS_SERVERS, NO_PROXY_6TO4)
        ports, exposed = fields.objects(PORTMAP), fields.objects(EXPOSED_PORTS)
        return cls(
            tuple(map(PortBinding.read, ports)) if PORTMAP in fields else None,
            tuple(map(ExposedPort.read, exposed)) if EXPOSED_PORTS in fields else None,
            fields.parsed(MAC, _mac) or "",
            fields.texts(DNS_SERVERS),
            fields.flag(NO_PROXY_6TO4),
            {key: value for key, value in fields.spelled.items() if key.lower() not in ours and value is not None},
        )


def _base64(mac: str) -> str:
    from binascii import b2a_base64

    return b2a_base64(bytes.fromhex(mac.replace(":", "")), newline=False).decode()


def _mac(text: str) -> str:
    """Go writes net.HardwareAddr as base64. The usual spelling is read as well."""
    from binascii import Error, a2b_base64

    try:
        octets = a2b_base64(text, strict_mode=True)
    except (Error, ValueError):
        octets = b""
    return validate.mac(octets.hex(":") if len(octets) == 6 else text)
