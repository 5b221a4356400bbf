"""The `Options` of NetworkDriver's messages: what libnetwork puts there under its own labels, and what users put."""

from __future__ import annotations

from typing import NamedTuple

from cni_cnm.docker_protocol.ports import ExposedPort, PortBinding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.docker_protocol.fields import Fields
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
    """The user's driver options (`-o`), texts all."""

    def to_json(self) -> Json:
        body: dict[str, Json] = {ENABLE_IPV4: self.enable_ipv4, ENABLE_IPV6: self.enable_ipv6}
        if self.internal:
            body[INTERNAL] = True
        return {**body, GENERIC: dict(self.generic)}

    @classmethod
    def read(cls, given: Fields | None) -> NetworkOptions:
        """IPv4 is on where nothing is said of it: older callers have no label for it."""
        if given is None:
            return cls()
        ipv4 = given.value(ENABLE_IPV4) is None or given.boolean(ENABLE_IPV4)
        return cls(ipv4, given.boolean(ENABLE_IPV6), given.boolean(INTERNAL), given.texts(GENERIC))


class EndpointOptions(NamedTuple):
    """Of CreateEndpoint, Join and ProgramExternalConnectivity, which have the same shape."""

    ports: tuple[PortBinding, ...] | None = None
    """None: the label is absent; Docker also sends an empty list."""
    exposed: tuple[ExposedPort, ...] | None = None
    mac: str = ""
    """A MAC the user gave, as pairs with colons; base64 of the six bytes on the wire."""
    dns_servers: tuple[str, ...] = ()
    no_proxy_6to4: bool = False
    """The sandbox's IPv6 way out is another endpoint."""
    other: Mapping[str, Json] = {}
    """The user's endpoint options and whatever else there is, verbatim."""

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
    def read(cls, given: Fields | None) -> EndpointOptions:
        if given is None:
            return cls()
        servers = given.list(DNS_SERVERS)
        if not all(isinstance(server, str) for server in servers):
            raise given.wrong(DNS_SERVERS, servers, "a list of texts")
        ours = (PORTMAP, EXPOSED_PORTS, MAC, DNS_SERVERS, NO_PROXY_6TO4)
        there = given.value
        return cls(
            tuple(PortBinding.read(p) for p in given.inners(PORTMAP)) if there(PORTMAP) is not None else None,
            tuple(ExposedPort.read(p) for p in given.inners(EXPOSED_PORTS))
            if there(EXPOSED_PORTS) is not None
            else None,
            _mac(given),
            tuple(servers),
            given.boolean(NO_PROXY_6TO4),
            {key: value for key, value in given.raw.items() if key.lower() not in ours and value is not None},
        )


def _base64(mac: str) -> str:
    from binascii import b2a_base64

    return b2a_base64(bytes.fromhex(mac.replace(":", "")), newline=False).decode()


def _mac(given: Fields) -> str:
    """Go writes net.HardwareAddr as base64; the usual spelling is taken, too."""
    text = given.text(MAC)
    if not text:
        return ""
    from binascii import Error, a2b_base64

    try:
        octets = a2b_base64(text, strict_mode=True)
    except (Error, ValueError):
        return given.mac(MAC)
    if len(octets) != 6:
        return given.mac(MAC)
    return octets.hex(":")
