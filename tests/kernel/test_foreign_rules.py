"""Other programs' chains and rules, read from the kernel and written as iptables writes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import ENOENT, ERESTART
from typing import TypeVar

import pytest

from cni_cnm.kernel import iptables_legacy
from cni_cnm.kernel.contract import filter_rules as rules
from cni_cnm.kernel.contract.filter_rules import BaseChain, Condition, Edit, FilterRule, FilterTable
from cni_cnm.kernel.netlink.nlattr import pack, places, raw
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.kernel.nftables import nfnetlink, nft_chains, xt_expressions
from cni_cnm.kernel.nftables.nfnetlink import Questions
from tests.kernel.lab import Lab

T = TypeVar("T")
OTHER = Condition(rules.OTHER)
ADMIN = FilterRule(rules.JUMP, (Condition(rules.INPUT, ("br-91d0c7ba3e55",)),), "ADMIN", "cni-cnm:91d0c7ba3e55")
INTERNAL = FilterRule(
    rules.ACCEPT, (Condition(rules.INPUT, ("a",)), Condition(rules.OUTPUT, ("abcdefghijklmno",))), "", "cni-cnm:0"
)
ANSWERS = FilterRule(
    rules.ACCEPT,
    (Condition(rules.OUTPUT, ("br1",)), Condition(rules.STATE, ("RELATED", "ESTABLISHED", "DNAT"))),
    "",
    "cni-cnm:1",
)
TEXTS = {
    ADMIN: "-i br-91d0c7ba3e55 -m comment --comment cni-cnm:91d0c7ba3e55 -j ADMIN",
    INTERNAL: "-i a -o abcdefghijklmno -m comment --comment cni-cnm:0 -j ACCEPT",
    ANSWERS: "-o br1 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -m comment --comment cni-cnm:1 -j ACCEPT",
}
NATIVE = {
    "drop": FilterRule(rules.DROP),
    "counter log drop": FilterRule(rules.DROP),
    "reject": FilterRule(rules.DROP),
    "accept": FilterRule(rules.ACCEPT),
    "return": FilterRule(rules.RETURN),
    "jump there": FilterRule(rules.JUMP, (), "there"),
    "goto there": FilterRule(rules.GOTO, (), "there"),
    "counter": FilterRule(rules.NONE),
    "meta mark set 1": FilterRule(rules.NONE),
    "ct mark set 1": FilterRule(rules.NONE),
    'drop comment "mine"': FilterRule(rules.DROP, comment="mine"),
    'iifname "br1" accept': FilterRule(rules.ACCEPT, (Condition(rules.INPUT, ("br1",)),)),
    'oifname != "br1" drop': FilterRule(rules.DROP, (Condition(rules.OUTPUT, ("br1",), negated=True),)),
    'iifname "br-*" accept': FilterRule(rules.ACCEPT, (Condition(rules.INPUT, ("br-+",)),)),
    "ct state established,related accept": FilterRule(
        rules.ACCEPT, (Condition(rules.STATE, ("RELATED", "ESTABLISHED")),)
    ),
    "ct state invalid drop": FilterRule(rules.DROP, (Condition(rules.STATE, ("INVALID",)),)),
    "ct state != new accept": FilterRule(rules.ACCEPT, (Condition(rules.STATE, ("NEW",), negated=True),)),
    "meta nfproto ipv6 drop": FilterRule(rules.DROP, (Condition(rules.FAMILY, ("ip6",)),)),
    "ip saddr @bad drop": FilterRule(rules.DROP, (Condition(rules.FAMILY, ("ip",)), OTHER)),
    "ether saddr 02:00:00:00:00:01 drop": FilterRule(rules.DROP, (OTHER, OTHER)),
    "tcp dport 22-24 drop": FilterRule(rules.DROP, (Condition(rules.PROTOCOL, ("6",)), OTHER, OTHER)),
    "udp dport 53 accept": FilterRule(
        rules.ACCEPT, (Condition(rules.PROTOCOL, ("17",)), Condition(rules.PORT, ("53",)))
    ),
    "tcp dport != 22 drop": FilterRule(
        rules.DROP, (Condition(rules.PROTOCOL, ("6",)), Condition(rules.PORT, ("22",), negated=True))
    ),
    "udp sport 53 accept": FilterRule(rules.ACCEPT, (Condition(rules.PROTOCOL, ("17",)), OTHER)),
    "ct status dnat accept": FilterRule(rules.ACCEPT, (OTHER,)),
    "ct mark 1 accept": FilterRule(rules.ACCEPT, (OTHER,)),
    "ct mark and 0xf != 0 accept": FilterRule(rules.ACCEPT, (OTHER,)),
    "fib daddr type local accept": FilterRule(rules.ACCEPT, (OTHER,)),
    "limit rate 3/second drop": FilterRule(rules.DROP, (OTHER,)),
    "meta l4proto vmap { tcp : accept, udp : drop }": FilterRule(rules.UNKNOWN, (OTHER,)),
    'iif "lo" accept': FilterRule(rules.ACCEPT, (OTHER,)),
}


@pytest.fixture
def nft(lab: Lab) -> KernelNft:
    return KernelNft(lab.host.fd)


@pytest.mark.parametrize("text", NATIVE)
def test_native_rules(lab: Lab, nft: KernelNft, text: str) -> None:
    """What a rule is taken for: with the conditions it has, whatever they are."""
    lab.host.run("nft", "-f", "-", text=_table(text))
    (found,) = nft.filter_rules("inet", "t", "c")
    assert found.handle
    known = {one for one in found.conditions if one != OTHER}
    expected = NATIVE[text]
    assert known == {one for one in expected.conditions if one != OTHER}
    assert (OTHER in found.conditions) is (OTHER in expected.conditions)
    assert found.plain._replace(conditions=()) == expected._replace(conditions=())


def _table(rule: str) -> str:
    """A script that makes the table `inet t` with the rule in its chain c."""
    made = "add table inet t", "add set inet t bad { type ipv4_addr; }", "add chain inet t there", "add chain inet t c"
    return "\n".join((*made, f"add rule inet t c {rule}", ""))


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("-j DROP", rules.DROP),
        ("-j REJECT --reject-with icmp-host-prohibited", rules.DROP),
        ("-j RETURN", rules.RETURN),
        ("-j LOG", rules.NONE),
        ("-j NFLOG", rules.NONE),
        ("-j NFQUEUE --queue-num 3", rules.UNKNOWN),
        ("", rules.NONE),
    ],
)
@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_rules_of_iptables(lab: Lab, nft: KernelNft, text: str, verdict: str, backend: str) -> None:
    """A rule without a match takes every packet, one with a match does not, on both of its backends."""
    for match in ([], ["-m", "limit", "--limit", "3/s"]):
        lab.host.run(f"iptables-{backend}", "-A", "FORWARD", *match, *text.split())
    first, second = _forward(lab, nft, backend)
    assert (first.verdict, first.conditions) == (verdict, ())
    assert (second.verdict, second.conditions) != (verdict, ())


@pytest.mark.parametrize("rule", TEXTS)
@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_what_iptables_writes_is_understood(lab: Lab, nft: KernelNft, rule: FilterRule, backend: str) -> None:
    """The rules that earlier versions of cni-cnm had iptables write are recognised."""
    for family in ("iptables", "ip6tables"):
        lab.host.run(f"{family}-{backend}", "-N", "ADMIN")
        lab.host.run(f"{family}-{backend}", "-A", "FORWARD", *TEXTS[rule].split())
    for version in ("ip", "ip6"):
        assert [one.plain for one in _forward(lab, nft, backend, version)] == [rule]


def _asked(lab: Lab, question: Callable[[Questions], T]) -> T:
    return lab.host.call(lambda: question(Questions()))


def _forward(lab: Lab, nft: KernelNft, backend: str, family: str = "ip") -> list[FilterRule]:
    if backend == "legacy":
        return list(lab.host.call(lambda: iptables_legacy.read(family)).chains["FORWARD"])
    table = _asked(lab, lambda questions: nft_chains.filter_table(questions, family))
    assert table is not None
    return list(table.chains["FORWARD"])


@pytest.mark.parametrize("rule", TEXTS)
@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_what_is_written_is_what_iptables_writes(lab: Lab, nft: KernelNft, rule: FilterRule, family: str) -> None:
    """Byte by byte, as the kernel has it; so iptables reads it, finds it, and takes it out."""
    program = "iptables-nft" if family == "ip" else "ip6tables-nft"
    lab.host.run(program, "-N", "ADMIN")
    lab.host.run(program, "-A", "FORWARD", *TEXTS[rule].split())
    nft.edit_filter(family, lambda _: [Edit("FORWARD", insert=rule)])
    body = nfnetlink.text(1, "filter") + nfnetlink.text(2, "FORWARD")
    theirs, ours = (
        raw(data, places(data, begin, end)[4])
        for data, begin, end in _asked(lab, lambda questions: questions.dump(7, family, body))
    )
    assert theirs == ours
    assert len(xt_expressions.encode(rule)) < len(ours), "the counter's numbers are the kernel's"
    listed = [line for line in lab.host.run(f"{program}-save", "-t", "filter").splitlines() if line.startswith("-A")]
    assert len(set(listed)) == 1
    for _ in range(2):
        lab.host.run(program, "-D", "FORWARD", *TEXTS[rule].split())


def test_places(lab: Lab, nft: KernelNft) -> None:
    """Before a rule, at the end, in the order given; what is to be removed, too."""
    for source in ("10.0.0.1", "10.0.0.2"):
        lab.host.run("iptables-nft", "-A", "FORWARD", "-s", source, "-j", "DROP")
    one, two = (FilterRule(rules.ACCEPT, (Condition(rules.INPUT, (name,)),), "", "cni-cnm:0") for name in ("a", "b"))

    def change(table: FilterTable) -> list[Edit]:
        first, second = table.chains["FORWARD"]
        return [
            Edit("FORWARD", insert=one, before=second),
            Edit("FORWARD", insert=two, before=second),
            Edit("FORWARD", insert=one),
            Edit("FORWARD", remove=first),
        ]

    nft.edit_filter("ip", change)
    listed = [line.split("-m")[0].strip() for line in lab.host.run("iptables-nft", "-S", "FORWARD").splitlines()[1:]]
    assert listed == ["-A FORWARD -i a", "-A FORWARD -i b", "-A FORWARD -s 10.0.0.2/32 -j DROP", "-A FORWARD -i a"]


def test_a_table_that_iptables_cannot_print_is_changed(lab: Lab, nft: KernelNft) -> None:
    """With a native rule in it iptables-save prints no table; it is read and changed all the same."""
    lab.host.run("iptables-nft", "-P", "FORWARD", "DROP")
    lab.host.run("nft", "add", "rule", "ip", "filter", "FORWARD", "ct", "state", "invalid", "drop")
    assert "FORWARD" not in lab.host.run("iptables-nft-save", "-t", "filter")
    nft.edit_filter("ip", lambda _: [Edit("FORWARD", insert=ANSWERS)])
    table = _asked(lab, lambda questions: nft_chains.filter_table(questions, "ip"))
    assert table is not None
    assert table.drops
    assert [rule.plain for rule in table.chains["FORWARD"]] == [
        FilterRule(rules.DROP, (Condition(rules.STATE, ("INVALID",)),)),
        ANSWERS,
    ]


def test_a_change_meanwhile_is_looked_at_again(lab: Lab, nft: KernelNft) -> None:
    """Nothing is changed of a ruleset that is another one by now; the change is thought over."""
    lab.host.run("iptables-nft", "-P", "FORWARD", "DROP")
    seen: list[int] = []

    def change(table: FilterTable) -> list[Edit]:
        seen.append(len(table.chains["FORWARD"]))
        if len(seen) == 1:
            lab.host.run("iptables-nft", "-A", "FORWARD", "-j", "DROP")
        return [Edit("FORWARD", insert=ANSWERS, before=next(iter(table.chains["FORWARD"]), None))]

    nft.edit_filter("ip", change)
    assert seen == [0, 1]
    assert lab.host.run("iptables-nft", "-S", "FORWARD").splitlines()[2] == "-A FORWARD -j DROP"


def test_a_refused_change_is_none_at_all(lab: Lab) -> None:
    """One part of it that cannot be done, a generation that is gone: the kernel's errno, and nothing has happened."""
    lab.host.run("nft", "add", "table", "ip", "t")
    chain = nfnetlink.text(1, "t") + nfnetlink.text(3, "new")
    missing = nfnetlink.text(1, "t") + nfnetlink.text(2, "none") + pack(3, (7).to_bytes(8, "big"))
    made, gone = (3, "ip", 0x400, chain), (8, "ip", 0, missing)
    for changes, generation, number in (
        ([made, gone], 0, ENOENT),
        ([gone, made], 0, ENOENT),
        ([made], 1, ERESTART),
    ):
        with pytest.raises(OSError, match=os.strerror(number)):
            _asked(lab, lambda questions: questions.commit(changes, generation))  # noqa: B023 - called at once
    assert "new" not in lab.host.run("nft", "list", "ruleset")
    _asked(lab, lambda questions: questions.commit([made], questions.generation()))
    assert "chain new" in lab.host.run("nft", "list", "ruleset")


def test_base_chains(lab: Lab, nft: KernelNft) -> None:
    """Of every family, with hook and policy; neither plain chains nor those of a table that sleeps."""
    lab.host.ip("link add up0 type veth peer name up1")
    lab.host.run(
        "nft",
        "-f",
        "-",
        text="""
        add table inet a
        add chain inet a f { type filter hook forward priority 5; policy drop; }
        add chain inet a plain
        add table ip b
        add chain ip b p { type filter hook prerouting priority -300; policy accept; }
        add table bridge c
        add chain bridge c p { type filter hook postrouting priority 0; policy drop; }
        add table netdev d
        add chain netdev d i { type filter hook ingress device up0 priority 0; policy drop; }
        add table ip6 asleep { flags dormant; }
        add chain ip6 asleep f { type filter hook forward priority 0; policy drop; }
        """,
    )
    assert set(nft.base_chains()) == {
        BaseChain("inet", "a", "f", 2, True),
        BaseChain("ip", "b", "p", 0, False),
        BaseChain("bridge", "c", "p", 4, True),
        BaseChain("netdev", "d", "i", 0, True),
    }
    assert set(nft.tables()) == {"inet a", "ip b", "bridge c", "netdev d"}
