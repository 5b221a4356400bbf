"""Parses port mappings, and the keys of the reference `portmap` plugin."""

from __future__ import annotations

from types import NoneType

from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import Fields, objects
from cni_cnm.model import PortmapOptions, PortMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.model import IPAddress, Json

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
PORT_MAX = 65535
ROW_MIN = 16
"""Before a range is published, all single ports of the host are listed: a few more elements take less time."""


def parse_mappings(raw: Json) -> tuple[PortMapping, ...]:
    """`[{hostPort, containerPort, protocol, hostIP?, range?}]`; equal ones are one. InvalidConfig where two overlap.

    ROW_MIN ports and more in a row that keep their numbers become one mapping.
    """
    listed = _in_rows(raw) if isinstance(raw, list) and len(raw) >= ROW_MIN else None
    mappings = tuple(listed or dict.fromkeys(map(_mapping, objects(raw, "portMappings"))))
    last: dict[tuple[str, str], PortMapping] = {}
    # sorted by port, a mapping can overlap only the one before
    for mapping in sorted(mappings, key=lambda one: one.host_port):
        where = (mapping.protocol, str(mapping.host_ip or ""))
        other = last.get(where)
        if other is not None and mapping.host_port < other.host_port + other.size:
            raise InvalidConfig(f"the port mappings {other} and {mapping} overlap")
        last[where] = mapping
    return mappings


_SPELLINGS = (("hostPort", "containerPort", "protocol", "hostIP"), ("HostPort", "ContainerPort", "Protocol", "HostIP"))
"""Of CNI's convention, and of containerd."""


def _in_rows(raw: Sequence[Json]) -> list[PortMapping] | None:
    """Thousands of mappings, as runtimes send them, in order. None if one is not plain: then each is parsed by itself.

    Plain is one with a whole number for each port, a protocol in lower case and no address.
    """
    if set(map(type, raw)) != {dict}:
        return None
    spelling = next((keys for keys in _SPELLINGS if keys[0] in raw[0]), None)
    if spelling is None or not frozenset().union(*raw) <= frozenset(spelling):
        return None
    host_key, container_key, protocol_key, ip_key = spelling
    given = [(one.get(protocol_key, "tcp"), one.get(host_key), one.get(container_key), one.get(ip_key)) for one in raw]
    protocols, hosts, containers, addresses = zip(*given, strict=True)
    if set(map(type, protocols)) != {str} or {*map(type, hosts), *map(type, containers)} != {int}:
        return None
    if not PROTOCOLS.keys() >= set(protocols) or {*map(type, addresses)} - {str, NoneType} or any(addresses):
        return None
    if min(*hosts, *containers) < 1 or max(*hosts, *containers) > PORT_MAX:
        return None
    return _rows(sorted(dict.fromkeys(zip(protocols, hosts, containers, strict=True))))


def _rows(ports: Sequence[tuple[str, int, int]]) -> list[PortMapping]:
    """The mappings of sorted ports: protocol, port of the host, port of the container."""
    found: list[PortMapping] = []
    begin, protocol, following = 0, "", 0
    for at, one in enumerate(ports):
        if one[2] == following and one == (protocol, following, following):
            following += 1
            continue
        found += _mappings_of(ports[begin:at])
        begin, protocol, following = at, one[0], one[1] + 1 if one[1] == one[2] else 0
    return found + _mappings_of(ports[begin:])


def _mappings_of(row: Sequence[tuple[str, int, int]]) -> list[PortMapping]:
    """Of ports in a row."""
    if len(row) < ROW_MIN:
        return [PortMapping(*one) for one in row]
    return [PortMapping(*row[0], size=len(row))]


def parse_options(raw: Mapping[str, Json]) -> tuple[PortmapOptions, tuple[str, ...]]:
    """The `portmap` object of a configuration, and warnings about keys without effect."""
    portmap = Fields(raw, "portmap.")
    warnings = []
    if portmap.text("externalSetMarkChain"):
        raise InvalidConfig(
            "portmap.externalSetMarkChain names an iptables chain, and published ports are kept in nftables",
            hint="leave it out: nftables masquerades these connections without that chain",
        )
    backend = portmap.text("backend", "nftables")
    if backend not in ("iptables", "nftables"):
        raise portmap.wrong("backend", "'iptables' or 'nftables'")
    if backend == "iptables":
        warnings.append("portmap: backend iptables is not used, published ports are kept in nftables")
    if "markMasqBit" in portmap:
        portmap.whole("markMasqBit", 0, 0, 31)
        warnings.append("portmap: markMasqBit is not used, masquerading here marks no packet")
    options = PortmapOptions(
        portmap.flag("snat", True),
        portmap.flag("masqAll"),
        _conditions(portmap, "conditionsV4"),
        _conditions(portmap, "conditionsV6"),
    )
    return options, tuple(warnings)


def _mapping(fields: Fields) -> PortMapping:
    protocol = (fields.text("protocol") or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise fields.wrong("protocol", f"one of {', '.join(PROTOCOLS)}")
    count = fields.whole("range", 1, 0, PORT_MAX) or 1
    host_port, container_port = _port(fields, "hostPort", count), _port(fields, "containerPort", count)
    return PortMapping(protocol, host_port, container_port, _host_ip(fields), count)


def _port(fields: Fields, key: str, count: int) -> int:
    """The first of `count` ports."""
    port = fields.whole(key)
    last = PORT_MAX - count + 1
    if not 1 <= port <= last:
        raise fields.wrong(key, f"between 1 and {last}" + (f" for {count} ports" if count > 1 else ""))
    return port


def _host_ip(fields: Fields) -> IPAddress | None:
    address = fields.address("hostIP")
    if address is None:
        return None
    if address.version == 6 and address.is_loopback:
        raise InvalidConfig(
            "a port cannot be published at ::1: the kernel sends nothing from there to another link",
            hint="use 127.0.0.1",
        )
    if address.is_multicast:
        raise fields.wrong("hostIP", "an address that is not multicast")
    return address


def _conditions(portmap: Fields, key: str) -> tuple[str, ...]:
    words, name = portmap.texts(key), portmap.name(key)
    if not all(words):
        raise InvalidConfig(f"{name} has an empty word")
    if words and words[0][0] in "-!":
        raise InvalidConfig(
            f"{name} {' '.join(words)!r} is written for iptables, and published ports are kept in nftables",
            hint='write it as nftables matches, e.g. ["ip", "saddr", "192.0.2.0/24"]',
        )
    if any(character in word for word in words for character in "\n\r;#{}\\"):
        raise InvalidConfig(f"{name} has a character that ends an nftables match: ; # {{ }} \\ or a new line")
    return words
