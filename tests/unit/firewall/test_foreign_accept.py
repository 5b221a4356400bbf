"""Accepts in other programs' tables, whatever is there: packets are followed through a table before and after."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.firewall import Accepted, foreign_accept
from cni_cnm.kernel.contract import filter_rules as rules
from cni_cnm.kernel.contract.filter_rules import Condition, Edit, FilterRule, FilterTable

ID, OTHER_ID = "0123456789abcdef", "f" * 64
CHAINS = ("FORWARD", "one", "two", "ADMIN")


class Packet(NamedTuple):
    iif: str
    oif: str
    state: str
    other: bool
    """Whether it meets conditions on anything else."""


BRIDGES = ("br1", "br2", "eth0", "docker0")
PACKETS = [
    Packet(iif, oif, state, other)
    for iif in BRIDGES
    for oif in BRIDGES
    for state in ("NEW", "ESTABLISHED", "DNAT")
    for other in (True, False)
]


def meets(packet: Packet, condition: Condition) -> bool:
    if condition.field == rules.OTHER:
        return packet.other
    return (getattr(packet, condition.field) in condition.values) is not condition.negated


def follow(table: FilterTable, packet: Packet, chain: str = "FORWARD", *, base: bool = True) -> tuple[str, bool]:
    """How it ends in a chain, and whether no condition had a part in that; ("", …): it comes back.

    `base`: coming back means the policy.
    """
    default = True
    for rule in table.chains[chain]:
        if not all(meets(packet, one) for one in rule.conditions):
            continue
        always = not rule.conditions
        if rule.verdict in (rules.ACCEPT, rules.DROP):
            return rule.verdict, always
        if rule.verdict == rules.RETURN:
            default = always
            break
        if rule.verdict in (rules.JUMP, rules.GOTO):
            goto = rule.verdict == rules.GOTO
            end, by_default = follow(table, packet, rule.target, base=base and goto)
            if end:
                return end, by_default and always
            if goto:
                break
    return (rules.DROP, default) if base and table.drops else ("", True)


def applied(table: FilterTable, edits: list[Edit]) -> FilterTable:
    chains = {name: list(found) for name, found in table.chains.items()}
    fresh = 1000 + sum(rule.handle for found in chains.values() for rule in found)
    for edit in edits:
        there = chains[edit.chain]
        if edit.remove is not None:
            there.remove(edit.remove)
        elif edit.insert is not None:
            fresh += 1
            there.insert(there.index(edit.before) if edit.before else len(there), edit.insert._replace(handle=fresh))
    return table_of(chains, drops=table.drops)


def table_of(chains: dict[str, list[FilterRule]], *, drops: bool = False, family: str = "ip") -> FilterTable:
    ours = [(name, rule) for name, found in chains.items() for rule in found if rule.ours]
    return FilterTable(family, False, chains, ours, drops)


_CONDITIONS = st.sampled_from(
    [
        (),
        (),
        (Condition(rules.INPUT, ("eth0",)),),
        (Condition(rules.INPUT, ("docker0",)), Condition(rules.OUTPUT, ("docker0",), negated=True)),
        (Condition(rules.OTHER),),
        (Condition(rules.STATE, ("ESTABLISHED",)),),
    ]
)
_VERDICTS = st.sampled_from([rules.ACCEPT, rules.DROP, rules.RETURN, rules.NONE, rules.JUMP, rules.GOTO])
_RULE = st.builds(FilterRule, _VERDICTS, _CONDITIONS)
_RULES = st.lists(_RULE, max_size=5)
_POLICIES = st.booleans()


def build(forward: list[FilterRule], one: list[FilterRule], two: list[FilterRule], *, drops: bool) -> FilterTable:
    """Jumps lead from FORWARD to `one`, from there to `two`, and from there nowhere."""
    targets = {"FORWARD": "one", "one": "two", "two": "ADMIN"}
    chains: dict[str, list[FilterRule]] = {"ADMIN": []}
    handle = 0
    for name, found in (("FORWARD", forward), ("one", one), ("two", two)):
        chains[name] = []
        for rule in found:
            handle += 1
            target = targets[name] if rule.verdict in (rules.JUMP, rules.GOTO) else ""
            chains[name].append(rule._replace(handle=handle, target=target))
    return table_of(chains, drops=drops)


@given(_RULES, _RULES, _RULES, _POLICIES, st.booleans())
def test_no_default_takes_our_packets(
    forward: list[FilterRule], one: list[FilterRule], two: list[FilterRule], drops: bool, inbound: bool
) -> None:
    """What the network sends, its answers and published ports: dropped only where a rule's condition says so.

    All that others decide before, and all packets of others, end as they did.
    """
    before = build(forward, one, two, drops=drops)
    network = Accepted(ID, "br1", inbound=("ip",) if inbound else ())
    after = applied(before, foreign_accept.edits(before, [network]))
    everywhere = not foreign_accept.unsure(before)
    for packet in PACKETS:
        was, by_default = follow(before, packet)
        now, _ = follow(after, packet)
        ours = packet.iif == "br1" or (packet.oif == "br1" and (inbound or packet.state != "NEW"))
        if ours and was == rules.DROP and by_default:
            assert now == rules.ACCEPT or not everywhere, packet
        else:
            assert now == was, packet


@given(_RULES, _RULES, _RULES, _POLICIES)
def test_twice_is_as_once_and_all_is_taken_back(
    forward: list[FilterRule], one: list[FilterRule], two: list[FilterRule], drops: bool
) -> None:
    """With two networks, in any table; the administrator's chain included."""
    before = build(forward, one, two, drops=drops)
    networks = [Accepted(ID, "br1", "ADMIN"), Accepted(OTHER_ID, "br2")]
    once = applied(before, foreign_accept.edits(before, networks[:1]))
    assert foreign_accept.edits(once, networks[:1]) == []
    both = applied(once, foreign_accept.edits(once, networks))
    assert foreign_accept.edits(both, networks) == []
    assert not foreign_accept.lacks(both, networks[0])
    assert foreign_accept.edits(both, networks[:1]) == foreign_accept.withdraw(both, OTHER_ID)
    alone = applied(both, foreign_accept.withdraw(both, OTHER_ID))
    assert alone == once
    assert applied(alone, foreign_accept.edits(alone, [])) == before


@given(_RULES, _RULES, _RULES, _POLICIES)
def test_the_administrators_chain_comes_first(
    forward: list[FilterRule], one: list[FilterRule], two: list[FilterRule], drops: bool
) -> None:
    """Whatever FORWARD does: a chain that drops everything drops all of the network, and nothing else."""
    before = build(forward, one, two, drops=drops)
    refuses = FilterRule(rules.DROP, handle=999)
    before = table_of(
        {**{name: list(found) for name, found in before.chains.items()}, "REFUSE": [refuses]}, drops=drops
    )
    after = applied(before, foreign_accept.edits(before, [Accepted(ID, "br1", "REFUSE")]))
    for packet in PACKETS:
        if "br1" in (packet.iif, packet.oif):
            assert follow(after, packet)[0] == rules.DROP, packet
        else:
            assert follow(after, packet)[0] == follow(before, packet)[0], packet


def test_a_chain_that_others_lead_to() -> None:
    """An accept in a chain that logs and drops would lift the drop of every other rule that leads there."""
    log, drop = FilterRule(rules.NONE, handle=1), FilterRule(rules.DROP, handle=2)
    blocked = FilterRule(rules.JUMP, (Condition(rules.OTHER),), "one", handle=3)
    default = FilterRule(rules.JUMP, (), "one", handle=4)
    table = table_of({"FORWARD": [blocked, default], "one": [log, drop]})
    made = foreign_accept.edits(table, [Accepted(ID, "br1")])
    assert {(edit.chain, edit.before) for edit in made} == {("FORWARD", default)}
    assert foreign_accept.unsure(table) == []
    once = table_of({"FORWARD": [default], "one": [log, drop]})
    assert {edit.chain for edit in foreign_accept.edits(once, [Accepted(ID, "br1")])} == {"one"}
    by_input = table_of({"INPUT": [blocked], "FORWARD": [default], "one": [log, drop]})
    assert {edit.chain for edit in foreign_accept.edits(by_input, [Accepted(ID, "br1")])} == {"FORWARD"}
    decides = FilterRule(rules.DROP, (Condition(rules.OTHER),), handle=5)
    more = table_of({"FORWARD": [blocked, default], "one": [decides, drop]})
    assert foreign_accept.edits(more, [Accepted(ID, "br1")]) == []
    assert foreign_accept.unsure(more) == [("FORWARD", default)]


def test_what_is_not_understood_is_no_default() -> None:
    """An accept never goes before it, and it is told; without a default behind it there is nothing to accept."""
    queue = FilterRule(rules.UNKNOWN, handle=1)
    quiet = table_of({"FORWARD": [queue]})
    assert foreign_accept.edits(quiet, [Accepted(ID, "br1")]) == []
    assert foreign_accept.unsure(quiet) == []
    drop = FilterRule(rules.DROP, handle=2)
    table = table_of({"FORWARD": [queue, drop]})
    assert {edit.before for edit in foreign_accept.edits(table, [Accepted(ID, "br1")])} == {drop}
    assert foreign_accept.unsure(table) == [("FORWARD", queue)]
