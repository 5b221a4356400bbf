"""A network of which only the hosts' blocks are known: what is planned for it, and how it is kept on disk."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from cni_cnm.cluster import known as known_file
from cni_cnm.cluster import value_json
from cni_cnm.cluster.known import Known
from cni_cnm.cluster.underlay import Member, Route, Unreachable
from cni_cnm.cluster.values import Block, Snapshot
from cni_cnm.errors import DecodeFailed
from cni_cnm.firewall import Policy, remote_blocks
from cni_cnm.firewall.remote_blocks import OwnSide
from tests.cluster.assigning_directory import PODS
from tests.cluster.clusters import here, host, instance, plan

FAR, NEAR = host("far", "198.51.100.1"), host("near", "192.0.2.11")
POLICY = Policy(masquerade=True, bridge="br-pods", ingress="same-bridge", outside="cnm-vx4096")
SIDE = OwnSide("1" * 64, "pods", POLICY, (ip_interface("10.244.0.1/24"),))


def block(of: str, *subnets: str) -> Block:
    return Block("pods", tuple(map(ip_network, subnets)), of, instance(of))


OWN = block("n0", "10.244.0.0/24")
MEMBER = Member(PODS, (OWN,), own=SIDE)


def test_each_block_that_is_reached_is_known_to_the_packet_filter() -> None:
    """By VXLAN and by a plain route. No route to a whole, because it is not known."""
    found = plan(here(), [MEMBER], [FAR, NEAR], [OWN, block("far", "10.244.1.0/24"), block("near", "10.244.2.0/24")])
    wanted = found.wanted()
    assert {str(one.dst) for one in wanted if isinstance(one, Route) and one.own is SIDE} == {
        "10.244.1.0/24",
        "10.244.2.0/24",
    }
    assert {one.tunnelled for one in wanted if isinstance(one, Route)} == {True, False}
    assert not [one for one in wanted if isinstance(one, Unreachable)]
    assert found.problems == ()


def test_a_host_that_is_not_reached_has_none() -> None:
    """Packets to it take the default route, and are masqueraded as any others."""
    found = plan(here(), [MEMBER], [host("six", "2001:db8::9")], [block("six", "10.244.1.0/24")])
    assert not [one for one in found.wanted() if isinstance(one, Route)]
    assert "is not reached" in found.problems[0]


@pytest.mark.parametrize(
    ("subnet", "said"),
    [
        ("10.244.0.0/25", "overlaps 10.244.0.0/24, which is this host's"),
        ("10.244.0.0/16", "overlaps 10.244.0.0/24, which is this host's"),
        ("192.0.2.0/28", "has the underlay address 192.0.2.10 in it"),
        ("198.51.100.0/24", "has the underlay address 198.51.100.1 in it"),
    ],
)
def test_a_block_in_the_way(subnet: str, said: str) -> None:
    """A route to it would take packets of the underlay, or of this host's pods."""
    found = plan(here(), [MEMBER], [FAR], [block("far", subnet)])
    assert said in found.problems[0]
    assert not [one for one in found.wanted() if isinstance(one, Route)]


def test_own_block_with_the_underlay_in_it() -> None:
    found = plan(here(), [Member(PODS, (block("n0", "192.0.2.0/24"),), own=SIDE)])
    assert found.broken == {"pods": "this host's underlay address 192.0.2.10 is in its subnet"}


def rules(side: OwnSide = SIDE, *lengths: tuple[int, int]) -> str:
    """Of the three chains."""
    text = remote_blocks.declaration(side, lengths or [(4, 24)])
    mine = (line for line in text.splitlines() if line.startswith("add rule inet cni_cnm remote_"))
    return "\n".join(line.removeprefix("add rule inet cni_cnm ") for line in mine)


def test_rules() -> None:
    to, source = "ip daddr & 255.255.255.0 @remote4_24", "ip saddr & 255.255.255.0 @remote4_24"
    own, missing = "{ 10.244.0.0/24 }", "fib saddr . iif oif missing counter name overlay_source drop"
    assert rules().splitlines() == [
        f"remote_blocks ip saddr {own} {to} {missing}",
        f"remote_blocks ip saddr {own} {to} accept",
        f"remote_blocks {source} ip daddr {own} {missing}",
        f"remote_blocks {source} ip daddr {own} accept",
        "remote_blocks ct status dnat return",
        f"remote_blocks iifname @networks {to} ip daddr . iifname != @overlay_open4 counter name isolation drop",
        f"remote_blocks iifgroup @groups {to} ip daddr . iifgroup != @overlay_open_groups4 counter name isolation drop",
        f"remote_sources ip saddr {own} {to} accept",
        f"remote_sources {to} snat ip to 10.244.0.1",
        f"remote_unmasqueraded {to} accept",
    ]
    counted = remote_blocks.rule_counts(remote_blocks.declaration(SIDE, [(4, 24)]))
    assert counted == {"remote_blocks": 7, "remote_sources": 2, "remote_unmasqueraded": 1}


def test_rules_follow_the_policy() -> None:
    """An open network is reached by others; in an isolated one endpoints do not reach each other."""
    assert "@networks" not in rules(SIDE._replace(policy=POLICY._replace(ingress="open")))
    assert "remote_blocks ip saddr" not in rules(SIDE._replace(policy=POLICY._replace(ingress="isolated")))


def test_rules_of_another_ip_version_than_this_hosts_block() -> None:
    """Pods of this host have no address that could reach it; others must not, either."""
    found = rules(SIDE, (6, 64))
    assert "remote_sources" not in found
    assert "iifname @networks ip6 daddr & ffff:ffff:ffff:ffff:: @remote6_64" in found


def test_kept_on_disk(tmp_path: Path) -> None:
    """Blocks by their subnets: one, or one of each IP version."""
    blocks = [block("far", "10.244.1.0/24"), block("near", "10.244.2.0/24", "fd10:244:2::/64")]
    given = Snapshot("", 7, {"far": FAR, "near": NEAR}, {"pods": PODS}, {one.key: one for one in blocks})
    known_file.save(str(tmp_path), Known(given))
    found = known_file.load(str(tmp_path))
    assert (found.revision, found.hosts, found.networks, found.blocks) == (7, *given[2:5])


@pytest.mark.parametrize(
    "text", ["", "x", "10.244.1.0/24,10.244.2.0/24", "fd00::/64,10.244.1.0/24", "10.244.1.1/32", "224.0.0.0/24"]
)
def test_no_block(text: str) -> None:
    with pytest.raises(ValueError):
        value_json.block_subnets(text)


def test_a_store_of_claims_must_say_the_subnets() -> None:
    with pytest.raises(DecodeFailed, match="subnets"):
        value_json.network("pods", value_json.network_json(PODS), "etcd")
