"""What a store says is untrusted: any content is read, and change by change it is read as it is whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cni_cnm.cluster import block_index, value_json
from cni_cnm.cluster.directory import WatchEnded
from cni_cnm.cluster.etcd import contents as contents_module
from cni_cnm.cluster.etcd.contents import SKIPPED_MAX, Contents
from cni_cnm.cluster.etcd.keys import Keys
from cni_cnm.cluster.etcd.networks import clash_of
from cni_cnm.cluster.etcd.operations import KeyValue
from cni_cnm.cluster.value_json import BlockOwner
from cni_cnm.cluster.values import Block, Change, OverlayNetwork, Snapshot
from cni_cnm.errors import DecodeFailed
from tests.cluster.examples import host, network

KEYS = Keys("/p")
A, B = host("a"), host("b")
WEB = network("web", "10.32.0.0/22", "fd32::/62", vni=5000)
CLASH = network("clash", "10.32.2.0/23", vni=5001)
SAME_VNI = network("same", "10.50.0.0/16", vni=5000)


def owner(each: Any, of: Any = WEB) -> bytes:
    return value_json.owner_json(BlockOwner(each.name, each.instance, of.id))


GOOD = [
    ("/p/hosts/a", value_json.host_json(A)),
    ("/p/hosts/b", value_json.host_json(B)),
    ("/p/hosts/a", value_json.host_json(A._replace(mac="02:00:00:00:00:01"))),
    ("/p/networks/web", value_json.network_json(WEB)),
    ("/p/networks/clash", value_json.network_json(CLASH)),
    ("/p/networks/same", value_json.network_json(SAME_VNI)),
    ("/p/networks/web", value_json.network_json(WEB._replace(port=4800))),
    ("/p/blocks/web/0", owner(A)),
    ("/p/blocks/web/1", owner(B)),
    ("/p/blocks/web/0", owner(B)),
    ("/p/blocks/web/3", owner(A, CLASH)),
    ("/p/blocks/clash/1", owner(A, CLASH)),
    ("/p/alive/a", b""),
    ("/p/topology", b""),
]
keys = st.one_of(
    st.sampled_from([key for key, _ in GOOD]),
    st.sampled_from(
        ["/p/blocks/web/4", "/p/blocks/web/00", "/p/blocks/web/-1", "/p/blocks/web", "/p/x", "/p/hosts/", "/p/"]
    ),
    st.text(max_size=20).map(lambda text: f"/p/{text}"),
    st.text(max_size=10).map(lambda text: f"/p/hosts/{text}"),
    st.text(max_size=10).map(lambda text: f"/p/blocks/web/{text}"),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good value of which one thing is another."""
    raw = json.loads(draw(st.sampled_from([content for _, content in GOOD if content])))
    place = draw(st.sampled_from(sorted(raw)))
    raw[place] = draw(json_values)
    return json.dumps(raw).encode()


values = st.one_of(
    st.sampled_from([content for _, content in GOOD]),
    damaged(),
    st.binary(max_size=40),
    json_values.map(json.dumps).map(str.encode),
)
events = st.lists(st.one_of(st.sampled_from(GOOD), st.tuples(keys, values), st.tuples(keys, st.none())), max_size=12)


class Store:
    """As etcd counts revisions and versions."""

    def __init__(self) -> None:
        self.records: dict[str, KeyValue] = {}
        self.revision = 1

    def write(self, key: str, value: bytes | None) -> tuple[KeyValue, bool] | None:
        """The event; None if nothing changes."""
        if value is None and key not in self.records:
            return None
        self.revision += 1
        created = self.records[key].created if key in self.records else self.revision
        record = KeyValue(key, value or b"", self.revision, created if value is not None else 0)
        if value is None:
            del self.records[key]
        else:
            self.records[key] = record
        return record, value is None

    def whole(self) -> Contents:
        return Contents(KEYS, "s", self.revision, [self.records[key] for key in sorted(self.records)])


def apply(snapshot: Snapshot, changes: Any) -> Snapshot:
    """What one who follows has after the changes."""
    kinds: dict[str, dict[Any, Any]] = {
        "host": dict(snapshot.hosts), "network": dict(snapshot.networks), "block": dict(snapshot.blocks),
        "alive": dict.fromkeys(snapshot.alive, True),
    }  # fmt: skip
    for change in changes:
        if change.new is None:
            del kinds[change.kind][change.key]
        else:
            assert kinds[change.kind].get(change.key) != change.new
            kinds[change.kind][change.key] = change.new
    return Snapshot(
        snapshot.store, snapshot.revision, kinds["host"], kinds["network"], kinds["block"], frozenset(kinds["alive"])
    )


@given(events, events)
@example(  # a value of a host, then the older of two networks that clash
    [],
    [("/p/networks/web", value_json.host_json(A)), GOOD[4], GOOD[3]],
)
def test_change_by_change_is_as_whole(before: Any, after: Any) -> None:
    store = Store()
    for key, value in before:
        store.write(key, value)
    contents = store.whole()
    followed = contents.snapshot()
    for key, value in after:
        event = store.write(key, value)
        if event is None:
            continue
        try:
            followed = apply(followed, contents.changes([event]))
        except WatchEnded:  # it asks for a new list
            contents = store.whole()
            followed = contents.snapshot()
        assert followed._replace(revision=0) == store.whole().snapshot()._replace(revision=0)
        assert contents.count == len(store.records)
        assert contents.snapshot()._replace(revision=0) == followed._replace(revision=0)


@given(events)
def test_what_is_read_is_sound(content: Any) -> None:
    """Networks do not clash, blocks are of their networks, names are names."""
    store = Store()
    for key, value in content:
        store.write(key, value)
    contents = store.whole()
    there = contents.snapshot()
    for name, each in there.hosts.items():
        assert value_json.host(name, value_json.host_json(each), "x") == each
    for name, each_network in there.networks.items():
        assert value_json.network(name, value_json.network_json(each_network), "x") == each_network
    for key, block in there.blocks.items():
        assert key == block.key
        assert block_index.index_of(there.networks[block.network], block.subnets) is not None
    assert len({each.vni for each in there.networks.values()}) == len(there.networks)
    read = len(there.hosts) + len(there.networks) + len(there.blocks) + len(there.alive)
    told = len(contents.skipped)
    unread = len(store.records) - read - ("/p/topology" in store.records)
    assert told == unread if unread <= SKIPPED_MAX else told == SKIPPED_MAX + 1


def test_what_is_left_out_is_named_with_the_reason() -> None:
    store = Store()
    for key, value in [
        *GOOD,
        ("/p/hosts/c", b"{"),
        ("/p/hosts/../etc", value_json.host_json(A)),
        ("/p/hosts/d", value_json.host_json(A).replace(b"192", b"224")),
        ("/p/blocks/web/9", owner(A)),
        ("/p/blocks/gone/0", owner(A)),
        ("/p/networks/big", b" " * 5000),
    ]:
        store.write(key, value)
    store.write("/p/networks/web", value_json.network_json(WEB))
    skipped = "\n".join(store.whole().skipped)
    for part in (
        "/p/hosts/c is no JSON",
        "the key /p/hosts/../etc is unknown",
        '/p/hosts/d: addresses has "224.',
        "network web has no block 9",
        "/p/blocks/gone/0 is of a network that is not there",
        "/p/networks/big has 5000 bytes, more than 4096",
        "the network clash is left out: its subnet 10.32.2.0/23 overlaps 10.32.0.0/22 of the network web",
        "the network same is left out: its VNI 5000 belongs to the network web",
    ):
        assert part in skipped


def test_a_thousand_networks_are_not_compared_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store may say anything. With 4,000 it took more than half a minute."""
    compared: list[str] = []

    def counted(one: OverlayNetwork, other: OverlayNetwork) -> str:
        compared.append(one.name)
        return clash_of(one, other)

    monkeypatch.setattr(contents_module, "clash_of", counted)
    store = Store()
    for number in range(1000):
        made = network(f"n{number}", f"10.{number >> 8}.{number & 255}.0/24", f"fd00:{number:x}::/48", vni=number + 1)
        store.write(f"/p/networks/{made.name}", value_json.network_json(made))
    store.write("/p/networks/late", value_json.network_json(network("late", "10.1.0.0/16", vni=5000)))
    contents = store.whole()
    assert len(contents.snapshot().networks) == 1000
    assert contents.skipped == [
        "the network late is left out: its subnet 10.1.0.0/16 overlaps 10.1.0.0/24 of the network n256"
    ]
    assert compared == ["late"]


def test_a_thousand_wrong_keys_are_few_sentences() -> None:
    store = Store()
    for number in range(1000):
        store.write(f"/p/hosts/n{number}", b"{}")
    assert len(store.whole().skipped) == SKIPPED_MAX + 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("addresses", []),
        ("addresses", ["192.0.2.1", "192.0.2.2"]),
        ("addresses", ["127.0.0.1"]),
        ("addresses", ["::"]),
        ("addresses", ["fe80::1"]),
        ("addresses", ["224.0.0.1"]),
        ("addresses", ["255.255.255.255"]),
        ("addresses", "192.0.2.1"),
        ("instance", "A" * 32),
        ("instance", "a" * 31),
        ("instance", None),
        ("mac", "01:00:5e:00:00:01"),
        ("mac", ""),
    ],
)
def test_wrong_hosts(key: str, value: Any) -> None:
    raw = json.loads(value_json.host_json(A))
    with pytest.raises(DecodeFailed, match=f"here: {key}"):
        value_json.host("a", json.dumps(raw | {key: value}).encode(), "here")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("subnets", []),
        ("subnets", ["fd32::/48", "10.32.0.0/16"]),
        ("subnets", ["10.32.0.0/16", "10.33.0.0/16"]),
        ("subnets", ["10.32.0.1/16"]),
        ("subnets", ["0.0.0.0/0"]),
        ("subnets", ["127.0.0.0/8"]),
        ("subnets", ["ff00::/8"]),
        ("subnets", ["fe80::/64"]),
        ("block_sizes", [24]),
        ("block_sizes", [24, 127]),
        ("block_sizes", [31, 64]),
        ("block_sizes", [21, 64]),
        ("block_sizes", [True, 64]),
        ("block_sizes", ["24", "64"]),
        ("vni", 0),
        ("vni", 1 << 24),
        ("vni", None),
        ("port", 65536),
        ("port", 4799.0),
        ("direct", "maybe"),
        ("id", "x"),
    ],
)
def test_wrong_networks(key: str, value: Any) -> None:
    raw = json.loads(value_json.network_json(WEB))
    with pytest.raises(DecodeFailed, match=f"here: {key}"):
        value_json.network("web", json.dumps(raw | {key: value}).encode(), "here")


def test_later_versions_may_write_more() -> None:
    raw = json.loads(value_json.host_json(A)) | {"zone": "north"}
    assert value_json.host("a", json.dumps(raw).encode(), "here") == A
    network_raw = json.loads(value_json.network_json(WEB)) | {"dns": True}
    assert value_json.network("web", json.dumps(network_raw).encode(), "here") == WEB


def test_a_host_whose_record_becomes_unreadable_is_gone() -> None:
    store = Store()
    store.write("/p/hosts/a", value_json.host_json(A))
    contents = store.whole()
    event = store.write("/p/hosts/a", b"{}")
    assert event
    assert contents.changes([event]) == [Change("host", "a", None)]
    assert "/p/hosts/a" in contents.skipped[0]


def test_blocks_of_a_network_that_becomes_readable_are_read_again() -> None:
    store = Store()
    store.write("/p/networks/web", b"{}")
    store.write("/p/blocks/web/0", owner(A))
    contents = store.whole()
    event = store.write("/p/networks/web", value_json.network_json(WEB))
    assert event
    with pytest.raises(WatchEnded, match="web"):
        contents.changes([event])
    block = Block("web", block_index.subnets_at(WEB, 0), "a", A.instance)
    assert store.whole().snapshot().blocks == {block.key: block}
