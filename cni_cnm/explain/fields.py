"""What an expression of a rule loads into a register: of the packet, its connection, its links, and routes."""

from __future__ import annotations

from sys import byteorder

from cni_cnm.explain import packet as packets
from cni_cnm.explain import rule_words
from cni_cnm.explain.packet import INVALID, UNTRACKED, Packet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cni_cnm.explain.at import At
    from cni_cnm.kernel import Link
    from cni_cnm.kernel.contract.ruleset import Load


class Unreadable(Exception):
    """NFT_BREAK: the expression has no value, so the rule does not match."""


def name_of(load: Load, version: int) -> str:
    """For people, as nft spells it."""
    if load.source == "meta":
        return _META[load.key][0] if load.key in _META else f"meta {load.key}"
    if load.source == "ct":
        return _CT.get(load.key, f"ct {load.key}")
    if load.source == "payload":
        return rule_words.payload(load, version)
    if load.source == "fib":
        words = " . ".join(word for bit, word in _FIB_FLAGS.items() if load.flags & bit)
        return f"fib {words} {_FIB_RESULTS.get(load.key, '')}".strip()
    return load.source


def value_of(load: Load, at: At, packet: Packet) -> Sequence[int | None] | None:
    """None where nothing is known of it. Unreadable if the kernel has no value either."""
    if load.source == "meta" and load.key in _META:
        return _META[load.key][1](at, packet)
    if load.source == "ct":
        return _connection(load.key, at, packet)
    if load.source == "payload":
        return _payload(load, packet)
    if load.source == "fib":
        return at.fib(packet, load.key, load.flags)
    return None


def _connection(key: int, at: At, packet: Packet) -> Sequence[int | None] | None:
    if key == 0:
        return _word(packet.state if at.tracked else INVALID)
    if not at.tracked or packet.state == UNTRACKED:
        raise Unreadable
    known: dict[int, Sequence[int | None]] = {
        1: [int(packet.reply)],
        2: _word(packet.connection_status()),
        3: _word(packet.connection_mark),
        7: [2 if packet.version == 4 else 10],
        10: [packet.protocol],
    }
    return known.get(key)


def _payload(load: Load, packet: Packet) -> Sequence[int | None] | None:
    headers = (packets.ethernet, packets.network, packets.transport)
    if load.key >= len(headers):
        return None
    found = headers[load.key](packet)
    if not found:
        raise Unreadable
    part = found[load.offset : load.offset + load.length]
    return [*part, *[None] * (load.length - len(part))]


def _word(value: int) -> list[int | None]:
    return list(value.to_bytes(4, byteorder))


def _half(value: int) -> list[int | None]:
    return list(value.to_bytes(2, byteorder))


def _text(name: str) -> list[int | None]:
    return list(name.encode(errors="surrogateescape").ljust(16, b"\0"))


def _index(of: str) -> Callable[[At, Packet], list[int | None]]:
    """0 at a hook without that link."""

    def value(at: At, _: Packet) -> list[int | None]:
        link: Link | None = getattr(at, of)
        return _word(link.ifindex if link is not None else 0)

    return value


def _name(of: str) -> Callable[[At, Packet], list[int | None]]:
    """ "" at a hook without that link."""

    def value(at: At, _: Packet) -> list[int | None]:
        link: Link | None = getattr(at, of)
        return _text(link.name if link is not None else "")

    return value


def _link(of: str, read: Callable[[Link], list[int | None]]) -> Callable[[At, Packet], list[int | None]]:
    """Of the link that a packet came by, or leaves by. At a hook without that link the rule does not match."""

    def value(at: At, _: Packet) -> list[int | None]:
        link: Link | None = getattr(at, of)
        if link is None:
            raise Unreadable
        return read(link)

    return value


def _bridge_name(at: At, _: Packet) -> list[int | None]:
    if not at.bridge:
        raise Unreadable
    return _text(at.bridge)


def _ether_type(packet: Packet) -> int:
    return packets.ARP_TYPE if packet.arp else packets.IPV4_TYPE if packet.version == 4 else packets.IPV6_TYPE


def _family_number(at: At, packet: Packet) -> list[int | None]:
    """NFPROTO of the hook, and so of the packet where the table is inet."""
    numbers = {"bridge": 7, "netdev": 5, "arp": 3}
    return [numbers.get(at.family, 2 if packet.version == 4 else 10)]


def _transport(_: At, packet: Packet) -> list[int | None]:
    if packet.arp:
        raise Unreadable
    return [packet.protocol]


_ETHERNET = 1
"""ARPHRD_ETHER."""
_META: dict[int, tuple[str, Callable[[At, Packet], list[int | None] | None]]] = {
    1: ("protocol", lambda _, packet: list(_ether_type(packet).to_bytes(2, "big"))),
    3: ("mark", lambda _, packet: _word(packet.mark)),
    4: ("iif", _index("incoming")),
    5: ("oif", _index("outgoing")),
    6: ("iifname", _name("incoming")),
    7: ("oifname", _name("outgoing")),
    8: ("iiftype", _link("incoming", lambda link: _half(772 if link.name == "lo" else _ETHERNET))),
    9: ("oiftype", _link("outgoing", lambda link: _half(772 if link.name == "lo" else _ETHERNET))),
    12: ("nftrace", lambda _, __: [0]),
    15: ("nfproto", _family_number),
    16: ("l4proto", _transport),
    17: ("ibrname", _bridge_name),
    18: ("obrname", _bridge_name),
    19: ("pkttype", lambda _, packet: [(1 if packet.arp else 2) if packet.broadcast else 0]),
    21: ("iifgroup", _link("incoming", lambda link: _word(link.group))),
    22: ("oifgroup", _link("outgoing", lambda link: _word(link.group))),
    26: ("iifkind", _link("incoming", lambda link: _text(link.kind))),
    27: ("oifkind", _link("outgoing", lambda link: _text(link.kind))),
}
"""NFT_META_…: name, and value. Others are not known."""
_CT = {0: "ct state", 1: "ct direction", 2: "ct status", 3: "ct mark", 7: "ct l3proto", 10: "ct protocol"}
_FIB_FLAGS = {1: "saddr", 2: "daddr", 4: "mark", 8: "iif", 16: "oif"}
_FIB_RESULTS = {1: "oif", 2: "oifname", 3: "type"}
