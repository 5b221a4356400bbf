"""Chains that are run on a packet: what is not known, iptables' structs, order of chains, and words. No kernel."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from sys import byteorder

import pytest

from cni_cnm.explain import rules, xt_matches
from cni_cnm.explain.at import At
from cni_cnm.explain.packet import ESTABLISHED, TCP, UDP, Packet
from cni_cnm.explain.rules import ACCEPT, BACK, DROP
from cni_cnm.kernel import Link
from cni_cnm.kernel.contract.ruleset import (
    Between,
    ChainRule,
    Compare,
    Constant,
    Expression,
    Found,
    HookChain,
    Load,
    Lookup,
    Mask,
    Match,
    Nat,
    Statement,
    Unknown,
    Verdict,
)
from cni_cnm.model import ip_address

TABLE = "inet t"
PACKET = Packet(ip_address("10.1.0.2"), ip_address("10.2.0.2"), TCP, 45000, 80)
AT = At("inet", 2, Link(3, "br1", "bridge"), Link(4, "br2", "bridge"))
SADDR, DPORT = Load(1, "payload", 1, 12, 4), Load(1, "payload", 2, 2, 2)
IIFNAME, STATE, UNKNOWN_LOAD = Load(1, "meta", 6), Load(1, "ct", 0), Load(1, "numgen")


Chains = Mapping[str, Sequence[Sequence[Expression]]]


class Rules:
    """A `Ruleset` of one table."""

    def __init__(self, chains: Chains, sets: Mapping[str, set[bytes]] | None = None) -> None:
        self.chains, self.sets = chains, sets or {}

    def base_chains(self) -> Sequence[HookChain]:
        return ()

    def tables(self) -> Mapping[str, bool]:
        return {TABLE: False}

    def rules(self, family: str, table: str, chain: str) -> Sequence[ChainRule]:
        return [ChainRule(number, "", one) for number, one in enumerate(self.chains[chain], 1)]

    def find(self, family: str, table: str, name: str, key: bytes) -> Found | None:
        return Found("id podnet", b"", None) if key in self.sets[name] else None

    def may_have(self, family: str, table: str, name: str, key: Sequence[int | None]) -> bool:
        return True

    def length(self, family: str, table: str, name: str) -> int:
        return len(next(iter(self.sets[name])))


def ends(*chain: Sequence[Expression], packet: Packet = PACKET, **others: Sequence[Sequence[Expression]]) -> list[str]:
    return [end.verdict for end in rules.run(Rules({"c": chain, **others}), AT, TABLE, "c", packet)]


def test_conditions_decide_in_order() -> None:
    """A rule whose condition does not hold is passed over, and the next one decides."""
    other = Compare(1, "==", ip_address("10.9.9.9").packed)
    mine = Compare(1, "==", ip_address("10.1.0.2").packed)
    assert ends([SADDR, other, Verdict("drop")], [SADDR, mine, Verdict("accept")]) == [ACCEPT]
    assert ends([SADDR, other, Verdict("drop")]) == [BACK]


def test_what_is_not_known_has_two_ends() -> None:
    """Both are followed; where they are the same, that is known again."""
    doubtful: list[Expression] = [UNKNOWN_LOAD, Compare(1, "==", bytes(4))]
    assert sorted(ends([*doubtful, Verdict("drop")])) == [BACK, DROP]
    assert ends([*doubtful, Verdict("drop")], [Verdict("drop")]) == [DROP]
    assert ends([*doubtful, Statement("log")]) == [BACK], "a rule that only counts or logs decides nothing"


@pytest.mark.parametrize(
    ("verdict", "inner", "expected"),
    [
        ("jump", [Verdict("return")], [ACCEPT]),
        ("jump", [Verdict("drop")], [DROP]),
        ("goto", [Verdict("return")], [BACK]),
        ("goto", [], [BACK]),
    ],
)
def test_other_chains(verdict: str, inner: Sequence[Expression], expected: list[str]) -> None:
    """A jump comes back to the next rule, a goto to the caller."""
    assert ends([Verdict(verdict, "inner")], [Verdict("accept")], inner=[inner]) == expected


def test_an_expression_that_is_not_understood() -> None:
    """It may do anything, so it is an end of its own."""
    assert ends([Unknown("synproxy")], [Verdict("accept")]) == ["unknown"]
    elsewhere: list[Expression] = [IIFNAME, Compare(1, "==", b"lo".ljust(16, b"\0")), Unknown("synproxy")]
    assert ends(elsewhere, [Verdict("accept")]) == [ACCEPT]


def test_registers_are_as_the_kernel_has_them() -> None:
    """A concatenation is in registers of four bytes that follow each other, and a mask works on them."""
    key = b"br1".ljust(16, b"\0") + ip_address("10.1.0.2").packed
    chain: list[Expression] = [Load(8, "meta", 6), Load(12, "payload", 1, 12, 4)]
    chain += [Lookup(8, "pairs", negated=False, to=-1), Verdict("drop")]
    found = rules.run(Rules({"c": [chain]}, {"pairs": {key}}), AT, TABLE, "c", PACKET)
    assert [end.verdict for end in found] == [DROP]
    assert found[0].hits[0].comments == ("id podnet",)
    assert found[0].hits[0].text == "iifname . ip saddr @pairs drop"
    masked: list[Expression] = [
        STATE,
        Mask(1, 1, (ESTABLISHED | 4).to_bytes(4, byteorder), bytes(4)),
        Compare(1, "!=", bytes(4)),
    ]
    assert ends([*masked, Verdict("accept")]) == [BACK]
    assert ends([*masked, Verdict("accept")], packet=PACKET._replace(state=ESTABLISHED)) == [ACCEPT]


def test_ranges_of_ports() -> None:
    """Compared as the bytes of the packet."""
    inside: list[Expression] = [
        DPORT,
        Between(1, (79).to_bytes(2, "big"), (81).to_bytes(2, "big"), negated=False),
        Verdict("drop"),
    ]
    assert ends(inside) == [DROP]
    assert ends(inside, packet=PACKET._replace(dport=82)) == [BACK]


def test_a_translation_changes_the_packet_that_goes_on() -> None:
    """DNAT ends the chain, with the new destination and the status that later rules look at."""
    address = Constant(1, ip_address("10.1.0.9").packed)
    port = Constant(9, (8080).to_bytes(2, "big"))
    (end,) = rules.run(Rules({"c": [[address, port, Nat("dnat", 2, 1, 9)]]}), AT, TABLE, "c", PACKET)
    assert (end.verdict, str(end.packet.dst), end.packet.dport) == (ACCEPT, "10.1.0.9", 8080)
    assert end.packet.status


def conntrack(states: int, inverted: int = 0) -> Match:
    return Match("conntrack", 3, struct.pack("=128x8x2x8xHHHH8x", 1, inverted, states, 0))


TCP_80 = struct.pack("=HHHHBBBB", 0, 0xFFFF, 80, 80, 0, 0, 0, 0)
MULTIPORT = struct.pack("=BB15H15BB", 1, 3, 53, 79, 81, *[0] * 12, 0, 1, 0, *[0] * 12, 0)


@pytest.mark.parametrize(
    ("match", "packet", "holds"),
    [
        (Match("tcp", 0, TCP_80), PACKET, True),
        (Match("tcp", 0, TCP_80), PACKET._replace(dport=81), False),
        (Match("tcp", 0, TCP_80), PACKET._replace(protocol=UDP), False),
        (Match("multiport", 1, MULTIPORT), PACKET, True),
        (Match("multiport", 1, MULTIPORT), PACKET._replace(dport=82), False),
        (conntrack(8), PACKET, True),
        (conntrack(6), PACKET, False),
        (conntrack(8, inverted=1), PACKET, False),
        (conntrack(128), PACKET._replace(status=0x20), True),
        (Match("mark", 1, struct.pack("=IIB", 0x10, 0xF0, 0)), PACKET._replace(mark=0x13), True),
        (Match("mark", 1, struct.pack("=IIB", 0x10, 0xF0, 1)), PACKET._replace(mark=0x13), False),
        (Match("comment", 0, b"words"), PACKET, True),
        (Match("set", 4, bytes(48)), PACKET, None),
        (Match("tcp", 0, b""), PACKET, None),
    ],
)
def test_matches_of_iptables(match: Match, packet: Packet, holds: bool | None) -> None:
    """By their structs; what is not known, or is too short, is neither true nor false."""
    assert xt_matches.match(match, AT, packet)[0] is holds
