"""Parses port mappings, and the keys of the reference `portmap` plugin."""

from __future__ import annotations

from ipaddress import ip_address

from cni_cnm.errors import InvalidConfig
from cni_cnm.model import PortmapOptions, PortMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.model import IPAddress, Json

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


def parse_mappings(raw: Sequence[Json]) -> tuple[PortMapping, ...]:
    """`[{hostPort, containerPort, protocol, hostIP?, range?}]`; InvalidConfig also where two of them overlap."""
    if not isinstance(raw, list | tuple):
        raise InvalidConfig("portMappings is not a list")
    mappings = tuple(map(_mapping, raw))
    last: dict[tuple[str, str], PortMapping] = {}
    # sorted by port, a mapping can overlap only the one before
    for mapping in sorted(mappings, key=lambda one: one.host_port):
        where = (mapping.protocol, str(mapping.host_ip or ""))
        other = last.get(where)
        if other is not None and mapping.host_port < other.host_port + other.size:
            raise InvalidConfig(f"the port mappings {other} and {mapping} overlap")
        last[where] = mapping
    return mappings


def parse_options(raw: Mapping[str, Json]) -> tuple[PortmapOptions, tuple[str, ...]]:
    """The `portmap` object of a configuration, and warnings about keys without effect."""
    given = {key.lower(): value for key, value in raw.items() if value is not None}
    warnings = []
    if given.get("externalsetmarkchain"):
        raise InvalidConfig(
            "externalSetMarkChain names an iptables chain, and published ports are kept in nftables",
            hint="leave it out: nftables masquerades these connections without a mark",
        )
    if (backend := given.get("backend", "nftables")) not in ("iptables", "nftables"):
        raise InvalidConfig(f"backend {backend!r} of portmap is neither iptables nor nftables")
    if backend == "iptables":
        warnings.append("portmap: backend iptables is not used, published ports are kept in nftables")
    if (bit := given.get("markmasqbit")) is not None:
        if not isinstance(bit, int) or not 0 <= bit <= 31:
            raise InvalidConfig(f"markMasqBit {bit!r} is not a number from 0 to 31")
        warnings.append("portmap: markMasqBit is not used, masquerading here needs no mark")
    options = PortmapOptions(
        _flag(given, "snat", True),
        _flag(given, "masqall", False),
        _conditions(given, "conditionsV4"),
        _conditions(given, "conditionsV6"),
    )
    return options, tuple(warnings)


def _mapping(raw: Json) -> PortMapping:
    if not isinstance(raw, dict):
        raise InvalidConfig(f"the port mapping {raw!r} is not an object")
    given = {key.lower(): value for key, value in raw.items()}
    protocol = str(given.get("protocol") or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise InvalidConfig(f"the protocol {protocol!r} of a port mapping is none of {', '.join(PROTOCOLS)}")
    count = given.get("range") or 1
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 65535:
        raise InvalidConfig(f"range {count!r} of a port mapping is not a number of ports")
    ports = []
    for name in ("hostPort", "containerPort"):
        port = given.get(name.lower())
        if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535 - count + 1:
            last = f" with {count} ports from there" if count > 1 else ""
            raise InvalidConfig(f"{name} {port!r} of a port mapping is not between 1 and 65535{last}")
        ports.append(port)
    return PortMapping(protocol, ports[0], ports[1], _host_ip(given.get("hostip")), count)


def _host_ip(text: Json) -> IPAddress | None:
    if not text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        raise InvalidConfig(f"hostIP {text!r} of a port mapping is not an address") from None
    if address.version == 6 and address.is_loopback:
        raise InvalidConfig(
            "a port cannot be published at ::1: the kernel sends nothing from there to another link",
            hint="use 127.0.0.1",
        )
    if address.is_multicast:
        raise InvalidConfig(f"hostIP {address} of a port mapping is a multicast address")
    return address


def _flag(given: Mapping[str, Json], name: str, default: bool) -> bool:
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise InvalidConfig(f"{name} {value!r} of portmap is neither true nor false")
    return value


def _conditions(given: Mapping[str, Json], name: str) -> tuple[str, ...]:
    words = given.get(name.lower(), [])
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise InvalidConfig(f"{name} of portmap is not a list of words")
    if words and words[0][0] in "-!":
        raise InvalidConfig(
            f"{name} {' '.join(words)!r} is written for iptables, and published ports are kept in nftables",
            hint='write it as nftables matches, e.g. ["ip", "saddr", "192.0.2.0/24"]',
        )
    if any(character in word for word in words for character in "\n\r;#{}\\"):
        raise InvalidConfig(
            f"{name} of portmap has a character that ends an nftables match: ; # {{ }} \\ or a new line"
        )
    return tuple(words)
