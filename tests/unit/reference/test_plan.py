"""What iptables and nft are told, by what the host has."""

from __future__ import annotations

import json

from cni_cnm.model import Address, EndpointKey, ip_interface
from cni_cnm.reference import configuration
from cni_cnm.reference.attachment import Attachment
from cni_cnm.reference.cache import Cached
from cni_cnm.reference.host_rules import FoundRule, HostRules
from cni_cnm.reference.plan import Plan, plan
from cni_cnm.reference.rule import Rule
from cni_cnm.reference.rules import rules_of, shared_rules_of

CHAIN = "CNI-623e1c388032b20529218ecc"
CONFIG = {
    "name": "net",
    "plugins": [{"type": "bridge", "ipMasq": True, "ipam": {"type": "host-local"}}, {"type": "firewall"}],
}
COMMENT = '-m comment --comment "name: \\"net\\" id: \\"c1\\""'


def attachment(form: str = "iptables") -> Attachment:
    cached = Cached(EndpointKey("net", "c1", "eth0"), json.dumps(CONFIG).encode())
    addresses = (Address(ip_interface("10.0.0.2/24")),)
    return Attachment(cached, configuration.parse(cached), addresses=addresses, masquerade=form)


def having(*rules: Rule) -> HostRules:
    chains: dict[tuple[str, str], tuple[FoundRule, ...]] = {}
    for number, rule in enumerate(rules, 1):
        place = (rule.table, rule.chain)
        chains[place] = (*chains.get(place, ()), FoundRule(rule, number))
    return HostRules(chains, frozenset(rule.table for rule in rules))


def all_of(one: Attachment) -> tuple[Rule, ...]:
    """In an order in which chains have them: first what is put first."""
    return tuple(sorted((*shared_rules_of(one), *rules_of(one)), key=lambda rule: not rule.first))


def test_a_host_without_rules() -> None:
    """Chains first; what is to be first is inserted, in the order of the reference."""
    one = attachment()
    host = having(Rule("iptables filter", "CNI-ADMIN", "-j RETURN"))
    made = plan(one, rules_of(one), shared_rules_of(one), host)
    assert made == Plan(
        (
            (
                "iptables",
                (
                    "*nat\n"
                    f"-N {CHAIN}\n"
                    f"-A {CHAIN} -d 10.0.0.0/24 {COMMENT} -j ACCEPT\n"
                    f"-A {CHAIN} ! -d 224.0.0.0/4 {COMMENT} -j MASQUERADE\n"
                    f"-A POSTROUTING -s 10.0.0.2/32 {COMMENT} -j {CHAIN}\n"
                    "COMMIT\n"
                    "*filter\n"
                    "-N CNI-FORWARD\n"
                    '-I FORWARD 1 -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD\n'
                    '-I CNI-FORWARD 1 -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN\n'
                    "-A CNI-FORWARD -d 10.0.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
                    "-A CNI-FORWARD -s 10.0.0.2/32 -j ACCEPT\n"
                    "COMMIT\n"
                ),
            ),
        )
    )


def test_a_host_with_all_of_them() -> None:
    for form in ("iptables", "nftables"):
        one = attachment(form)
        host = having(*all_of(one), Rule("iptables filter", "CNI-ADMIN", "-j RETURN"))
        assert not plan(one, rules_of(one), shared_rules_of(one), host)


def test_removal() -> None:
    """The own chain goes last, and what is shared stays."""
    one = attachment()
    ((program, script),) = plan(one, (), (), having(*all_of(one))).scripts
    assert program == "iptables"
    assert script.splitlines() == [
        "*nat",
        f"-F {CHAIN}",
        f"-D POSTROUTING -s 10.0.0.2/32 {COMMENT} -j {CHAIN}",
        f"-X {CHAIN}",
        "COMMIT",
        "*filter",
        "-D CNI-FORWARD -d 10.0.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-D CNI-FORWARD -s 10.0.0.2/32 -j ACCEPT",
        "COMMIT",
    ]


def test_a_chain_in_another_order_is_made_again() -> None:
    one = attachment()
    host = having(*reversed(rules_of(one)), *shared_rules_of(one))
    ((_, script),) = plan(one, rules_of(one), (), host).scripts
    assert [line.split()[:2] for line in script.splitlines()] == [
        ["*nat"], ["-F", CHAIN], ["-A", CHAIN], ["-A", CHAIN], ["COMMIT"],
    ]  # fmt: skip


def test_nftables() -> None:
    """Tables and chains with their declaration, and a rule is removed by its handle."""
    one = attachment("nftables")
    made = plan(one, rules_of(one), shared_rules_of(one), having())
    assert [line.split(" {")[0] for line in made.nft] == [
        "add table inet cni_plugins_masquerade",
        "add chain inet cni_plugins_masquerade postrouting",
        "add chain inet cni_plugins_masquerade masq_checks",
        "add rule inet cni_plugins_masquerade postrouting ip daddr 224.0.0.0/4 return",
        "add rule inet cni_plugins_masquerade postrouting ip6 daddr ff00::/8 return",
        "add rule inet cni_plugins_masquerade postrouting goto masq_checks",
        (
            "add rule inet cni_plugins_masquerade masq_checks ip saddr 10.0.0.2 ip daddr != 10.0.0.0/24 masquerade"
            ' comment "a4861f4ae9f7d238-f4d01f2ef4b92245, net: net, if: eth0, id: c1"'
        ),
    ]
    own = next(rule for rule in rules_of(one) if not rule.is_xt())
    assert plan(one, (), (), having(own)).nft == ("delete rule inet cni_plugins_masquerade masq_checks handle 1",)
