"""Immutable values of the Container Network Model, shared by the whole package. No I/O, no kernel, no JSON.

A frontend's request goes down as `NetworkSpec` and `EndpointSpec`; an `Attachment`, what the container got, comes back.
In between, `Lease` is what the IPAM gave and `Device` what a driver made.
Addresses are `ipaddress` values everywhere. They are text only in the frontends and in records.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any, NamedTuple, TypeAlias

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPInterface: TypeAlias = IPv4Interface | IPv6Interface
IPNetwork: TypeAlias = IPv4Network | IPv6Network
Json: TypeAlias = Any
"""Decoded JSON. Only frontends, records and the parsers of options handle it; everything else is typed."""


def digest(*parts: str) -> str:
    """64 hex digits of SHA-256 over the parts, joined by NUL (no part can contain one, so no two lists collide)."""
    try:
        from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore] # hashlib loads libcrypto: 10 ms a pod
    except ImportError:
        from hashlib import sha256  # noqa: TID251
    return str(sha256("\0".join(parts).encode()).hexdigest())


def stable_mac(endpoint_id: str) -> str:
    """Locally administered, and the same for an endpoint that is made again: neighbours' ARP entries stay right."""
    octets = bytearray(bytes.fromhex(digest("mac", endpoint_id)[:12]))
    octets[0] = octets[0] & 0xFC | 0x02
    return octets.hex(":")


class Dns(NamedTuple):
    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Route(NamedTuple):
    """A route inside the container. `gw` None: the first gateway of that family (CNI convention), or with the scope
    `ON_LINK` none."""

    dst: IPNetwork
    gw: IPAddress | None = None
    mtu: int | None = None
    advmss: int | None = None
    priority: int | None = None
    table: int | None = None
    scope: int | None = None


IPV6_MTU = 1280
"""The least MTU of a link with IPv6 (IPV6_MIN_MTU): with less the kernel takes IPv6 off it."""
ON_LINK = 253
"""Scope of a route that leads to neighbours on the link itself (RT_SCOPE_LINK)."""


class Address(NamedTuple):
    """One address of an endpoint with its prefix, and the gateway of its subnet if there is one."""

    interface: IPInterface
    gateway: IPAddress | None = None


class Lease(NamedTuple):
    """What IPAM gave an endpoint: addresses in range-set order, routes verbatim from the configuration, DNS."""

    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: Dns = Dns()


class Subnet(NamedTuple):
    """A subnet of a network, as the IPAM knows it and a driver is told. 0.0.0.0/0, ::/0: no addresses are managed."""

    pool: IPNetwork
    gateway: IPInterface | None = None
    space: str = ""
    """Address space, by its IPAM's name."""
    aux: Mapping[str, str] = {}
    """Reserved addresses with prefix, by what they are for."""


class Interface(NamedTuple):
    """A link as reported to a caller: `sandbox` is the netns path, empty for a link on the host."""

    name: str
    mac: str = ""
    mtu: int = 0
    sandbox: str = ""


class Device(NamedTuple):
    """What a driver made: the container's link, and the host's links in reporting order (bridge, veth, …)."""

    container: Interface
    """Without a name: the endpoint has no link."""
    host: tuple[Interface, ...] = ()
    extra: tuple[Interface, ...] = ()
    """Links reported after the container's (the VLAN gateway veth of the reference bridge)."""
    ifindex: int = 0
    """Of the container's link, in its namespace. 0: the driver does not know it, and it is looked up by name."""
    source: str = ""
    """Its name on the host, if it still has to be moved into the sandbox (`Role.interface` is moved)."""
    lease: Lease | None = None
    """Addresses and routes that the driver gives in addition to the IPAM's."""


class Attachment(NamedTuple):
    """The answer of attach. `addresses` belong to `interfaces[container_index]`; None: no link is known."""

    interfaces: tuple[Interface, ...]
    addresses: tuple[Address, ...]
    routes: tuple[Route, ...]
    dns: Dns
    container_index: int | None
    warnings: tuple[str, ...] = ()
    """Sentences for the caller, although the attach succeeded."""


class PortMapping(NamedTuple):
    """A published port: `size` ports of the host from `host_port` on, to as many of the container.

    `host_ip` None: every address of the host, both families; unspecified (0.0.0.0, ::): every one of its family.
    """

    protocol: str
    """`tcp`, `udp` or `sctp`."""
    host_port: int
    container_port: int
    host_ip: IPAddress | None = None
    size: int = 1

    def __str__(self) -> str:
        last = f"-{self.host_port + self.size - 1}" if self.size > 1 else ""
        where = f"{self.host_ip} " if self.host_ip is not None else ""
        return f"{where}{self.host_port}{last}/{self.protocol}"


class PortmapOptions(NamedTuple):
    """How a network publishes ports (the reference `portmap` plugin's keys).

    `snat`: masquerade what comes from the endpoint's own subnet and from 127.0.0.1; `masq_all`: from anywhere.
    Conditions are nftables matches, one word each, that a packet must meet beside being for the host.
    """

    snat: bool = True
    masq_all: bool = False
    conditions4: tuple[str, ...] = ()
    conditions6: tuple[str, ...] = ()


class Bandwidth(NamedTuple):
    """Limits of an endpoint, as its container sees them: ingress is what comes to it. Rate 0: no limit that way.

    Rates in bits a second, bursts in bits: what may pass at once after a pause.
    """

    ingress_rate: int = 0
    ingress_burst: int = 0
    egress_rate: int = 0
    egress_burst: int = 0


class Tuning(NamedTuple):
    """Sysctls of a container's network and attributes of its link. An attribute that is None is not changed."""

    sysctls: tuple[tuple[str, str], ...] = ()
    """Pairs of key (`net/ipv4/conf/eth0/arp_ignore`) and value, in the order they are written."""
    mac: str | None = None
    mtu: int | None = None
    promisc: bool | None = None
    allmulti: bool | None = None
    txqlen: int | None = None


class IpamSpec(NamedTuple):
    """The `ipam` part of a network, as configured.

    `type` "" means no addresses (L2). `config` is the ipam object, keys lower-cased. A delegated CNI IPAM
    executable needs more than its own object: `conf` is the whole network configuration verbatim and `cni_path`
    where executables are looked for.
    """

    type: str
    config: Mapping[str, Json] = {}
    conf: Mapping[str, Json] = {}
    cni_path: str = ""


class NetworkSpec(NamedTuple):
    """A network as a frontend requests it. `options` are not parsed: the driver that is named parses them."""

    name: str
    driver: str = "bridge"
    options: Mapping[str, Json] = {}
    ipam: IpamSpec = IpamSpec("")
    internal: bool = False
    dns: Dns | None = None
    """Replaces the IPAM's DNS entirely when given."""
    portmap: PortmapOptions = PortmapOptions()
    labels: Mapping[str, str] = {}
    docker_networks: tuple[str, ...] = ()
    owner: str = ""
    """As in the network's record."""


class EndpointSpec(NamedTuple):
    """An endpoint as a frontend requests it."""

    container_id: str
    ifname: str
    netns: str
    owner: str
    mac: str = ""
    addresses: tuple[IPAddress | IPInterface, ...] = ()
    """Requested addresses; a prefix, where given, counts for `static` IPAM only."""
    gateways: tuple[IPAddress, ...] = ()
    """Requested gateways (CNI_ARGS GATEWAY, static IPAM)."""
    ranges: tuple[Json, ...] = ()
    """Range sets of the runtime (`runtimeConfig.ipRanges`, keys lower-cased), put before the configured ones."""
    environ: Mapping[str, str] = {}
    """The caller's CNI environment, for delegated executables."""
    request_id: str = ""
    """The same id again is the same request, executed again after a cut (docs/decisions/0013-relay-and-service.md)."""
    dns: Dns | None = None
    """`runtimeConfig.dns`."""
    aliases: tuple[str, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    bandwidth: Bandwidth | None = None
    tuning: Tuning | None = None
    previous: Attachment | None = None
    """The result of the plugins before this one in a chain (driver `chained`)."""
    addresses_replace: bool = False
    """Requested addresses replace what `static` has configured (args.cni.ips, runtimeConfig.ips); else they add."""


class EndpointKey(NamedTuple):
    """Names an endpoint for DEL, CHECK and GC, from what a runtime always knows."""

    network: str
    container_id: str
    ifname: str

    @property
    def id(self) -> str:
        """The endpoint id: 64 hex digits, so that a DEL finds the record without searching."""
        return digest(self.network, self.container_id, self.ifname)
