"""Matches and targets of iptables in nf_tables: those that are known here, by their structs (linux/netfilter/xt_….h).

Any other match has no value, and any other target may drop.
"""

from __future__ import annotations

import struct

from cni_cnm.explain import packet as packets
from cni_cnm.explain.packet import Packet
from cni_cnm.model import ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cni_cnm.explain.at import At
    from cni_cnm.kernel.contract.ruleset import Match, Target
    from cni_cnm.model import IPAddress

_PORTS = struct.Struct("=HHHHBBBB")
"""struct xt_tcp: source ports, destination ports, option, flag mask, flag comparison, inversions."""
_UDP = struct.Struct("=HHHHB")
_CONNTRACK = struct.Struct("=128x8x2x8xHHHH")
_MULTIPORT = struct.Struct("=BB15H15BB")
_MARK = struct.Struct("=IIB")
_ADDRTYPE = struct.Struct("=HHI")
_STATES = {1: packets.INVALID, 2: packets.ESTABLISHED, 4: 4, 8: packets.NEW}
_XT_SNAT, _XT_DNAT, _XT_UNTRACKED = 64, 128, 256
_STATE_ALONE = 1
_SET_MARK_BITS = struct.Struct("=II")
_NOTHING = frozenset(
    (
        "LOG", "NFLOG", "TCPMSS", "CLASSIFY", "TRACE", "AUDIT", "CHECKSUM", "DSCP", "TOS", "TTL", "HL", "SET",
        "IDLETIMER", "SECMARK", "CONNSECMARK", "TEE", "LED", "RATEEST", "HMARK",
    )
)  # fmt: skip


def match(one: Match, at: At, packet: Packet) -> tuple[bool | None, str]:
    """Whether it holds, None where that is not known; and words for people."""
    known = _MATCHES.get(one.name)
    if known is None:
        return None, one.name
    try:
        return known(one, at, packet)
    except (struct.error, ValueError):
        return None, one.name


def target(one: Target, packet: Packet, before: tuple[str, str]) -> tuple[tuple[str, str], Packet, str]:
    """Verdict, packet and words."""
    if before[0] != "continue":
        return before, packet, ""
    if one.name == "REJECT":
        return ("drop", ""), packet, "reject"
    if one.name in ("DNAT", "SNAT") or one.name == "REDIRECT":
        return _translated(one, packet)
    if one.name == "MASQUERADE":
        return ("masquerade", ""), packet._replace(status=packet.status | packets.SRC_NAT), "masquerade"
    if one.name == "MARK" and one.revision == 2 and len(one.info) >= _SET_MARK_BITS.size:
        mark, mask = _SET_MARK_BITS.unpack_from(one.info)
        value = packet.mark & ~mask ^ mark
        return before, packet._replace(mark=value), f"mark set {value:#x}"
    if one.name == "NOTRACK" or (one.name == "CT" and one.info[:2] == b"\x01\x00"):
        return before, packet._replace(state=packets.UNTRACKED), "notrack"
    if one.name in _NOTHING or one.name in ("CT", "CONNMARK"):
        return before, packet, one.name
    return ("unknown", f"the target {one.name} of iptables"), packet, one.name


def _translated(one: Target, packet: Packet) -> tuple[tuple[str, str], Packet, str]:
    """struct nf_nat_range2, or nf_nat_ipv4_multi_range_compat of revision 0: addresses and ports."""
    if one.name == "REDIRECT" or one.revision == 0:
        flags, first, _, port, _ = struct.unpack_from("=4xI4s4s2s2s", one.info)
        address: IPAddress | None = ip_address(first) if flags & 1 else None
    else:
        flags = int.from_bytes(one.info[:4], "little")
        packed = one.info[4:20]
        address = ip_address(packed[: 4 if packet.version == 4 else 16]) if flags & 1 else None
        port = one.info[36:38]
    number = int.from_bytes(port, "big") if flags & 2 else 0
    words = f"{one.name.lower()} to {address or ''}{f':{number}' if number else ''}"
    if one.name == "SNAT":
        changed = packet._replace(src=address or packet.src, status=packet.status | packets.SRC_NAT)
        return ("accept", ""), changed, words
    status = packet.status | packets.DST_NAT
    changed = packet._replace(dst=address or packet.dst, dport=number or packet.dport, status=status)
    return ("accept" if one.name == "DNAT" else "redirect", ""), changed, words


def _tcp(one: Match, _: At, packet: Packet) -> tuple[bool | None, str]:
    if packet.protocol != packets.TCP:
        return False, "tcp"
    s0, s1, d0, d1, option, mask, wanted, inverted = _PORTS.unpack_from(one.info)
    words = ["tcp"]
    holds = _both(
        _in(packet.sport, s0, s1, inverted & 1, words, "sport"), _in(packet.dport, d0, d1, inverted & 2, words, "dport")
    )
    flags = 0x12 if packet.reply else 0x02
    flagged = ((flags & mask) == wanted) is not bool(inverted & 4)
    if option:
        return _both(holds, None), " ".join(words)
    return _both(holds, flagged), " ".join(words)


def _udp(one: Match, _: At, packet: Packet) -> tuple[bool | None, str]:
    if packet.protocol != packets.UDP:
        return False, "udp"
    s0, s1, d0, d1, inverted = _UDP.unpack_from(one.info)
    words = ["udp"]
    holds = _both(
        _in(packet.sport, s0, s1, inverted & 1, words, "sport"), _in(packet.dport, d0, d1, inverted & 2, words, "dport")
    )
    return holds, " ".join(words)


def _in(port: int, low: int, high: int, inverted: int, words: list[str], name: str) -> bool | None:
    if (low, high) == (0, 0xFFFF) and not inverted:
        return True
    words.append(f"{name} {'!= ' if inverted else ''}{low}{f'-{high}' if high != low else ''}")
    return None if not port else (low <= port <= high) is not bool(inverted)


def _both(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _multiport(one: Match, _: At, packet: Packet) -> tuple[bool | None, str]:
    kind, count, *rest = _MULTIPORT.unpack_from(one.info)
    ports, ranges, inverted = rest[:15], rest[15:30], rest[30]
    spans, at = [], 0
    while at < count:
        last = ports[at + 1] if ranges[at] else ports[at]
        spans.append((ports[at], last))
        at += 2 if ranges[at] else 1
    which = {0: (packet.sport,), 1: (packet.dport,), 2: (packet.sport, packet.dport)}[kind]
    words = f"multiport {','.join(f'{a}-{b}' if a != b else str(a) for a, b in spans)}"
    found = [None if not port else any(low <= port <= high for low, high in spans) for port in which]
    holds = True if True in found else None if None in found else False
    return (None if holds is None else holds is not bool(inverted)), words


def _conntrack(one: Match, at: At, packet: Packet) -> tuple[bool | None, str]:
    if one.revision != 3:
        return None, "conntrack"
    flags, inverted, states, _ = _CONNTRACK.unpack_from(one.info)
    if flags & ~_STATE_ALONE:
        return None, "conntrack"
    names = {1: "INVALID", 2: "ESTABLISHED", 4: "RELATED", 8: "NEW", 64: "SNAT", 128: "DNAT", 256: "UNTRACKED"}
    words = f"ctstate {'! ' if inverted else ''}{','.join(name for bit, name in names.items() if states & bit)}"
    if not at.tracked:
        there = packets.INVALID
    elif packet.state == packets.UNTRACKED:
        there = _XT_UNTRACKED
    else:
        there = packet.state
        there |= _XT_SNAT if packet.status & packets.SRC_NAT else 0
        there |= _XT_DNAT if packet.status & packets.DST_NAT else 0
    return bool(there & states) is not bool(inverted), words


def _state(one: Match, at: At, packet: Packet) -> tuple[bool | None, str]:
    (states,) = struct.unpack_from("=I", one.info)
    there = packets.INVALID if not at.tracked else packet.state
    return bool(there & states), "state"


def _mark(one: Match, _: At, packet: Packet) -> tuple[bool | None, str]:
    mark, mask, inverted = _MARK.unpack_from(one.info)
    return ((packet.mark & mask) == mark) is not bool(inverted), f"mark {mark:#x}/{mask:#x}"


def _connmark(one: Match, _: At, packet: Packet) -> tuple[bool | None, str]:
    mark, mask, inverted = _MARK.unpack_from(one.info)
    return ((packet.connection_mark & mask) == mark) is not bool(inverted), f"connmark {mark:#x}/{mask:#x}"


def _addrtype(one: Match, at: At, packet: Packet) -> tuple[bool | None, str]:
    """Revision 1. The type of an address is asked as `fib … type` is."""
    if one.revision != 1:
        return None, "addrtype"
    source, dest, flags = _ADDRTYPE.unpack_from(one.info)
    if flags & ~3:
        return None, "addrtype"  # limited to a link
    holds: bool | None = True
    for wanted, fib_flags, inverted in ((source, 1, flags & 1), (dest, 2, flags & 2)):
        if wanted:
            kind = at.fib(packet, 3, fib_flags)
            bit = 1 << int.from_bytes(kind, "little") if kind is not None else None
            holds = _both(holds, None if bit is None else bool(wanted & bit) is not bool(inverted))
    return holds, "addrtype"


def _always(one: Match, _: At, __: Packet) -> tuple[bool | None, str]:
    return True, "" if one.name == "comment" else one.name


def _mac(one: Match, _: At, packet: Packet) -> tuple[bool | None, str]:
    address, inverted = one.info[:6].hex(":"), one.info[8:12]
    if not packet.mac_src:
        return None, "mac"
    return (packet.mac_src == address) is not any(inverted), f"mac {address}"


_MATCHES: Mapping[str, Callable[[Match, At, Packet], tuple[bool | None, str]]] = {
    "comment": _always,
    "limit": _always,
    "hashlimit": lambda *_: (None, "hashlimit"),
    "tcp": _tcp,
    "udp": _udp,
    "multiport": _multiport,
    "conntrack": _conntrack,
    "state": _state,
    "mark": _mark,
    "connmark": _connmark,
    "addrtype": _addrtype,
    "mac": _mac,
}
