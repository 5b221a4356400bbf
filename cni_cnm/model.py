"""Immutable values of the Container Network Model, shared by the whole package. No I/O, no kernel, no JSON.

A frontend's request goes down as `NetworkSpec` and `EndpointSpec`; an `Attachment`, what the container got, comes back.
In between, `Lease` is what the IPAM gave and `Device` what a driver made.
Addresses are `ipaddress` values everywhere. They are text only in the frontends and in records.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

from cni_cnm.named_tuple import NamedTuple

try:
    from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore] # hashlib loads libcrypto: 10 ms a pod
except ImportError:
    from hashlib import sha256  # noqa: TID251

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPInterface: TypeAlias = IPv4Interface | IPv6Interface
IPNetwork: TypeAlias = IPv4Network | IPv6Network
Json: TypeAlias = "Any"
"""Decoded JSON. Only frontends, records and the parsers of options handle it; everything else is typed."""

PARSED_MAX = 512
ip_address = lru_cache(PARSED_MAX)(ipaddress.ip_address)
ip_interface = lru_cache(PARSED_MAX)(ipaddress.ip_interface)
ip_network = lru_cache(PARSED_MAX)(ipaddress.ip_network)
"""Python's parsers of text. A request has the same gateway, subnet and default route in many places."""


@lru_cache(PARSED_MAX)
def digest(*parts: str) -> str:
    """64 hex digits of SHA-256 over the parts, joined by NUL (no part can contain one, so no two lists collide)."""
    return str(sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest())


def stable_mac(*parts: str) -> str:
    """A locally administered unicast address for what the parts name, as an endpoint by its id.

    It is the same when that is made again: neighbours' ARP entries stay right.
    """
    octets = bytearray(bytes.fromhex(digest("mac", *parts)[:12]))
    octets[0] = octets[0] & 0xFC | 0x02
    return octets.hex(":")


class Dns(NamedTuple):
    """Settings of the resolver, for the runtime to put into the container's resolv.conf."""

    nameservers: tuple[str, ...] = ()
    """Addresses, the first one is asked first."""
    domain: str = ""
    """The container's own domain."""
    search: tuple[str, ...] = ()
    """Domains that short names are looked up in."""
    options: tuple[str, ...] = ()
    """As in resolv.conf(5)."""


class Route(NamedTuple):
    """A route inside the container."""

    dst: IPNetwork
    """0.0.0.0/0 and ::/0 are the default route."""
    gw: IPAddress | None = None
    """None: the first gateway of that family (CNI convention), or with the scope `ON_LINK` none."""
    mtu: int | None = None
    """Bytes; None: the link's."""
    advmss: int | None = None
    """Bytes of a TCP segment that is advertised to neighbours; None: the kernel's choice."""
    priority: int | None = None
    """The metric; the lowest wins. None: the kernel's default."""
    table: int | None = None
    """None: the main table."""
    scope: int | None = None
    """As in rtnetlink(7): 0 global, 253 link, 254 host. None: the kernel's choice."""
    kind: str | None = None
    """`blackhole`, `unreachable` or `prohibit`: packets are dropped, and there is no gateway. None: unicast."""


IPV6_MTU = 1280
"""The least MTU of a link with IPv6 (IPV6_MIN_MTU): with less the kernel takes IPv6 off it."""
ON_LINK = 253
"""Scope of a route that leads to neighbours on the link itself (RT_SCOPE_LINK)."""


class Address(NamedTuple):
    """One address of an endpoint with its prefix, and the gateway of its subnet if there is one."""

    interface: IPInterface
    """The address with its prefix length."""
    gateway: IPAddress | None = None
    """None: the subnet has none, or the network does not offer it."""


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
    key: str = ""
    """Where the configuration names it, such as `ipam.ranges[0][0]`; "" if an IPAM plugin gave it."""


class Interface(NamedTuple):
    """A link as reported to a caller."""

    name: str
    """At most 15 bytes."""
    mac: str = ""
    """Lower-case pairs with colons; "" if it is not known."""
    mtu: int = 0
    """Bytes; 0 if it is not known."""
    sandbox: str = ""
    """Path of the network namespace; "" for a link on the host."""


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
    remade: bool = False
    """The network's own link was gone and was made again: other endpoints' links have to be attached to it again."""


class Attachment(NamedTuple):
    """What a container got."""

    interfaces: tuple[Interface, ...]
    """Links of the host and of the container, in the order that a CNI result has."""
    addresses: tuple[Address, ...]
    """Those of the container's link."""
    routes: tuple[Route, ...]
    """Those in the container. The default route only if this endpoint has it."""
    dns: Dns
    """Resolver settings, for the caller to write."""
    container_index: int | None
    """Which of `interfaces` is the container's; None: there is none."""
    warnings: tuple[str, ...] = ()
    """Sentences for the caller, although the attach succeeded."""
    network_made: bool = False
    """This attach has made the network."""


ANY_ADDRESS: Mapping[int, IPAddress] = {4: IPv4Address("0.0.0.0"), 6: IPv6Address("::")}  # noqa: S104 - a mapping's value
"""Every address of one IP version, in a published port."""


class PortMapping(NamedTuple):
    """A published port, or several in a row."""

    protocol: str
    """`tcp`, `udp` or `sctp`."""
    host_port: int
    """The first port of the host, 1 to 65535."""
    container_port: int
    """The first port of the container, 1 to 65535."""
    host_ip: IPAddress | None = None
    """None: every address of the host, both families. Unspecified (0.0.0.0, ::): every one of its family."""
    size: int = 1
    """How many ports, of the host and of the container."""

    def __str__(self) -> str:
        last = f"-{self.host_port + self.size - 1}" if self.size > 1 else ""
        where = f"{self.host_ip} " if self.host_ip is not None else ""
        return f"{where}{self.host_port}{last}/{self.protocol}"

    def published(self) -> str:
        """In words, as Docker shows it: `192.0.2.1:8080->80/tcp`, `8000-8009->9000-9009/udp`."""
        where = (
            "" if self.host_ip is None else f"[{self.host_ip}]:" if self.host_ip.version == 6 else f"{self.host_ip}:"
        )
        host, container = (
            f"{first}-{first + self.size - 1}" if self.size > 1 else str(first)
            for first in (self.host_port, self.container_port)
        )
        return f"{where}{host}->{container}/{self.protocol}"


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
    """Limits of an endpoint, as its container sees them: ingress is what comes to it."""

    ingress_rate: int = 0
    """Bits a second; 0: no limit that way."""
    ingress_burst: int = 0
    """Bits that may pass at once after a pause. A limit needs both numbers."""
    egress_rate: int = 0
    """Bits a second; 0: no limit that way."""
    egress_burst: int = 0
    """Bits."""


class Tuning(NamedTuple):
    """Sysctls of a container's network and attributes of its link. An attribute that is None is not changed."""

    sysctls: tuple[tuple[str, str], ...] = ()
    """Pairs of key (`net/ipv4/conf/eth0/arp_ignore`) and value, in the order they are written."""
    mac: str | None = None
    """Lower-case pairs with colons."""
    mtu: int | None = None
    """Bytes."""
    promisc: bool | None = None
    """Receive what is for other hosts, too."""
    allmulti: bool | None = None
    """Receive all multicast."""
    txqlen: int | None = None
    """Packets."""


class SourceRouting(NamedTuple):
    """Packets leave by the interface whose address they have (the reference `sbr` plugin)."""

    table: int = 0
    """The routing table, with another program's routes. 0: each address has a table with the interface's routes."""
    tables: tuple[int, ...] = ()
    """The table of each address, in their order; () before they are chosen."""


class NameService(NamedTuple):
    """That the names of a network's containers are answered, by a server at its gateways (docs/names.md)."""

    domain: str
    """The domain of the network, in lower case."""
    servers: tuple[str, ...] = ()
    """Addresses of the servers that other questions go to; empty: those of the host's resolv.conf."""


class IpamSpec(NamedTuple):
    """The `ipam` part of a network, as configured. An IPAM executable needs more than its own object."""

    type: str
    """`host-local`, `static`, the name of an executable or of a Docker plugin; "" or `none`: no addresses."""
    config: Mapping[str, Json] = {}
    """The ipam object, its keys in lower case."""
    conf: Mapping[str, Json] = {}
    """The whole network configuration as it was given, for an executable."""
    cni_path: str = ""
    """Where executables are looked for: folders with ':' between them."""


class NetworkSpec(NamedTuple):
    """A network as a frontend requests it. `options` are not parsed: the driver that is named parses them."""

    name: str
    """Unique on the host."""
    driver: str = "bridge"
    """The driver's name."""
    options: Mapping[str, Json] = {}
    """What the driver reads, the keys in lower case."""
    ipam: IpamSpec = IpamSpec("")
    """Where addresses come from."""
    internal: bool = False
    """Nothing outside the network is reached from it."""
    dns: Dns | None = None
    """Replaces the IPAM's DNS entirely when given."""
    portmap: PortmapOptions = PortmapOptions()
    """How ports are published."""
    labels: Mapping[str, str] = {}
    """Metadata."""
    docker_networks: tuple[str, ...] = ()
    """Ids of Docker's networks that are this one."""
    owner: str = ""
    """`docker`: made for a network of Docker's, and deleted with it."""
    allow_overlap: bool = False
    """Make it although another network or the host has some of its subnets."""
    names: NameService | None = None
    """The names of its containers are answered. None: they are not."""


class Pod(NamedTuple):
    """The Kubernetes pod of an endpoint, as the runtime names it (CNI_ARGS). Empty for other containers."""

    name: str = ""
    """Its name."""
    namespace: str = ""
    """Its namespace in the cluster."""
    uid: str = ""
    """Its id: another pod of the same name has another one."""

    @property
    def label(self) -> str:
        """NAMESPACE/NAME; the name alone where the runtime has no namespaces, as podman; "" for another container."""
        if not self.name or not self.namespace:
            return self.name
        return f"{self.namespace}/{self.name}"


class EndpointSpec(NamedTuple):
    """An endpoint as a frontend requests it."""

    container_id: str
    """The container's id."""
    ifname: str
    """The interface's name in the container, at most 15 bytes."""
    netns: str
    """Path of the network namespace."""
    owner: str
    """Whose it is, for `Controller.collect`: `cni/` and a runtime's name, `docker` or `library`."""
    mac: str = ""
    """Lower-case pairs with colons; "": one that follows from the endpoint's id."""
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
    """Other names of the container, recorded."""
    ports: tuple[PortMapping, ...] = ()
    """Published ports."""
    bandwidth: Bandwidth | None = None
    """Limits; None: none."""
    tuning: Tuning | None = None
    """Sysctls and link attributes; None: none."""
    source_routing: SourceRouting | None = None
    """Rules and tables of its addresses; None: none."""
    host_ifname: str = ""
    """The name of the link on the host, at most 15 bytes; "": one that follows from the endpoint's id."""
    listed: bool = False
    """An earlier plugin of the same list has made an interface of this name."""
    previous: Attachment | None = None
    """The result of the plugins before this one in a chain (driver `chained`)."""
    pod: Pod = Pod()
    """The Kubernetes pod; recorded."""
    device_id: str = ""
    """The device that the runtime has chosen (driver `host-device`): a PCI address, or an auxiliary device's name."""
    addresses_replace: bool = False
    """Requested addresses replace what `static` has configured (args.cni.ips, runtimeConfig.ips); else they add."""


class Part(NamedTuple):
    """What one plugin of a list adds to an endpoint that another one has made."""

    plugin: str
    """The plugin's name."""
    ports: tuple[PortMapping, ...] = ()
    """Published ports."""
    portmap: PortmapOptions = PortmapOptions()
    """How they are published."""
    bandwidth: Bandwidth | None = None
    """Limits."""
    tuning: Tuning | None = None
    """Sysctls and link attributes."""
    source_routing: SourceRouting | None = None
    """Rules and tables of its addresses."""
    policy: Mapping[str, Json] = {}
    """Keys of the plugin `firewall` in lower case, for the driver of the network."""


class EndpointKey(NamedTuple):
    """Names an endpoint for DEL, CHECK and GC, from what a runtime always knows."""

    network: str
    """The network's name."""
    container_id: str
    """The container's id."""
    ifname: str
    """The interface's name in the container."""

    @property
    def id(self) -> str:
        """The endpoint id: 64 hex digits, so that a DEL finds the record without searching."""
        return digest(self.network, self.container_id, self.ifname)
