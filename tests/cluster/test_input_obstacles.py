"""Firewalls of other programs that may drop VXLAN packets are named."""

from __future__ import annotations

import pytest

from cni_cnm.cluster import input_obstacles
from cni_cnm.cluster.accepted_hosts import TABLE, AcceptedHosts
from cni_cnm.cluster.underlay import Port
from cni_cnm.kernel.foreign_firewalls import KernelForeignFirewalls
from cni_cnm.kernel.nft import KernelNft
from tests.kernel.lab import Lab, lab

__all__ = ["lab"]

CHAIN = "add table inet theirs; add chain inet theirs guard { type filter hook input priority 0; policy drop; }"
RULE = "add rule inet theirs guard"


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("", ""),
        (CHAIN, "do not accept"),
        (f"{CHAIN}; {RULE} udp dport 4799 accept", "cannot tell"),
        (f"{CHAIN}; {RULE} accept", ""),
    ],
)
def test_a_policy_of_another_program(lab: Lab, rules: str, words: str) -> None:
    """Its table stays as it is. Our own table is none."""
    nft = KernelNft(lab.host.fd)
    AcceptedHosts(nft).whole([Port(4799)])
    if rules:
        lab.host.run("nft", rules)
    before = lab.host.run("nft", "list", "ruleset")
    firewalls = KernelForeignFirewalls(lambda: nft, [TABLE])
    found = input_obstacles.of_ports(firewalls, [4799])
    assert len(found) == bool(words)
    for sentence in found:
        assert "chain guard of the nftables table inet theirs" in sentence
        assert words in sentence
        assert "4799" in sentence
    assert lab.host.run("nft", "list", "ruleset") == before
    assert input_obstacles.of_ports(firewalls, []) == []
