"""The Kubernetes API as a directory: one contract over the stand-in, and over a real kube-apiserver.

The second is marked `kubernetes`, for scripts/test --kubernetes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cni_cnm.cluster.directory import WatchEnded
from cni_cnm.cluster.kubernetes.announcement import ANNOTATION
from cni_cnm.cluster.kubernetes.directory import KubernetesDirectory
from cni_cnm.cluster.values import Block, Change, ClusterHost
from cni_cnm.errors import Conflict, DirectoryUnreachable, Forbidden, NotReady
from cni_cnm.model import ip_network
from tests.cluster.examples import host
from tests.kubernetes.node_stores import NodeStore, Real, StandIn

A, B = host("a", "", "192.0.2.11"), host("b", "", "192.0.2.12")
BLOCK_A, BLOCK_B = ("10.244.1.0/24", "fd00:244:0:1::/64"), ("10.244.2.0/24", "fd00:244:0:2::/64")


@pytest.fixture(params=["stand-in", pytest.param("real", marks=[pytest.mark.kubernetes, pytest.mark.timeout(600)])])
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NodeStore]:
    """Without Nodes."""
    made = StandIn(tmp_path) if request.param == "stand-in" else Real(tmp_path, request.getfixturevalue("api_server"))
    yield made
    made.close()


@pytest.fixture
def both(nodes: NodeStore) -> NodeStore:
    """With the Nodes a and b, which have blocks and are not announced."""
    nodes.add("a", "192.0.2.11", cidrs=BLOCK_A)
    nodes.add("b", "192.0.2.12", cidrs=BLOCK_B)
    return nodes


def block(member: ClusterHost, cidrs: tuple[str, ...]) -> Block:
    return Block("pods", tuple(map(ip_network, cidrs)), member.name, member.instance)


def version(nodes: NodeStore, name: str) -> str:
    found: str = nodes.get(name)["metadata"]["resourceVersion"]
    return found


# hosts ---------------------------------------------------------------------------------


def test_an_announced_host_is_seen_by_all_with_its_block(both: NodeStore) -> None:
    both.directory().announce(A)
    there = both.directory().snapshot()
    assert there.hosts == {"a": A}
    assert there.blocks == {block(A, BLOCK_A).key: block(A, BLOCK_A)}
    assert there.alive == {"a", "b"}
    assert there.networks["pods"].subnets == ()


def test_nothing_is_written_for_a_host_that_has_not_changed(both: NodeStore) -> None:
    directory = both.directory()
    directory.announce(A)
    before = version(both, "a")
    directory.announce(A)
    assert version(both, "a") == before


def test_a_node_without_an_entry_is_named(nodes: NodeStore) -> None:
    with pytest.raises(NotReady, match="no Node a"):
        nodes.directory().announce(A)


def test_only_addresses_of_the_node_are_announced(both: NodeStore) -> None:
    with pytest.raises(NotReady, match=r"192\.0\.2\.99"):
        both.directory().announce(host("a", "", "192.0.2.99"))
    assert both.directory().snapshot().hosts == {}


def test_an_address_that_the_node_does_not_have_is_not_believed(both: NodeStore) -> None:
    both.directory().announce(A)
    content = both.get("a")["metadata"]["annotations"][ANNOTATION]
    both.change("a", {"metadata": {"annotations": {ANNOTATION: content.replace("192.0.2.11", "192.0.2.98")}}})
    directory = both.directory()
    assert directory.snapshot().hosts == {}
    assert any("192.0.2.98" in sentence for sentence in directory.skipped())


def test_another_host_of_the_name_is_refused(both: NodeStore) -> None:
    """Its Node has both hosts' addresses, and the first one's announcement."""
    both.change("a", {"status": {"addresses": [_address("192.0.2.11"), _address("192.0.2.13")]}})
    both.directory().announce(A)
    other = host("a", "another", "192.0.2.13")
    with pytest.raises(Conflict) as caught:
        both.directory().announce(other)
    assert A.instance in str(caught.value)
    assert other.instance in str(caught.value)


def test_a_reinstalled_host_takes_its_name_over(both: NodeStore) -> None:
    """It is reached at the same address, so it is the same machine."""
    both.directory().announce(A)
    again = host("a", "reinstalled", "192.0.2.11")
    both.directory().announce(again)
    assert both.directory().snapshot().hosts == {"a": again}


def test_a_silent_host_is_not_alive_and_nothing_else_changes(both: NodeStore) -> None:
    both.directory().announce(A)
    both.ready("a", "Unknown")
    there = both.directory().snapshot()
    assert there.alive == {"b"}
    assert there.hosts == {"a": A}
    both.ready("a", "False")
    assert both.directory().snapshot().alive == {"a", "b"}


def test_a_host_that_shows_life_is_removed_only_by_itself_or_by_force(both: NodeStore) -> None:
    directory = both.directory()
    directory.announce(A)
    with pytest.raises(Forbidden):
        both.directory().leave("a")
    both.directory().leave("a", instance=A.instance)
    assert directory.snapshot().hosts == {}
    directory.announce(A)
    both.directory().leave("a", force=True)
    assert directory.snapshot().hosts == {}
    both.directory().leave("nobody")
    assert ANNOTATION not in both.get("a")["metadata"].get("annotations", {})


def test_other_annotations_stay(both: NodeStore) -> None:
    both.change("a", {"metadata": {"annotations": {"example.com/other": "stays"}}})
    directory = both.directory()
    directory.announce(A)
    directory.leave("a", force=True)
    assert both.get("a")["metadata"]["annotations"] == {"example.com/other": "stays"} | {
        key: value
        for key, value in both.get("a")["metadata"]["annotations"].items()
        if key.startswith("volumes.kubernetes.io/")
    }


# blocks ----------------------------------------------------------------------------------


def test_a_claim_gives_the_podcidrs(both: NodeStore) -> None:
    directory = both.directory()
    network = directory.snapshot().networks["pods"]
    claimed = directory.claim(network, A)
    assert claimed == block(A, BLOCK_A)
    assert directory.claim_again(claimed)
    assert not directory.claim_again(claimed._replace(subnets=(ip_network("10.99.0.0/24"),)))
    directory.release(claimed)
    assert both.get("a")["spec"]["podCIDRs"] == list(BLOCK_A)


def test_without_podcidrs_there_is_no_claim(nodes: NodeStore) -> None:
    nodes.add("a", "192.0.2.11")
    directory = nodes.directory()
    with pytest.raises(NotReady, match="podCIDR"):
        directory.claim(directory.snapshot().networks["pods"], A)
    nodes.change("a", {"spec": {"podCIDR": BLOCK_A[0], "podCIDRs": list(BLOCK_A)}})
    assert directory.claim(directory.snapshot().networks["pods"], A) == block(A, BLOCK_A)


def test_a_host_with_another_port_is_refused_and_told_both(both: NodeStore) -> None:
    both.directory().announce(A)
    directory = both.directory(port=4800)
    network = directory.snapshot().networks["pods"]
    assert network.port == 4799
    with pytest.raises(NotReady, match=r"(?s)4800.*4799"):
        directory.claim(network, B)


# watching ----------------------------------------------------------------------------------


def watched(directory: KubernetesDirectory, do: Callable[[], object], wanted: int) -> list[Change]:
    """The first `wanted` changes after `do`."""
    watch = directory.watch(directory.snapshot().revision)
    do()
    found: list[Change] = []
    for _, changes in watch:
        found += changes
        if len(found) >= wanted:
            break
    watch.close()  # type: ignore[attr-defined]
    return found


def test_a_host_that_joins_and_its_node_that_is_deleted_are_told(both: NodeStore) -> None:
    def happen() -> None:
        both.directory().announce(A)
        both.ready("a", "Unknown")
        both.remove("a")

    assert watched(both.directory(), happen, 5) == [
        Change("host", "a", A),
        Change("block", block(A, BLOCK_A).key, block(A, BLOCK_A)),
        Change("alive", "a", None),
        Change("block", block(A, BLOCK_A).key, None),
        Change("host", "a", None),
    ]


def test_a_report_of_a_kubelet_changes_nothing(both: NodeStore) -> None:
    def happen() -> None:
        condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
        both.change("a", {"status": {"conditions": [condition]}})
        both.directory().announce(B)

    assert watched(both.directory(), happen, 2) == [
        Change("host", "b", B),
        Change("block", block(B, BLOCK_B).key, block(B, BLOCK_B)),
    ]


def test_a_node_that_is_made_again_under_its_name_has_its_new_block(both: NodeStore) -> None:
    directory = both.directory()
    directory.announce(A)

    def happen() -> None:
        both.remove("a")
        both.add("a", "192.0.2.11", cidrs=("10.244.7.0/24",))
        both.directory().announce(A)

    changes = watched(both.directory(), happen, 5)
    new = block(A, ("10.244.7.0/24",))
    assert Change("block", block(A, BLOCK_A).key, None) in changes
    assert changes[-1] == Change("block", new.key, new)
    directory.announce(A)
    assert directory.snapshot().blocks == {new.key: new}


def test_a_watch_of_what_is_forgotten_ends_and_a_new_list_goes_on(both: NodeStore) -> None:
    directory = both.directory()
    before = directory.snapshot().revision
    both.directory().announce(A)
    both.directory().announce(B)
    both.forget()
    with pytest.raises(WatchEnded, match="compacted"):
        for _ in directory.watch(before):
            pass
    assert directory.snapshot().hosts == {"a": A, "b": B}
    both.directory().leave("b", force=True)
    directory.snapshot()


# who may ask -------------------------------------------------------------------------------


def test_without_rights_the_hint_names_them(both: NodeStore, tmp_path: Path) -> None:
    both.kubeconfig_without_rights(tmp_path / "nobody")
    with pytest.raises(DirectoryUnreachable, match="refused") as caught:
        both.opened(tmp_path / "nobody").snapshot()
    assert "get, list and watch of nodes, and patch of nodes/status" in caught.value.hint


def test_a_token_of_nobody_is_refused(both: NodeStore, tmp_path: Path) -> None:
    path = tmp_path / "wrong"
    both.kubeconfig(path)
    config = json.loads(path.read_text())
    config["users"][0]["user"] = {"token": "wrong"}
    path.write_text(json.dumps(config))
    with pytest.raises(DirectoryUnreachable, match="nauthorized"):
        both.opened(path).snapshot()


def test_many_nodes_come_in_pages(nodes: NodeStore) -> None:
    """More than one page, while Nodes are added."""
    names = [f"n{number:04}" for number in range(620)]
    for name in names:
        nodes.add(name, "192.0.2.99")
    directory = nodes.directory()
    assert directory.snapshot().alive == frozenset(names)
    nodes.add("later", "192.0.2.98")
    assert directory.snapshot().alive == frozenset([*names, "later"])


def _address(text: str) -> dict[str, str]:
    return {"type": "InternalIP", "address": text}
