"""What Nodes say, as values: which are believed, which are left out and why, and that change by change is as whole."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cni_cnm.cluster.directory import WatchEnded
from cni_cnm.cluster.known import Known
from cni_cnm.cluster.kubernetes.announcement import ANNOTATION, Terms
from cni_cnm.cluster.kubernetes.client import Client, NotBefore
from cni_cnm.cluster.kubernetes.contents import SKIPPED_MAX, Contents
from cni_cnm.cluster.kubernetes.watch import Watch
from cni_cnm.cluster.values import Block, ClusterHost, Snapshot
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.model import IPNetwork, ip_network
from tests.cluster.examples import host

TERMS = Terms("pods", 4096, 4799, "auto")
A, B = host("a"), host("b")
Node = dict[str, Any]


def said(of: ClusterHost, **more: Any) -> str:
    """What a host announces; `more` replaces values."""
    first = {"instance": of.instance, "addresses": list(map(str, of.addresses)), "mac": of.mac, **TERMS._asdict()}
    return json.dumps({**first, **more})


def node(of: ClusterHost, cidr: str = "", *, created: str = "2026-01-01T00:00:00Z", **more: Any) -> Node:
    """A Node that has announced itself. `more` replaces values of the announcement."""
    addresses = [{"type": "InternalIP", "address": str(each)} for each in of.addresses]
    return {
        "metadata": {"name": of.name, "creationTimestamp": created, "annotations": {ANNOTATION: said(of, **more)}},
        "spec": {"podCIDRs": cidr.split(",")} if cidr else {},
        "status": {"addresses": addresses, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def contents(*nodes: Node, terms: Terms = TERMS, subnets: tuple[IPNetwork, ...] = ()) -> Contents:
    return Contents(terms, subnets, "1", nodes)


def block(of: ClusterHost, *cidrs: str) -> Block:
    return Block("pods", tuple(map(ip_network, cidrs)), of.name, of.instance)


def test_a_node_is_a_host_with_its_block() -> None:
    there = contents(node(A, "10.244.0.0/24")).snapshot()
    mine = block(A, "10.244.0.0/24")
    assert there == Snapshot("", 1, {"a": A}, {"pods": contents().network}, {mine.key: mine}, frozenset({"a"}))


def test_a_node_that_has_not_announced_itself_is_none_and_is_not_named() -> None:
    raw = node(A, "10.244.0.0/24")
    del raw["metadata"]["annotations"]
    found = contents(raw)
    assert (found.snapshot().hosts, found.snapshot().blocks, found.skipped) == ({}, {}, [])
    assert found.snapshot().alive == {"a"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda raw: raw["status"].update(addresses=[]), "announces the address .* and its status has no address"),
        (
            lambda raw: raw["status"].update(addresses=[{"type": "Hostname", "address": str(A.addresses[0])}]),
            "its status has no address",
        ),
        (lambda raw: raw["spec"].update(podCIDRs=["10.244.0.0/24", "10.245.0.0/24"]), "more than one of an IP version"),
        (lambda raw: raw["spec"].update(podCIDRs=["10.244.0.1/24"]), "podCIDR of Node a is .* without host bits"),
        (lambda raw: raw["spec"].update(podCIDRs=["10.244.0.0/31"]), "no room"),
        (lambda raw: raw["spec"].update(podCIDRs=["127.0.0.0/8"]), "unicast"),
        (lambda raw: raw["spec"].update(podCIDRs=["10.0.0.0/8"]), "too large for one Node: /16 is the largest"),
        (lambda raw: raw["spec"].update(podCIDRs=["fd00::/40"]), "too large for one Node: /48 is the largest"),
        (lambda raw: raw["spec"].update(podCIDRs=["224.0.0.0/24"]), "unicast"),
        (lambda raw: raw["spec"].update(podCIDRs=[5]), "is 5, it must be a string"),
        (lambda raw: raw["metadata"]["annotations"].update({ANNOTATION: "no"}), "is no JSON"),
        (lambda raw: raw["metadata"]["annotations"].update({ANNOTATION: "[" * 100000}), "more than 4096"),
        (lambda raw: raw["metadata"]["annotations"].update({ANNOTATION: "[" * 4000}), "is no JSON"),
        (lambda raw: raw["metadata"]["annotations"].update({ANNOTATION: 5}), "is 5, not a text"),
        (lambda raw: raw["metadata"]["annotations"].update({ANNOTATION: said(A, mac="ff:ff:ff:ff:ff:ff")}), "mac"),
        (lambda raw: raw["metadata"]["annotations"].update({ANNOTATION: said(A, mac="ff:ff:\ud800")}), "mac"),
        (lambda raw: raw["metadata"]["annotations"].update({ANNOTATION: said(A, instance="x")}), "instance"),
        (lambda raw: raw["metadata"]["annotations"].update({ANNOTATION: said(A, vni=1 << 24)}), "vni"),
        (lambda raw: raw["metadata"]["annotations"].update({ANNOTATION: said(A, vni=None)}), "vni is missing"),
        (lambda raw: raw["metadata"]["annotations"].update({ANNOTATION: said(A, direct="on")}), "direct"),
        (
            lambda raw: raw["metadata"]["annotations"].update({ANNOTATION: said(A, network="other")}),
            "of the network other",
        ),
        (lambda raw: raw["metadata"]["annotations"].update({ANNOTATION: said(A, addresses=["127.0.0.1"])}), "reach"),
        (lambda raw: raw["metadata"].update(name="a b"), "the name of a Node"),
        (lambda raw: raw["metadata"].update(name="x" * 300), "the name of a Node"),
        (lambda raw: raw["metadata"].update(name=None), "the name of a Node"),
    ],
)
def test_what_is_not_believed_is_left_out_with_a_sentence(change: Any, why: str) -> None:
    raw = node(A, "10.244.0.0/24")
    change(raw)
    found = contents(raw, node(B, "10.244.1.0/24"))
    assert list(found.snapshot().hosts) == ["b"]
    assert [each.host for each in found.snapshot().blocks.values()] == ["b"]
    [sentence] = found.skipped
    assert re.search(why, sentence)
    assert sentence.isprintable()
    assert len(sentence) < 400
    whole = contents(node(A, "10.244.0.0/24"), node(B, "10.244.1.0/24"))
    whole.change(raw, deleted=False)
    if raw["metadata"]["name"] == "a":
        assert whole.snapshot() == found.snapshot()


def test_sentences_are_few() -> None:
    found = contents(*[node(host(f"n{number}"), "10.0.0.1/24") for number in range(100)])
    assert len(found.skipped) == SKIPPED_MAX + 1
    assert found.skipped[-1] == f"{100 - SKIPPED_MAX} more are left out for such reasons"


@pytest.mark.parametrize(
    "stolen",
    [
        {"mac": A.mac},
        {"addresses": list(map(str, A.addresses))},
        {"cidr": "10.244.0.0/24"},
        {"cidr": "10.244.0.128/25"},
        {"cidr": "10.244.0.0/16"},
        {"cidr": "192.0.2.0/24"},
        {"cidr": "fd00::/64,10.244.0.0/16"},
    ],
)
def test_what_an_older_node_has_is_not_anothers(stolen: dict[str, Any]) -> None:
    cidr = stolen.pop("cidr", "10.244.1.0/24")
    thief = node(B, cidr, created="2026-01-02T00:00:00Z", **stolen)
    thief["status"]["addresses"] += [{"type": "ExternalIP", "address": str(A.addresses[0])}]
    victim = node(A, "10.244.0.0/24")
    found = contents(thief, victim)
    assert list(found.snapshot().hosts) == ["a"]
    assert len(found.skipped) == 1
    assert "which the older Node a has" in found.skipped[0]
    changing = contents(victim)
    assert [each for each in changing.change(thief, deleted=False) if each.kind != "alive"] == []
    assert changing.skipped == found.skipped
    assert {each.key for each in changing.change(victim, deleted=True)} >= {"a", "b"}
    assert list(changing.snapshot().hosts) == ["b"]
    assert changing.skipped == []
    changing.change(victim, deleted=False)
    assert changing.snapshot().hosts == found.snapshot().hosts


def test_what_this_hosts_node_has_is_not_an_older_ones() -> None:
    """This host keeps its block, and what is wrong with its own Node is said first."""
    thief, mine = node(A, "10.244.1.0/24", mac=B.mac), node(B, "10.244.1.0/24", created="2026-02-01T00:00:00Z")
    wrong = [node(host(f"n{number}"), "10.0.0.1/24") for number in range(30)]
    found = Contents(TERMS, (), "1", [thief, mine, *wrong], own="b")
    assert list(found.snapshot().hosts) == ["b"]
    assert "which this host's Node b has" in found.skipped[0]
    mine["status"]["addresses"] = []
    found.change(mine, deleted=False)
    assert found.skipped[0].startswith("Node b announces the address")
    assert list(found.snapshot().hosts) == ["a"]


def test_most_nodes_decide_what_all_have_in_common() -> None:
    """A single Node, also the oldest, cannot change it for the others."""
    old, others = node(A, port=4800), [node(host(f"n{number}", "", f"192.0.2.{number + 1}")) for number in range(2)]
    found = contents(old, *others)
    assert found.network.port == 4799
    assert set(found.snapshot().hosts) == {"a", "n0", "n1"}, "plain routes to it have no port"
    assert found.skipped == []
    changes = found.change(others[0], deleted=True)  # one each: the oldest decides
    assert [each.new for each in changes if each.kind == "network"] == [found.network]
    assert (found.network.port, set(found.snapshot().hosts)) == (4800, {"a", "n1"})
    found.change(others[0], deleted=False)
    assert found.snapshot() == contents(old, *others).snapshot()


def test_a_block_that_an_older_node_takes_over_changes_its_holder() -> None:
    """Also where the new holder's name comes first."""
    found = contents(node(B, "10.244.0.0/24", created="2026-02-01T00:00:00Z"))
    known = Known(found.snapshot())
    for change in found.change(node(A, "10.244.0.0/24"), deleted=False):
        known.apply(change)
    assert dict(known.blocks) == found.snapshot().blocks == {block(A, "10.244.0.0/24").key: block(A, "10.244.0.0/24")}


def test_another_direct_is_no_reason_to_leave_a_node_out() -> None:
    found = contents(node(A, direct="never"), node(B, created="2026-02-01T00:00:00Z"))
    assert (found.network.direct, set(found.snapshot().hosts), found.skipped) == ("never", {"a", "b"}, [])


def test_blocks_outside_of_the_clusters_subnets_are_left_out() -> None:
    wide = ip_network("10.244.0.0/16")
    found = contents(node(A, "10.244.0.0/24"), node(B, "10.245.0.0/24"), subnets=(wide,))
    assert found.network.subnets == (wide,)
    assert list(found.snapshot().hosts) == ["a"]
    assert found.skipped == ["the podCIDR 10.245.0.0/24 of Node b is not in 10.244.0.0/16"]
    both = contents(node(A, "10.244.0.0/24,fd00::/64"), subnets=(wide,))
    assert "fd00::/64" in both.skipped[0]


def test_a_node_of_which_only_the_kubelet_says_something_new_changes_nothing() -> None:
    raw = node(A, "10.244.0.0/24")
    found = contents(raw)
    raw["status"]["conditions"] = [{"type": "Ready", "status": "False"}, 5, {"type": "DiskPressure"}]
    raw["status"]["images"] = [{"names": ["x"], "sizeBytes": 7}]
    assert found.change(raw, deleted=False) == ()
    raw["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    [change] = found.change(raw, deleted=False)
    assert (change.kind, change.key, change.new) == ("alive", "a", None)


# any Nodes -----------------------------------------------------------------------------

NAMES = ["a", "b", "c", "d"]
CIDRS = [
    "10.244.0.0/24",
    "10.244.1.0/24",
    "10.244.0.0/23",
    "10.244.0.128/25",
    "fd00::/64",
    "0.0.0.0/0",
    "x",
    "",
    "::/0",
    "192.0.2.0/30",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
HOSTS = st.builds(
    host,
    st.sampled_from(NAMES),
    st.sampled_from(["", "x", "y"]),
    st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
)


@st.composite
def any_nodes(draw: st.DrawFn) -> Node:
    raw = node(
        draw(HOSTS),
        ",".join(draw(st.lists(st.sampled_from(CIDRS), max_size=3))),
        created=draw(st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "", "x"])),
    )
    said_now = json.loads(raw["metadata"]["annotations"][ANNOTATION])
    if draw(st.booleans()):
        said_now[draw(st.sampled_from([*said_now, "z"]))] = draw(
            JSON | st.sampled_from([4800, "never", "other", A.mac])
        )
        raw["metadata"]["annotations"][ANNOTATION] = json.dumps(said_now)
    if draw(st.integers(0, 3)) == 0:
        part = draw(st.sampled_from(["metadata", "spec", "status"]))
        raw[part][draw(st.sampled_from([*raw[part], "podCIDR", "z"]))] = draw(JSON)
    if draw(st.integers(0, 5)) == 0:
        raw[draw(st.sampled_from(["metadata", "spec", "status"]))] = draw(JSON)
    return raw


def name_of(raw: Node) -> object:
    meta = raw["metadata"]
    return meta.get("name") if isinstance(meta, dict) else None


@settings(max_examples=200, deadline=None)
@given(st.lists(any_nodes(), max_size=4), st.lists(st.tuples(any_nodes(), st.booleans()), max_size=8))
def test_change_by_change_is_as_whole(first: list[Node], events: list[tuple[Node, bool]]) -> None:
    there: dict[object, Node] = {repr(name_of(raw)): raw for raw in first}
    changing = contents(*there.values())
    known = Known(changing.snapshot())
    for raw, deleted in events:
        for change in changing.change(raw, deleted=deleted):
            known.apply(change)
        there.pop(repr(name_of(raw)), None)
        if not deleted:
            there[repr(name_of(raw))] = raw
        whole = contents(*there.values())
        assert changing.snapshot() == whole.snapshot()
        assert as_snapshot(known, changing) == whole.snapshot()
        check(whole.snapshot())


EVENTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "x"]) | JSON,
        "object": any_nodes() | JSON,
    }
)


class Lines:
    """A stream of these lines, and then its end."""

    def __init__(self, *lines: bytes) -> None:
        self.lines = [*lines, b""]

    def line(self, _wait_s: float, _line_s: float) -> bytes:
        return self.lines.pop(0)


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS | JSON, max_size=5), st.booleans())
def test_any_events_end_a_watch_or_are_told(events: list[Any], numbered: bool) -> None:
    """Nothing else is raised, and what is told leads to what the directory has."""
    for number, each in enumerate(events):
        if numbered and isinstance(each, dict) and isinstance(each.get("object"), dict):
            meta = each["object"].get("metadata")
            if isinstance(meta, dict):
                meta["resourceVersion"] = str(number + 2)
    found = contents(node(A, "10.244.0.0/24"))
    known = Known(found.snapshot())
    watch = Watch(
        Client(ClusterSettings("kubernetes", kubeconfig="/none"), 1, NotBefore()), found, lambda: 0.0, proof=False
    )
    lines = [json.dumps(each).encode() + b"\n" for each in events]
    with suppress(WatchEnded):
        for _, changes in watch._read(Lines(*lines)):  # type: ignore[arg-type]
            for change in changes:
                known.apply(change)
    assert as_snapshot(known, found) == found.snapshot()


def as_snapshot(known: Known, of: Contents) -> Snapshot:
    blocks = dict(known.blocks)
    return Snapshot("", of.revision, known.hosts, known.networks, blocks, frozenset(known.alive))


def check(there: Snapshot) -> None:
    """What holds however hostile Nodes are."""
    hosts = list(there.hosts.values())
    assert len({each.mac for each in hosts}) == len(hosts)
    addresses = [address for each in hosts for address in each.addresses]
    assert len(set(addresses)) == len(addresses)
    subnets = [subnet for each in there.blocks.values() for subnet in each.subnets]
    for number, one in enumerate(subnets):
        assert not any(one.version == other.version and one.overlaps(other) for other in subnets[:number])
    for each in there.blocks.values():
        assert there.hosts[each.host].instance == each.instance
        others = [address for one in hosts if one.name != each.host for address in one.addresses]
        assert not any(address in subnet for address in others for subnet in each.subnets)
