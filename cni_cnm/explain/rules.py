"""Runs a chain of nf_tables on a packet, as the kernel does: registers, sets, verdicts.

A condition on something that is not known has three values. Where it decides, both ways are followed, and a chain then
has more than one end.
"""

from __future__ import annotations

from sys import byteorder

from cni_cnm.explain import fields, rule_words, xt_matches
from cni_cnm.explain import packet as packets
from cni_cnm.explain.at import At
from cni_cnm.explain.fields import Unreadable
from cni_cnm.explain.packet import UNTRACKED, Packet
from cni_cnm.kernel.contract import ruleset
from cni_cnm.model import ip_address
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.kernel.contract.ruleset import ChainRule, Expression, Ruleset
    from cni_cnm.model import IPAddress

ACCEPT, DROP, BACK = "accept", "drop", "back"
_REGISTER_BYTES = 4
_LARGE_REGISTERS, _FIRST_SMALL = 4, 8
"""NFT_REG_1 to 4 have 16 bytes each, NFT_REG32_00 (8) and later ones 4 of the same bytes."""
_ENDS_MAX = 64


class Hit(NamedTuple):
    """A rule that matched, and decided or changed something."""

    table: str
    chain: str
    handle: int
    text: str
    verdict: str
    comments: tuple[str, ...] = ()
    """Of elements that were found in sets."""
    counter: str = ""
    """The named counter of the rule."""


class End(NamedTuple):
    """How the packet may leave a chain."""

    verdict: str
    """ACCEPT, DROP, BACK, or a word for what is not known."""
    packet: Packet
    hits: tuple[Hit, ...] = ()
    doubts: tuple[str, ...] = ()
    """What is not known, and decided that it is this way."""


class _Registers:
    """64 bytes, and what each register was loaded with, for people."""

    def __init__(self) -> None:
        self.bytes: list[int | None] = [None] * 64
        self.names: dict[int, str] = {}

    def put(self, register: int, value: Sequence[int | None], name: str) -> None:
        start = _place(register)
        self.names = {at: old for at, old in self.names.items() if not start <= at < start + len(value)}
        padded = [*value, *[0] * (-len(value) % _REGISTER_BYTES)]
        self.bytes[start : start + len(padded)] = padded
        self.names[start] = name

    def get(self, register: int, length: int) -> list[int | None]:
        start = _place(register)
        return self.bytes[start : start + length]

    def name(self, register: int, length: int = 1) -> str:
        start = _place(register)
        names = [self.names[at] for at in sorted(self.names) if start <= at < start + length]
        return " . ".join(names) or "?"


def _place(register: int) -> int:
    if register >= _FIRST_SMALL:
        return (register - _FIRST_SMALL) * 4
    return (register - 1) * 16


def run(ruleset: Ruleset, at: At, table: str, chain: str, packet: Packet, depth: int = 0) -> list[End]:
    """The ways in which a packet may leave a chain of `table` (FAMILY TABLE)."""
    family, name = table.split(" ")
    open_ends = [End(BACK, packet)]
    ends: list[End] = []
    for rule in ruleset.rules(family, name, chain) if depth < 16 else ():
        going: list[End] = []
        for end in open_ends:
            finished, going_on = _rule(ruleset, at, table, chain, rule, end, depth)
            ends += finished
            going += going_on
        open_ends = _distinct(going)
        if not open_ends or len(ends) > _ENDS_MAX:
            break
    return _distinct([*ends, *open_ends])


def described(ruleset: Ruleset, table: str, chain: str, handle: int, packet: Packet) -> str:
    """A rule for people, by its handle, as it reads for this packet."""
    family, name = table.split(" ")
    rule = next((one for one in ruleset.rules(family, name, chain) if one.handle == handle), None)
    if rule is None:
        return f"the rule with handle {handle}"
    reader = _Reader(ruleset, At(family, 0), table, packet)
    for expression in rule.expressions:
        try:
            reader.take(expression)
        except Unreadable:
            continue
    return reader.text() or reader.said


def _distinct(ends: Sequence[End]) -> list[End]:
    """Without those that differ in what led there alone."""
    return list({(end.verdict, end.packet): end for end in reversed(ends)}.values())[::-1]


def _rule(
    ruleset: Ruleset, at: At, table: str, chain: str, rule: ChainRule, end: End, depth: int
) -> tuple[list[End], list[End]]:
    """Ends of the chain, and ways on to its next rule."""
    reader = _Reader(ruleset, at, table, end.packet)
    for expression in rule.expressions:
        try:
            reader.take(expression)
        except Unreadable:
            reader.matches = False
        if reader.matches is False:
            return [], [end]
    doubts = tuple(reader.doubts)
    hit = Hit(table, chain, rule.handle, reader.text(), reader.said, tuple(reader.comments), reader.counter)
    verdict, target = reader.verdict
    changed = reader.packet != end.packet
    if verdict == "continue" and not changed:
        return [], [end]
    matched = End(BACK, reader.packet, (*end.hits, hit), (*end.doubts, *doubts))
    passed = [end._replace(doubts=(*end.doubts, *doubts))] if doubts else []
    if verdict == "continue":
        return [], [matched, *passed]
    if verdict in ("jump", "goto"):
        inner = run(ruleset, at, table, target, matched.packet, depth + 1)
        joined = [one._replace(hits=(*matched.hits, *one.hits), doubts=(*matched.doubts, *one.doubts)) for one in inner]
        left = [one for one in joined if one.verdict != BACK]
        back = [one for one in joined if one.verdict == BACK]
        if verdict == "goto":
            return [*left, *back], passed
        return left, [*(_plain(one, end) for one in back), *passed]
    return [matched._replace(verdict=BACK if verdict == "return" else verdict)], passed


def _plain(one: End, before: End) -> End:
    """A jump that came back and changed nothing is not told."""
    return one._replace(hits=before.hits) if one.packet == before.packet else one


class _Reader:
    """Takes the expressions of one rule in order."""

    def __init__(self, ruleset: Ruleset, at: At, table: str, packet: Packet) -> None:
        self._ruleset, self._at, self._table = ruleset, at, table
        self.packet = packet
        self.matches: bool | None = True
        self.doubts: list[str] = []
        self.comments: list[str] = []
        self.counter = ""
        self.verdict: tuple[str, str] = ("continue", "")
        self._registers = _Registers()
        self._words: list[str] = []

    @property
    def said(self) -> str:
        code, chain = self.verdict
        return f"{code} {chain}".strip()

    def text(self) -> str:
        return " ".join(self._words)

    def take(self, expression: Expression) -> None:
        match expression:
            case ruleset.Load():
                self.load(expression)
            case ruleset.Constant():
                self.constant(expression)
            case ruleset.Mask():
                self.mask(expression)
            case ruleset.Swap():
                self.swap(expression)
            case ruleset.Compare():
                self.compare(expression)
            case ruleset.Between():
                self.between(expression)
            case ruleset.Lookup():
                self.lookup(expression)
            case ruleset.Verdict():
                self.decide(expression)
            case ruleset.Store():
                self.store(expression)
            case ruleset.Nat():
                self.nat(expression)
            case ruleset.Match():
                self.match(expression)
            case ruleset.Target():
                self.target(expression)
            case ruleset.Limit():
                self.limit(expression)
            case ruleset.Statement():
                self.statement(expression)
            case ruleset.Unknown():
                self.unknown(expression)

    def _condition(self, holds: bool | None, words: str, doubt: str = "") -> None:
        if holds is None:
            self.doubts.append(doubt or words)
        elif not holds:
            self.matches = False
        self._words.append(words)

    # loads -------------------------------------------------------------------
    def load(self, one: ruleset.Load) -> None:
        name = fields.name_of(one, self.packet.version)
        self._registers.put(one.to, [None] * max(one.length, 16), name)
        value = fields.value_of(one, self._at, self.packet)
        if value is not None:
            self._registers.put(one.to, value, name)

    def constant(self, one: ruleset.Constant) -> None:
        self._registers.put(one.to, list(one.value), rule_words.shown(one.value))

    def mask(self, one: ruleset.Mask) -> None:
        held = self._registers.get(one.register, len(one.mask))
        value = [
            flip if not bits else None if byte is None else byte & bits ^ flip
            for byte, bits, flip in zip(held, one.mask, one.flip, strict=True)
        ]
        self._registers.put(one.to, value, rule_words.masked(self._registers.name(one.register), one.mask))

    def swap(self, one: ruleset.Swap) -> None:
        held = self._registers.get(one.register, one.length)
        if byteorder == "little" and one.size > 1:
            numbers = [held[at : at + one.size][::-1] for at in range(0, one.length, one.size)]
            held = [byte for number in numbers for byte in number]
        self._registers.put(one.to, held, self._registers.name(one.register))

    # conditions --------------------------------------------------------------
    def compare(self, one: ruleset.Compare) -> None:
        held = self._registers.get(one.register, len(one.value))
        name = self._registers.name(one.register, len(one.value))
        self._condition(_compared(held, one.operator, one.value), rule_words.compared(name, one.operator, one.value))

    def between(self, one: ruleset.Between) -> None:
        held = self._registers.get(one.register, len(one.low))
        known = _known(held)
        holds = None if known is None else (one.low <= known <= one.high) is not one.negated
        name = self._registers.name(one.register)
        words = (
            f"{name} {'!= ' if one.negated else ''}{rule_words.named(name, one.low)}-{rule_words.named(name, one.high)}"
        )
        self._condition(holds, words)

    def lookup(self, one: ruleset.Lookup) -> None:
        family, table = self._table.split(" ")
        length = self._ruleset.length(family, table, one.set)
        held = self._registers.get(one.register, length)
        name = self._registers.name(one.register, length)
        operator = "!= " if one.negated else "vmap " if one.to == 0 else "map " if one.to > 0 else ""
        label = "{…}" if one.set.startswith("__") else f"@{one.set}"
        words = f"{name} {operator}{label}"
        key = _known(held)
        if key is None and not self._ruleset.may_have(family, table, one.set, held):
            self._condition(one.negated, words)
            return
        if key is None:
            self._condition(None, words)
            if one.to == 0:
                self.verdict = ("unknown", "")
            return
        try:
            found = self._ruleset.find(family, table, one.set, key)
        except LookupError as error:
            self._condition(None, words, str(error))
            return
        self._condition((found is not None) is not one.negated, words)
        if found is not None and found.comment and not one.negated:
            self.comments.append(found.comment)
        if found is None or self.matches is False:
            return
        if one.to == 0 and found.verdict is not None:
            self.verdict = (found.verdict.code, found.verdict.chain)
        elif one.to > 0:
            self._registers.put(one.to, list(found.data), label)

    def match(self, one: ruleset.Match) -> None:
        holds, words = xt_matches.match(one, self._at, self.packet)
        self._condition(holds, words, f"the match {one.name} of iptables")

    def limit(self, one: ruleset.Limit) -> None:
        """A single packet is taken to be within the limit."""
        self._condition(not one.over, "limit")

    # what is done --------------------------------------------------------------
    def decide(self, one: ruleset.Verdict) -> None:
        if self.verdict[0] in ("continue", "unknown"):
            self.verdict = (DROP if one.code == "reject" else one.code, one.chain)
        self._words.append(f"{one.code} {one.chain}".strip())

    def store(self, one: ruleset.Store) -> None:
        value = _known(self._registers.get(one.register, 4))
        number = int.from_bytes(value, byteorder) if value is not None else None
        if one.key == 3:
            name = f"{one.target} mark"
            if number is None:
                self.doubts.append(f"which {name} a rule sets")
            elif one.target == "meta":
                self.packet = self.packet._replace(mark=number)
            else:
                self.packet = self.packet._replace(connection_mark=number)
            self._words.append(f"{name} set" if number is None else f"{name} set {number:#x}")

    def nat(self, one: ruleset.Nat) -> None:
        """The rule ends the chain: the kernel has chosen the addresses."""
        length = 4 if self.packet.version == 4 else 16
        address = self._address(one, length)
        port_value = _known(self._registers.get(one.port, 2)) if one.port >= 0 else b""
        self._words.append(f"{one.kind}{f' to {address}' if address else ''}")
        if one.family and one.family != (2 if self.packet.version == 4 else 10):
            self.matches = False
            return
        port = int.from_bytes(port_value, "big") if port_value else 0
        if one.kind in ("dnat", "redirect"):
            status = self.packet.status | packets.DST_NAT
            dst = address or self.packet.dst
            self.packet = self.packet._replace(dst=dst, dport=port or self.packet.dport, status=status)
            self.verdict = (ACCEPT, "") if one.kind == "dnat" else ("redirect", "")
        else:
            status = self.packet.status | packets.SRC_NAT
            src = address or self.packet.src
            self.packet = self.packet._replace(src=src, status=status)
            self.verdict = (ACCEPT, "") if one.kind == "snat" else ("masquerade", "")

    def _address(self, one: ruleset.Nat, length: int) -> IPAddress | None:
        if one.address < 0:
            return None
        value = _known(self._registers.get(one.address, length))
        if value is None:
            self.doubts.append("to which address a rule translates")
            return None
        return ip_address(value)

    def target(self, one: ruleset.Target) -> None:
        self.verdict, self.packet, words = xt_matches.target(one, self.packet, self.verdict)
        self._words.append(words)

    def statement(self, one: ruleset.Statement) -> None:
        self.counter = one.object or self.counter
        if one.name == "notrack":
            self.packet = self.packet._replace(state=UNTRACKED)
            self._words.append("notrack")

    def unknown(self, one: ruleset.Unknown) -> None:
        self._words.append(one.name)
        if self.verdict[0] == "continue":
            self.verdict = ("unknown", f"the expression {one.name}")


def _known(value: Sequence[int | None]) -> bytes | None:
    return None if None in value else bytes(byte for byte in value if byte is not None)


def _compared(held: Sequence[int | None], operator: str, value: bytes) -> bool | None:
    """As memcmp of the kernel. A byte that differs decides, also where others are not known."""
    known = _known(held)
    if known is None:
        differs = any(byte is not None and byte != other for byte, other in zip(held, value, strict=False))
        if differs and operator in ("==", "!="):
            return operator == "!="
        return None
    outcomes = {
        "==": known == value,
        "!=": known != value,
        "<": known < value,
        "<=": known <= value,
        ">": known > value,
        ">=": known >= value,
    }
    return outcomes[operator]
