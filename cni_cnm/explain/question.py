"""What is asked: who sends a packet, and to where."""

from __future__ import annotations

import re

from cni_cnm.errors import InvalidConfig, NoSuchEndpoint
from cni_cnm.explain.packet import ICMP, ICMP6, PROTOCOLS, SOURCE_PORT, Packet
from cni_cnm.explain.verdict import HOST
from cni_cnm.find.endpoints import find_of_one_container
from cni_cnm.model import ip_address
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.explain.space import Space
    from cni_cnm.explain.world import World
    from cni_cnm.kernel import Link
    from cni_cnm.model import IPAddress

HOST_WORD, OUTSIDE_WORD = "host", "outside"
OUTSIDE = {4: ip_address("198.51.100.1"), 6: ip_address("2001:db8::1")}
"""Stands for any address outside (RFC 5737, RFC 3849), where none is given."""
_ANY = {4: ip_address("0.0.0.0"), 6: ip_address("::")}  # noqa: S104 - nothing is bound to it
_PUBLISHED = re.compile(r"(\d{1,5})(?:/(tcp|udp))?")
_TO = re.compile(r"\[(?P<six>[^]]+)\](?::(?P<p6>\d{1,5}))?|(?P<plain>[^:]+(?=:\d)|.+?)(?::(?P<port>\d{1,5}))?")


class Asked(NamedTuple):
    """The words of the command line."""

    what: str
    to: str = ""
    sender: str = ""
    """`--from`."""
    protocol: str = ""
    version: int = 0


class Question(NamedTuple):
    title: str
    space: Space
    packet: Packet
    link: Link | None = None
    """By which it comes from outside; None: a process in `space` sends it."""


def questions(world: World, host: Host, asked: Asked) -> list[Question]:
    """Usually one. Of a container alone two: to the outside, and from the host to it.

    Raises:
        NoSuchEndpoint: a name means no endpoint of this host.
        InvalidConfig: a name means several, or what is asked has no packet.
    """
    port = _PUBLISHED.fullmatch(asked.what)
    if port is not None and not asked.to:
        return [_to_published(world, host, asked, _port(port[1]), port[2] or "")]
    if asked.to and asked.sender:
        raise InvalidConfig("--to and --from are two directions", hint="give one of them")
    if asked.sender:
        return [_into(world, host, asked.sender, find_of_one_container(host, asked.what)[0].record, asked)]
    record = _one(host, asked.what)
    if asked.to:
        address, number = _target(host, asked.to, asked.version or _version(record))
        return [_from(world, record, address, number, asked)]
    version = asked.version or _version(record)
    outward = _from(world, record, OUTSIDE[version], 0, asked)
    return [outward, _into(world, host, HOST_WORD, record, asked)]


def _to_published(world: World, host: Host, asked: Asked, port: int, protocol: str) -> Question:
    """To an address of this host: from outside, unless --from says otherwise."""
    protocol = protocol or asked.protocol or _published_protocol(world, port)
    version = asked.version or 4
    sender = asked.sender or OUTSIDE_WORD
    source = _outside_address(sender, version)
    if source is not None:
        target = _own_address(world.host, source)
        return _outside(world, source, target, port, protocol)
    target = _own_address(world.host, OUTSIDE[version])
    if sender == HOST_WORD:
        return _of(world.host, _ANY[version], target, port, protocol)
    record = _one(host, sender)
    return _of(world.sandbox(record), _ANY[version], target, port, protocol)


def _published_protocol(world: World, port: int) -> str:
    mappings = (one for record in world.records for one in record.ports)
    found = (one.protocol for one in mappings if one.host_port <= port < one.host_port + one.size)
    return next(found, "tcp")


def _from(world: World, record: EndpointRecord, address: IPAddress, port: int, asked: Asked) -> Question:
    return _of(world.sandbox(record), _ANY[address.version], address, port, asked.protocol)


def _into(world: World, host: Host, sender: str, record: EndpointRecord, asked: Asked) -> Question:
    sender, number = _split(sender)
    version = asked.version or _version(record)
    source = _outside_address(sender, version)
    target = _address(record, source.version if source is not None and sender != OUTSIDE_WORD else version)
    if sender == HOST_WORD:
        return _of(world.host, _ANY[version], target, number, asked.protocol)
    if source is not None and not _is_endpoints(world, source):
        return _outside(world, source, target, number, asked.protocol)
    other = _one(host, sender)
    return _of(world.sandbox(other), _ANY[version], target, number, asked.protocol)


def _is_endpoints(world: World, address: IPAddress) -> bool:
    return any(one.interface.ip == address for record in world.records for one in record.addresses)


def _outside(world: World, source: IPAddress, target: IPAddress, port: int, protocol: str) -> Question:
    host = world.host
    route = host.stack.ask_route(source)
    if route.kind != "unicast":
        raise InvalidConfig(f"this host has no route to {source}, so it is not known by which link it would send")
    link = host.link(route.link)
    packet = _packet(source, target, port, protocol)._replace(mac_dst=link.mac)
    return Question(f"{packet}, from outside by {link.name}", host, packet, link)


def _of(space: Space, source: IPAddress, target: IPAddress, port: int, protocol: str) -> Question:
    packet = _packet(source, target, port, protocol)
    shown = f"{packet}".partition(" → ")
    kind = shown[0].partition(" ")[0]
    return Question(f"{kind} from {'this host' if space.name == HOST else space} to {shown[2]}", space, packet)


def _packet(source: IPAddress, target: IPAddress, port: int, protocol: str) -> Packet:
    if source.version != target.version:
        raise InvalidConfig(f"{source} and {target} are of two IP versions")
    name = protocol or ("tcp" if port else "icmp")
    number = PROTOCOLS[name]
    if number == ICMP and target.version == 6:
        number = ICMP6
    if name != "icmp" and not port:
        raise InvalidConfig(f"a packet of {name} needs a port", hint="write it as ADDRESS:PORT")
    if name == "icmp":
        return Packet(source, target, number)
    return Packet(source, target, number, SOURCE_PORT, port)


def _one(host: Host, wanted: str) -> EndpointRecord:
    found = find_of_one_container(host, wanted)
    record = next((one.record for one in found if one.record.netns), None)
    if record is None:
        first = found[0]
        hint = f"`cni-cnm explain {wanted} --from host` follows a packet to it"
        raise InvalidConfig(f"{first.shown} has no network namespace on record", hint=hint)
    return record


def _version(record: EndpointRecord) -> int:
    return 4 if any(one.interface.version == 4 for one in record.addresses) or not record.addresses else 6


def _address(record: EndpointRecord, version: int) -> IPAddress:
    address = next((one.interface.ip for one in record.addresses if one.interface.version == version), None)
    if address is None:
        raise InvalidConfig(f"{record.label} has no IPv{version} address")
    return address


def _own_address(space: Space, towards: IPAddress) -> IPAddress:
    """The address of this host that packets to `towards` have, or else any that it has."""
    source = space.stack.ask_route(towards).source
    if source is not None:
        return source
    found = [one.ip for _, one in space.stack.all_addresses((towards.version,)) if not one.ip.is_loopback]
    if not found:
        raise InvalidConfig(f"this host has no IPv{towards.version} address")
    return found[0]


def _outside_address(sender: str, version: int) -> IPAddress | None:
    """None if the word is no address."""
    if sender == OUTSIDE_WORD:
        return OUTSIDE[version]
    try:
        return ip_address(sender)
    except ValueError:
        return None


def _split(text: str) -> tuple[str, int]:
    """`ADDRESS[:PORT]`, `[ADDRESS]:PORT` or `NAME[:PORT]`; an IPv6 address without brackets has no port."""
    if text.count(":") > 1 and not text.startswith("["):
        return text, 0
    parts = _TO.fullmatch(text)
    if parts is None:
        raise InvalidConfig(f"{text!r} is not ADDRESS[:PORT]")
    port = parts["p6"] or parts["port"]
    return parts["six"] or parts["plain"], _port(port) if port else 0


def _port(text: str) -> int:
    if not 1 <= int(text) <= 65535:
        raise InvalidConfig(f"{text} is no port", hint="ports are 1 to 65535")
    return int(text)


def _target(host: Host, text: str, version: int) -> tuple[IPAddress, int]:
    word, number = _split(text)
    try:
        return ip_address(word), number
    except ValueError:
        pass
    if word == OUTSIDE_WORD:
        return OUTSIDE[version], number
    try:
        return _address(_one(host, word), version), number
    except NoSuchEndpoint as error:
        error.hint = "give an IP address, or what `cni-cnm endpoint ls` shows; names of DNS are not looked up"
        raise
