"""What netavark sends: the types `Network` and `NetworkPluginExec` of its src/network/types.rs.

Values are checked here where the engine does not. Keys that no verb needs are not read.
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.errors import DecodeFailed, InvalidConfig
from cni_cnm.fields import Fields
from cni_cnm.json_text import decoder
from cni_cnm.model import PortMapping
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.model import IPAddress, IPNetwork, Json

PROTOCOLS = ("tcp", "udp", "sctp")
LIMIT_BYTES = 4 << 20
IPAM_NONE = "none"
_IPAMS = ("", "host-local", IPAM_NONE)
_PORT_MAX = 65535

_decode = decoder()


class PodmanSubnet(NamedTuple):
    pool: IPNetwork
    gateway: IPAddress | None


class PodmanNetwork(NamedTuple):
    """A network as podman has it on file."""

    name: str
    id: str
    driver: str
    interface: str
    """The bridge; "" if `create` is to name one."""
    subnets: tuple[PodmanSubnet, ...]
    ipv6: bool
    internal: bool
    dns: bool
    """Names are answered."""
    dns_servers: tuple[IPAddress, ...]
    """Where other questions go; empty: where the host asks."""
    ipam: str
    """`host-local`: podman allocates addresses; `none`: there are none. "" before `create`."""
    options: Mapping[str, str]
    routes: tuple[Json, ...]
    """As an ipam object has them: dst, gw, priority, type."""
    labels: Mapping[str, str]


class PodmanContainer(NamedTuple):
    """A container on one network."""

    network: PodmanNetwork
    container_id: str
    name: str
    ifname: str
    aliases: tuple[str, ...]
    addresses: tuple[IPAddress, ...]
    mac: str
    host_ifname: str
    """The name of the link on the host; "" for any."""
    ports: tuple[PortMapping, ...]


class Leaving(NamedTuple):
    """What `teardown` needs. Nothing else in its message can make it fail."""

    network: str
    container_id: str
    ifname: str


def decode(raw: bytes) -> Mapping[str, Json]:
    """DecodeFailed if it is no JSON object, or larger than LIMIT_BYTES."""
    if len(raw) > LIMIT_BYTES:
        raise DecodeFailed(f"the message is larger than {LIMIT_BYTES >> 20} MiB")
    try:
        document = _decode(raw)
    except (ValueError, RecursionError) as error:
        hint = "netavark sends it on stdin" if not raw.strip() else ""
        raise DecodeFailed(f"the message is not JSON: {error}", hint=hint) from None
    if not isinstance(document, dict):
        raise DecodeFailed("the message is not a JSON object")
    return document


def network(document: Mapping[str, Json], prefix: str = "") -> PodmanNetwork:
    """Read a network. InvalidConfig names the key that is wrong."""
    raw = Fields(document, prefix)
    ipam = raw.object("ipam_options").text("driver")
    if ipam not in _IPAMS:
        raise InvalidConfig(f"the ipam driver {ipam} is not supported", hint="use host-local or none")
    found = PodmanNetwork(
        name=raw.required("name", validate.network_name),
        id=raw.required("id", validate.name),
        driver=raw.text("driver"),
        interface=raw.parsed("network_interface", validate.new_interface_name) or "",
        subnets=tuple(map(_subnet, raw.objects("subnets"))),
        ipv6=raw.flag("ipv6_enabled"),
        internal=raw.flag("internal"),
        dns=raw.flag("dns_enabled"),
        dns_servers=tuple(
            validate.require(validate.address, text, raw.name("network_dns_servers"))
            for text in raw.texts("network_dns_servers")
        ),
        ipam=ipam,
        options=raw.text_mapping("options"),
        routes=tuple(map(_route, raw.objects("routes"))),
        labels=raw.text_mapping("labels"),
    )
    if ipam == IPAM_NONE and found.subnets:
        raise InvalidConfig("the ipam driver is none, and subnets are given", hint="leave out one of the two")
    return found


def container(document: Mapping[str, Json]) -> PodmanContainer:
    """Read the message of `setup`."""
    raw = Fields(document)
    options = raw.object("network_options")
    texts = options.texts("static_ips")
    return PodmanContainer(
        network=network(raw.mapping("network"), "network."),
        container_id=raw.required("container_id", validate.name),
        name=raw.text("container_name"),
        ifname=options.required("interface_name", validate.new_interface_name),
        aliases=options.texts("aliases"),
        addresses=tuple(validate.require(validate.address, text, options.name("static_ips")) for text in texts),
        mac=options.mac("static_mac"),
        host_ifname=_host_ifname(options.object("options")),
        ports=tuple(port for fields in raw.objects("port_mappings") for port in _ports(fields)),
    )


def leaving(document: Mapping[str, Json]) -> Leaving:
    """Read the message of `teardown`."""
    raw = Fields(document)
    return Leaving(
        raw.object("network").required("name", validate.network_name),
        raw.required("container_id", validate.name),
        raw.object("network_options").required("interface_name", validate.interface_name),
    )


def _host_ifname(options: Fields) -> str:
    for key in options.spelled:
        if key != "host_interface_name":
            raise InvalidConfig(f"the option {options.name(key)} is not known", hint="known: host_interface_name")
    return options.parsed("host_interface_name", validate.new_interface_name) or ""


def _subnet(raw: Fields) -> PodmanSubnet:
    """The lease range is checked, and otherwise podman's: it allocates the addresses."""
    pool, gateway = raw.required("subnet", validate.network), raw.address("gateway")
    ends = {key: raw.object("lease_range").address(key) for key in ("start_ip", "end_ip")}
    for key, address in {"gateway": gateway, **ends}.items():
        if address is not None and (address.version != pool.version or address not in pool):
            raise InvalidConfig(f"{raw.name(key)} {address} is not in the subnet {pool}")
    start, end = ends["start_ip"], ends["end_ip"]
    if start is not None and end is not None and int(end) < int(start):
        raise InvalidConfig(f"{raw.name('end_ip')} {end} is before start_ip {start}")
    return PodmanSubnet(pool, gateway)


def _route(raw: Fields) -> Json:
    destination, gateway = raw.required("destination", validate.network), raw.address("gateway")
    kind = raw.text("route_type") or "unicast"
    if kind == "unicast" and gateway is None:
        raise InvalidConfig(f"the route to {destination} has no gateway, which the type unicast needs")
    found: dict[str, Json] = {"dst": str(destination), "type": kind}
    if gateway is not None:
        found["gw"] = str(gateway)
    if "metric" in raw:
        found["priority"] = raw.whole("metric", 0, 0, 2**32 - 1)
    return found


def _ports(raw: Fields) -> Sequence[PortMapping]:
    """One for each protocol: a mapping names several, with commas."""
    size = raw.whole("range", 1, 0, _PORT_MAX) or 1
    first = raw.whole("container_port", 0, 1, _PORT_MAX + 1 - size)
    host = raw.whole("host_port", 0, 1, _PORT_MAX + 1 - size)
    address = raw.address("host_ip")
    protocols = [name.strip() for name in (raw.text("protocol") or PROTOCOLS[0]).split(",")]
    for protocol in protocols:
        if protocol not in PROTOCOLS:
            raise raw.wrong("protocol", f"one of {', '.join(PROTOCOLS)}, or several with commas")
    if not (first and host):
        raise InvalidConfig(f"{raw.name('host_port')} and container_port must be given")
    return [PortMapping(protocol, host, first, address, size) for protocol in dict.fromkeys(protocols)]
