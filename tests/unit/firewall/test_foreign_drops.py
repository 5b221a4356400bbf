"""What other programs' chains drop by default of a bridge: for certain, perhaps, or not."""

from __future__ import annotations

import pytest

from cni_cnm.firewall import foreign_drops
from cni_cnm.kernel.contract import filter_rules as rules
from cni_cnm.kernel.contract.filter_rules import BaseChain, Condition, FilterRule

PREROUTING, INPUT, FORWARD, POSTROUTING = 0, 1, 2, 4
BR1, OTHER = Condition(rules.INPUT, ("br1",)), Condition(rules.OTHER)
BACK = Condition(rules.OUTPUT, ("br1",))
ESTABLISHED = Condition(rules.STATE, ("RELATED", "ESTABLISHED"))
DROP, ACCEPT = FilterRule(rules.DROP), FilterRule(rules.ACCEPT)


def found(
    *chain: FilterRule, drops: bool = True, family: str = "inet", hook: int = FORWARD, **more: list[FilterRule]
) -> str:
    """`certain`, `perhaps` or `no`."""
    base = BaseChain(family, "mine", "forward", hook, drops)
    chains = {"forward": chain, **more}
    obstacles = foreign_drops.obstacles("br1", [base], lambda _, name: chains.get(name, ()))
    assert all("forward of the nftables table" in one.sentence for one in obstacles)
    return "no" if not obstacles else "certain" if obstacles[0].certain else "perhaps"


def accepts(*conditions: Condition) -> FilterRule:
    return FilterRule(rules.ACCEPT, conditions)


def jump(*conditions: Condition, verdict: str = rules.JUMP) -> FilterRule:
    return FilterRule(verdict, conditions, "inner")


@pytest.mark.parametrize(
    ("expected", "chain"),
    [
        ("certain", []),
        ("certain", [accepts(BR1)]),  # its answers are dropped
        ("no", [accepts(BR1), accepts(BACK)]),
        ("no", [accepts(BR1), accepts(ESTABLISHED)]),
        ("no", [accepts(Condition(rules.INPUT, ("br+",))), accepts(ESTABLISHED)]),
        ("certain", [accepts(Condition(rules.INPUT, ("eth+",))), accepts(ESTABLISHED)]),
        ("perhaps", [accepts(BR1, OTHER), accepts(ESTABLISHED)]),
        ("no", [accepts(Condition(rules.INPUT, ("eth0",), negated=True)), accepts(ESTABLISHED)]),
        ("perhaps", [FilterRule(rules.UNKNOWN, (OTHER,)), accepts(ESTABLISHED)]),
        ("no", [FilterRule(rules.DROP, (BR1,)), accepts(ESTABLISHED)]),  # another program's decision
        ("no", [FilterRule(rules.DROP, (OTHER,)), ACCEPT]),
    ],
)
def test_policy_drop(expected: str, chain: list[FilterRule]) -> None:
    """What is left at the end is dropped."""
    assert found(*chain) == expected


def test_a_drop_at_the_end_is_as_the_policy() -> None:
    """Also in a chain that is always entered, but not in one that is entered on a condition."""
    assert found(DROP, drops=False) == "certain"
    assert found(accepts(BR1), accepts(BACK), DROP, drops=False) == "no"
    assert found(jump(), drops=False, inner=[DROP]) == "certain"
    assert found(jump(verdict=rules.GOTO), ACCEPT, drops=False, inner=[DROP]) == "certain"
    assert found(jump(OTHER), drops=False, inner=[DROP]) == "no"
    assert found(jump(BR1), drops=False, inner=[DROP]) == "no"


def test_chains_that_are_entered() -> None:
    """One that accepts, one that comes back, one that calls itself."""
    assert found(jump(), inner=[accepts(BR1), accepts(BACK)]) == "no"
    assert found(jump(), inner=[FilterRule(rules.RETURN, (BR1,)), ACCEPT]) == "certain"
    assert found(jump(), inner=[jump(), ACCEPT]) == "no"
    assert found(jump(BR1), jump(BACK), inner=[ACCEPT]) == "no"


@pytest.mark.parametrize(
    ("expected", "family", "hook"),
    [
        ("certain", "ip", PREROUTING), ("certain", "ip6", POSTROUTING), ("no", "inet", INPUT),
        ("certain", "bridge", INPUT), ("perhaps", "netdev", 0), ("certain", "arp", 0),
    ],
)  # fmt: skip
def test_hooks(expected: str, family: str, hook: int) -> None:
    """All that a forwarded packet meets, and what a bridge's frames meet; not what is for the host itself."""
    assert found(family=family, hook=hook) == expected


def test_the_other_family_is_not_asked() -> None:
    """In a table of one family conditions on the family are known; an obstacle there says which one it is."""
    ip6 = accepts(Condition(rules.FAMILY, ("ip6",)))
    assert found(ip6, family="ip") == "certain"
    assert found(ip6, family="ip6") == "no"
    assert found(ip6, family="inet") == "perhaps"
    (obstacle,) = foreign_drops.obstacles("br1", [BaseChain("ip6", "t", "c", FORWARD, True)], lambda *_: ())
    assert obstacle.family == "ip6"


@pytest.mark.parametrize(
    ("expected", "drops", "chain"),
    [
        ([True], True, []),
        ([True], True, [accepts(Condition(rules.INPUT, ("lo",))), accepts(ESTABLISHED)]),
        ([False], True, [accepts(OTHER)]),  # perhaps by its port
        ([False], False, [accepts(OTHER), DROP]),
        ([], True, [ACCEPT]),
        ([], True, [accepts(Condition(rules.STATE, ("NEW",)))]),
        ([], False, []),
    ],
)
def test_what_comes_to_the_host(expected: list[bool], drops: bool, chain: list[FilterRule]) -> None:
    """Chains of the hook input, each with whether a packet from another host is dropped for certain."""
    bases = [BaseChain("inet", "mine", "in", INPUT, drops), BaseChain("inet", "mine", "on", FORWARD, True),
             BaseChain("netdev", "mine", "in", INPUT, True)]  # fmt: skip
    told = foreign_drops.of_input(bases, lambda _, name: chain)
    assert [certain for _, certain in told] == expected
    assert {base.name for base, _ in told} <= {"in"}
