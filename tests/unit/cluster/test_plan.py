"""The plan kept up to date: what changes lead to is what a plan made anew has."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cluster.plan import Plan
from cni_cnm.cluster.underlay import Delta, Entry, Here, Key, Member, key_of
from cni_cnm.cluster.values import Block, BlockKey, Change, ClusterHost, OverlayNetwork
from tests.cluster.clusters import block, here, host, network, plan, uplink

NETWORKS = (
    network("web", subnets=("10.32.0.0/16", "fd32::/48"), sizes=(24, 64), direct="auto"),
    network("db", ["10.33.0.0/16"], vni=4097, direct="never"),
    network("far", ["fd33::/48"], [64], vni=4098, direct="always"),
    network("other", ["10.35.0.0/16"], vni=4099),
)
"""This host has all but the last one."""
NAMES = ("n0", "n1", "n2", "n3", "n4")
ADDRESSES = st.sampled_from(
    [
        "192.0.2.10",
        "192.0.2.11",
        "192.0.2.12",
        "198.51.100.1",
        "198.51.100.2",
        "2001:db8::11",
        "2001:db8:1::1",
        "10.32.0.9",
    ]
)
HERES = st.sampled_from(
    [
        here(own=["10.32.0.1", "fd33::1"]),
        here(
            uplink("2001:db8::/64", address="2001:db8::10"),
            uplink("192.0.2.0/24", address="192.0.2.10"),
            own=["10.33.0.1"],
        ),
        here()._replace(uplinks=()),
    ]
)
HOSTS = st.builds(
    lambda name, addresses, instance: host(name, *addresses)._replace(instance=instance),
    st.sampled_from(NAMES),
    st.lists(ADDRESSES, min_size=1, max_size=2, unique=True),
    st.sampled_from(["0" * 32, "1" * 32]),
)
BLOCKS = st.builds(
    lambda net, index, name, instance: block(net, index, name)._replace(instance=instance),
    st.sampled_from(NETWORKS),
    st.integers(0, 4),
    st.sampled_from(NAMES),
    st.sampled_from(["0" * 32, "1" * 32]),
)
CHANGES = st.one_of(
    HOSTS.map(lambda one: Change("host", one.name, one)),
    st.sampled_from(NAMES).map(lambda name: Change("host", name, None)),
    BLOCKS.map(lambda one: Change("block", one.key, one)),
    BLOCKS.map(lambda one: Change("block", one.key, None)),
    st.sampled_from(NAMES).map(lambda name: Change("alive", name, True)),
)


def members() -> list[Member]:
    return [Member(one, (block(one, 0, "n0"),)) for one in NETWORKS[:-1]]


def by_key(found: Plan) -> dict[Key, Entry]:
    """No key is there twice."""
    entries = found.wanted()
    keyed = {key_of(entry): entry for entry in entries}
    assert len(keyed) == len(entries)
    return keyed


def applied(wanted: dict[Key, Entry], delta: Delta) -> dict[Key, Entry]:
    """What is wanted after a delta."""
    found = dict(wanted)
    for key, (before, after) in delta.items():
        assert found.get(key) == before
        assert before != after
        if after is None:
            del found[key]
        else:
            found[key] = after
    return found


def known(changes: Sequence[Change]) -> tuple[dict[str, ClusterHost], dict[BlockKey, Block]]:
    """What a directory holds after these changes."""
    hosts: dict[str, ClusterHost] = {}
    blocks: dict[BlockKey, Block] = {}
    for change in changes:
        if isinstance(change.key, tuple):
            blocks.pop(change.key, None)
            if isinstance(change.new, Block):
                blocks[change.key] = change.new
        elif change.kind == "host":
            hosts.pop(change.key, None)
            if isinstance(change.new, ClusterHost):
                hosts[change.key] = change.new
    return hosts, blocks


@given(HERES, st.lists(st.lists(CHANGES, max_size=4), max_size=8))
def test_incremental_equals_whole(me: Here, batches: list[list[Change]]) -> None:
    """After any batches of changes, in any order: entries, problems, and each delta exactly the difference."""
    kept = Plan(me, members(), {}, [])
    wanted = by_key(kept)
    seen: list[Change] = []
    for batch in batches:
        seen += batch
        wanted = applied(wanted, kept.change(batch))
        hosts, blocks = known(seen)
        anew = Plan(me, members(), hosts, blocks.values())
        assert wanted == by_key(kept) == by_key(anew)
        assert kept.problems == anew.problems


@given(HERES, st.lists(CHANGES, max_size=12))
def test_the_order_of_hosts_does_not_matter(me: Here, changes: list[Change]) -> None:
    """Hosts and blocks in another order lead to the same entries."""
    hosts, blocks = known(changes)
    one = Plan(me, members(), hosts, blocks.values())
    turned = dict(reversed(hosts.items()))
    assert by_key(one) == by_key(Plan(me, members(), turned, list(blocks.values())[::-1]))


def test_a_change_that_changes_nothing() -> None:
    """The same host again, a host without blocks that goes and was never there, signs of life: no entry differs."""
    far = host("n1", "198.51.100.1")
    own = block(NETWORKS[0], 0, "n0")
    found = plan(here(), [Member(NETWORKS[0], (own,))], [far], [block(NETWORKS[0], 1, "n1")])
    for change in (Change("host", "n1", far), Change("host", "n9", None), Change("alive", "n1", None)):
        assert found.change([change]) == {}


def test_a_host_costs_its_own_entries() -> None:
    """With 300 hosts there are as many entries in the delta of one as with three."""

    def cost(count: int) -> int:
        net: OverlayNetwork = NETWORKS[1]
        hosts = [host(f"h{number}", f"198.51.{100 + number // 250}.{number % 250 + 1}") for number in range(count)]
        blocks = [block(net, number % 200 + 1, one.name) for number, one in enumerate(hosts[:200])]
        found = plan(here(), [Member(net, (block(net, 0, "n0"),))], hosts, blocks)
        return len(found.change([Change("host", "h1", None)]))

    assert cost(300) == cost(3) == 4
