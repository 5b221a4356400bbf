"""The contract of a directory that gives each host its block: the stand-in for Kubernetes' API, and one in memory.

tests/kubernetes/real runs it with the real API server, by a fixture `assigning_store` of its own.
"""

from __future__ import annotations

import pytest

from cni_cnm.cluster.directory import Directory
from cni_cnm.cluster.values import Block, Change, OverlayNetwork
from cni_cnm.errors import NotReady
from cni_cnm.model import ip_network
from tests.cluster.assigning_stores import AssigningTestStore
from tests.cluster.examples import host

A, B = host("a"), host("b")
BLOCK_A, BLOCK_B = (ip_network("10.244.0.0/24"),), (ip_network("10.244.1.0/24"),)


@pytest.fixture
def directory(assigning_store: AssigningTestStore) -> Directory:
    return assigning_store.directory()


def pods(directory: Directory) -> OverlayNetwork:
    return directory.snapshot().networks["pods"]


def until(directory: Directory, watch: object, wanted: Change) -> list[Change]:
    """The changes up to this one."""
    found: list[Change] = []
    for _, changes in watch:  # type: ignore[attr-defined]
        found += changes
        if wanted in found:
            return found
    raise AssertionError(found)


def test_there_is_one_network_without_subnets_and_blocks_are_the_stores(directory: Directory) -> None:
    assert directory.assigns
    there = directory.snapshot()
    assert list(there.networks) == ["pods"]
    assert (pods(directory).subnets, pods(directory).block_sizes) == ((), ())
    assert (there.hosts, there.blocks) == ({}, {})
    assert directory.create_network(pods(directory)) == pods(directory)


def test_a_host_has_the_block_of_its_node(assigning_store: AssigningTestStore, directory: Directory) -> None:
    assigning_store.expect(A)
    block = directory.claim(pods(directory), A)
    assert block == Block("pods", BLOCK_A, "a", A.instance)
    assert directory.claim(pods(directory), A) == block
    directory.announce(A)
    assert assigning_store.directory().snapshot().blocks == {block.key: block}


def test_both_ip_versions_in_any_order(assigning_store: AssigningTestStore, directory: Directory) -> None:
    assigning_store.node("a", ["2001:db8::1"], ["10.244.0.0/24", "fd00:10:244::/64"])
    six = host("a", "", "2001:db8::1")
    assert directory.claim(pods(directory), six).subnets == (*BLOCK_A, ip_network("fd00:10:244::/64"))


def test_no_block_yet(assigning_store: AssigningTestStore, directory: Directory) -> None:
    assigning_store.node("a", [str(A.addresses[0])], [])
    with pytest.raises(NotReady, match="podCIDR"):
        directory.claim(pods(directory), A)
    directory.announce(A)
    assert directory.snapshot().blocks == {}
    watch = directory.watch(directory.snapshot().revision)
    assigning_store.node("a", [str(A.addresses[0])], ["10.244.0.0/24"])
    block = Block("pods", BLOCK_A, "a", A.instance)
    until(directory, watch, Change("block", block.key, block))
    assert directory.claim(pods(directory), A) == block


def test_a_block_stays_the_nodes_when_it_is_released(assigning_store: AssigningTestStore, directory: Directory) -> None:
    assigning_store.expect(A)
    block = directory.claim(pods(directory), A)
    directory.announce(A)
    directory.release(block)
    assert directory.snapshot().blocks == {block.key: block}
    assert directory.claim_again(block)
    assert not directory.claim_again(block._replace(subnets=BLOCK_B))
    assert not directory.claim_again(block._replace(host="nowhere"))


def test_a_node_that_is_deleted_and_made_again_under_its_name(
    assigning_store: AssigningTestStore, directory: Directory
) -> None:
    assigning_store.expect(A)
    directory.announce(A)
    block = directory.claim(pods(directory), A)
    other = assigning_store.directory()
    watch = other.watch(other.snapshot().revision)
    assigning_store.delete("a")
    until(other, watch, Change("host", "a", None))
    assert not directory.claim_again(block)
    assigning_store.node("a", [str(A.addresses[0])], ["10.244.9.0/24"])
    directory.announce(A)
    new = Block("pods", (ip_network("10.244.9.0/24"),), "a", A.instance)
    until(other, watch, Change("block", new.key, new))
    assert directory.claim(pods(directory), A) == new
    assert not directory.claim_again(block)


def test_life_is_shown_by_the_kubelet(assigning_store: AssigningTestStore, directory: Directory) -> None:
    assigning_store.expect(A)
    directory.announce(A)
    directory.show_life(A)
    assert "a" in directory.snapshot().alive
    assigning_store.expire("a")
    assert "a" not in directory.snapshot().alive
    assert directory.snapshot().hosts == {"a": A}
    assigning_store.show_life("a")
    assert "a" in directory.snapshot().alive


def test_hosts_and_blocks_are_watched(assigning_store: AssigningTestStore, directory: Directory) -> None:
    assigning_store.expect(A)
    assigning_store.expect(B)
    other = assigning_store.directory()
    watch = directory.watch(directory.snapshot().revision)
    other.announce(A)
    block = Block("pods", BLOCK_A, "a", A.instance)
    found = until(directory, watch, Change("block", block.key, block))
    assert Change("host", "a", A) in found
    other.announce(B)
    block = Block("pods", BLOCK_B, "b", B.instance)
    found = until(directory, watch, Change("block", block.key, block))
    assert Change("host", "b", B) in found
    other.leave("b", instance=B.instance)
    found = until(directory, watch, Change("host", "b", None))
    there = other.snapshot()
    assert there.hosts == {"a": A}
