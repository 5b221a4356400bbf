"""What a rule of nf_tables says, read from the kernel's expressions: those of native rules and those of iptables.

iptables-nft-save is not asked: of what it does not know (a set, an Ethernet address) it leaves out the condition, or
the whole table, and exits with 0.
"""

from __future__ import annotations

import struct
import sys

from cni_cnm.kernel.contract import filter_rules as rules
from cni_cnm.kernel.contract.filter_rules import Condition, FilterRule
from cni_cnm.kernel.netlink.nlattr import each, number, places, raw, text
from cni_cnm.kernel.nftables import nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cni_cnm.kernel.netlink.nlattr import Places

_HANDLE, _EXPRESSIONS, _USERDATA = 3, 4, 7
_NAME, _DATA = 1, 2
_VERDICT, _CODE, _CHAIN, _VALUE = 2, 1, 2, 1
_CODES = {0: rules.DROP, 1: rules.ACCEPT, -1: rules.NONE, -3: rules.JUMP, -4: rules.GOTO, -5: rules.RETURN}
_META = {6: rules.INPUT, 7: rules.OUTPUT, 15: rules.FAMILY, 16: rules.PROTOCOL}
_TRANSPORT_HEADER, _PORT_OFFSET, _PORT_BYTES = 2, 2, 2
_FAMILIES = {b"\x02": "ip", b"\x0a": "ip6"}
_EQUAL, _NOT_EQUAL = 0, 1
_IFNAME_BYTES = 16
_STATE_BITS = {1: "INVALID", 2: "ESTABLISHED", 4: "RELATED", 8: "NEW", 64: "UNTRACKED"}
"""NF_CT_STATE_BIT, by which nf_tables compares."""
_XT_STATE_BITS = _STATE_BITS | {64: "SNAT", 128: "DNAT", 256: "UNTRACKED"}
"""XT_CONNTRACK_STATE_BIT and its friends, by which iptables compares."""
_ALL = 0xFFFFFFFF

_LOADS = frozenset(("exthdr", "fib", "rt", "socket", "numgen", "hash", "xfrm", "osf", "tunnel", "inner", "byteorder"))
_DESTINATIONS = {"exthdr": 1, "fib": 1, "rt": 1, "socket": 2, "hash": 2, "byteorder": 2}
"""Which attribute of a load names the register; 1 for all others."""
_TESTS = frozenset(("range", "limit", "quota", "connlimit", "dynset"))
_STATEMENTS = frozenset(("counter", "log", "objref", "notrack", "dup", "last", "flow_offload", "nat", "masq", "redir"))
_TARGETS = {"REJECT": rules.DROP} | dict.fromkeys(
    (
        "LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CT", "CLASSIFY", "TRACE", "AUDIT", "CHECKSUM", "DSCP", "TOS",
        "TTL", "HL", "SET", "IDLETIMER", "NOTRACK", "SECMARK", "CONNSECMARK", "TEE", "LED", "RATEEST", "HMARK",
    ),
    rules.NONE,
)  # fmt: skip
"""Of iptables: all others may drop (NFQUEUE, SYNPROXY, TARPIT)."""
XT_CONNTRACK = struct.Struct("=128x8x2x8xHHHH8x")
"""struct xt_conntrack_mtinfo3: match_flags, invert_flags, state_mask, status_mask; padded to a multiple of 8 bytes."""
XT_CONNTRACK_STATE = 1


def read(data: bytes, begin: int, end: int) -> FilterRule:
    """The rule of an NFT_MSG_NEWRULE, whose attributes stand between the two places."""
    found = places(data, begin, end)
    reader = _Reader(nfnetlink.comment(raw(data, found.get(_USERDATA))))
    for name, fields in _each(data, *found.get(_EXPRESSIONS, (0, 0))):
        reader.take(name, data, fields)
    return reader.rule(number(data, found.get(_HANDLE), "big"))


def xt_state_mask(states: tuple[str, ...]) -> int:
    """For `XT_CONNTRACK`."""
    return sum(bit for bit, name in _XT_STATE_BITS.items() if name in states)


def _each(data: bytes, begin: int, end: int) -> Iterator[tuple[str, Places]]:
    """Name and attributes of each expression, in order."""
    for _, first, last in each(data, begin, end):
        found = places(data, first, last)
        yield text(data, found.get(_NAME)), places(data, *found.get(_DATA, (0, 0)))


class _Reader:
    """Follows the registers of one rule: what each holds, and by which bits it was masked."""

    def __init__(self, comment: str) -> None:
        self._comment = comment
        self._conditions: list[Condition] = []
        self._registers: dict[int, tuple[str, int]] = {}
        self._verdict, self._chain = rules.NONE, ""

    def rule(self, handle: int) -> FilterRule:
        return FilterRule(self._verdict, tuple(self._conditions), self._chain, self._comment, handle)

    def take(self, name: str, data: bytes, fields: Places) -> None:
        known = _KNOWN.get(name)
        if known is not None:
            known(self, data, fields)
        elif name in _LOADS:
            self._load(data, fields.get(_DESTINATIONS.get(name, 1)), rules.OTHER)
        elif name in _TESTS:
            self._conditions.append(Condition(rules.OTHER))
        elif name == "reject":
            self._decide(rules.DROP)
        elif name not in _STATEMENTS:  # queue, synproxy, tproxy, fwd, and what is newer than this list
            self._decide(rules.UNKNOWN)

    def _decide(self, verdict: str, chain: str = "") -> None:
        if self._verdict == rules.NONE:
            self._verdict, self._chain = verdict, chain

    def _load(self, data: bytes, register: tuple[int, int] | None, field: str, mask: int = _ALL) -> None:
        if register is not None:  # else it writes to the packet
            self._registers[number(data, register, "big")] = field, mask

    def immediate(self, data: bytes, fields: Places) -> None:
        """Into register 0 a verdict; into another one what a later expression takes."""
        verdict = _inside(data, _inside(data, fields.get(2)).get(_VERDICT))
        if _CODE in verdict:
            code = int.from_bytes(raw(data, verdict[_CODE]), "big", signed=True)
            self._decide(_CODES.get(code, rules.UNKNOWN), text(data, verdict.get(_CHAIN)))

    def meta(self, data: bytes, fields: Places) -> None:
        self._load(data, fields.get(1), _META.get(number(data, fields.get(2), "big"), rules.OTHER))

    def payload(self, data: bytes, fields: Places) -> None:
        """A load has a register; what has none writes to the packet."""
        base, offset, size = (number(data, fields.get(kind), "big") for kind in (2, 3, 4))
        port = (base, offset, size) == (_TRANSPORT_HEADER, _PORT_OFFSET, _PORT_BYTES)
        self._load(data, fields.get(1), rules.PORT if port else rules.OTHER)

    def ct(self, data: bytes, fields: Places) -> None:
        state = number(data, fields.get(2), "big") == 0
        self._load(data, fields.get(1), rules.STATE if state else rules.OTHER)

    def bitwise(self, data: bytes, fields: Places) -> None:
        field, _ = self._held(data, fields.get(1))
        mask, flipped = (raw(data, _inside(data, fields.get(kind)).get(_VALUE)) for kind in (4, 5))
        if field == rules.STATE and len(mask) == 4 and not any(flipped):
            self._load(data, fields.get(2), field, int.from_bytes(mask, sys.byteorder))
        else:
            self._load(data, fields.get(2), rules.OTHER)

    def cmp(self, data: bytes, fields: Places) -> None:
        (field, mask), operator = self._held(data, fields.get(1)), number(data, fields.get(2), "big")
        value = raw(data, _inside(data, fields.get(3)).get(_VALUE))
        condition = _compared(field, mask, value, operator == _NOT_EQUAL)
        known = condition is not None and operator in (_EQUAL, _NOT_EQUAL)
        self._conditions.append(condition if condition and known else Condition(rules.OTHER))

    def lookup(self, data: bytes, fields: Places) -> None:
        """In a set: a condition. In a map to verdicts each key has its own."""
        self._conditions.append(Condition(rules.OTHER))
        if 3 in fields and not number(data, fields[3], "big"):
            self._decide(rules.UNKNOWN)
        else:
            self._load(data, fields.get(3), rules.OTHER)

    def match(self, data: bytes, fields: Places) -> None:
        """Of iptables: its name, its revision, and its own struct."""
        name, revision, info = text(data, fields.get(1)), number(data, fields.get(2), "big"), raw(data, fields.get(3))
        if name == "comment":
            self._comment = info.partition(b"\0")[0].decode(errors="replace")
        elif name == "conntrack" and revision == 3 and len(info) >= XT_CONNTRACK.size:
            flags, inverted, states, _ = XT_CONNTRACK.unpack_from(info)
            values = _named(states, _XT_STATE_BITS)
            plain = flags == XT_CONNTRACK_STATE and values
            self._conditions.append(Condition(rules.STATE, values, bool(inverted)) if plain else Condition(rules.OTHER))
        else:
            self._conditions.append(Condition(rules.OTHER))

    def target(self, data: bytes, fields: Places) -> None:
        """Of iptables, where it is more than a verdict."""
        self._decide(_TARGETS.get(text(data, fields.get(1)), rules.UNKNOWN))

    def _held(self, data: bytes, register: tuple[int, int] | None) -> tuple[str, int]:
        return self._registers.get(number(data, register, "big"), (rules.OTHER, 0))


_KNOWN: Mapping[str, Callable[[_Reader, bytes, Places], None]] = {
    "immediate": _Reader.immediate,
    "meta": _Reader.meta,
    "payload": _Reader.payload,
    "ct": _Reader.ct,
    "bitwise": _Reader.bitwise,
    "cmp": _Reader.cmp,
    "lookup": _Reader.lookup,
    "match": _Reader.match,
    "target": _Reader.target,
}


def _inside(data: bytes, place: tuple[int, int] | None) -> Places:
    return places(data, *place) if place is not None else {}


def _compared(field: str, mask: int, value: bytes, negated: bool) -> Condition | None:
    """That what a register holds is (or is not) the value; None for what is not understood."""
    if field in (rules.INPUT, rules.OUTPUT):
        name, ends, _ = value.partition(b"\0")
        whole = ends or len(value) == _IFNAME_BYTES
        if whole and name.endswith(b"+"):
            return None  # a link of that name, which a condition would have as a pattern
        return Condition(field, (f"{name.decode(errors='surrogateescape')}{'' if whole else '+'}",), negated)
    if field == rules.FAMILY and value in _FAMILIES:
        return Condition(field, (_FAMILIES[value],), negated)
    if field in (rules.PROTOCOL, rules.PORT):
        return Condition(field, (str(int.from_bytes(value, "big")),), negated)
    if field == rules.STATE and len(value) == 4:
        bits = int.from_bytes(value, sys.byteorder)
        whole = mask == _ALL
        values = _named(bits if whole else mask, _STATE_BITS)
        if values and (whole or not bits):  # masked and not zero: any of these
            return Condition(field, values, negated if whole else not negated)
    return None


def _named(mask: int, bits: Mapping[int, str]) -> tuple[str, ...]:
    """Empty if there is a bit without a name."""
    if mask & ~sum(bits):
        return ()
    found = {name for bit, name in bits.items() if mask & bit}
    return tuple(name for name in rules.STATES if name in found)
