"""The contract of every directory (cni_cnm/cluster/directory.py): etcd's and Kubernetes', and those in memory.

tests/kubernetes/real runs it with the real API server, by a fixture `any_store` of its own.
"""

from __future__ import annotations

import pytest

from cni_cnm.cluster.directory import Directory, WatchEnded
from cni_cnm.cluster.values import Change
from cni_cnm.errors import Conflict
from tests.cluster.examples import host
from tests.cluster.stores import TestStore

A, B, C = host("a"), host("b"), host("c")


@pytest.fixture
def directory(any_store: TestStore) -> Directory:
    for each in (A, B, C):
        any_store.expect(each)
    return any_store.directory()


def test_an_announced_host_is_seen_by_all(any_store: TestStore, directory: Directory) -> None:
    directory.announce(A)
    assert any_store.directory().snapshot().hosts == {"a": A}


def test_nothing_is_written_for_a_host_that_has_not_changed(directory: Directory) -> None:
    directory.announce(A)
    before = directory.snapshot().revision
    directory.announce(A)
    assert directory.snapshot().revision == before


def test_a_host_may_change_its_addresses(any_store: TestStore, directory: Directory) -> None:
    directory.announce(A)
    moved = host("a", "", "192.0.2.99", "2001:db8::99")
    any_store.expect(moved)
    directory.announce(moved)
    assert directory.snapshot().hosts == {"a": moved}


def test_another_host_of_the_name_is_refused_with_both_instances(any_store: TestStore, directory: Directory) -> None:
    directory.announce(A)
    other = host("a", "another")
    with pytest.raises(Conflict) as caught:
        any_store.directory().announce(other)
    assert A.instance in str(caught.value)
    assert other.instance in str(caught.value)
    assert directory.snapshot().hosts == {"a": A}


def test_removing_an_absent_host_is_no_error(directory: Directory) -> None:
    assert list(directory.leave("a")) == []


def test_a_watch_begins_where_the_list_ended(any_store: TestStore, directory: Directory) -> None:
    other = any_store.directory()
    before = directory.snapshot().revision
    other.announce(A)
    other.announce(B)
    revision = before
    found: list[Change] = []
    watch = directory.watch(before)
    while revision < other.snapshot().revision:
        revision, changes = next(watch)
        found += changes
    assert [each for each in found if each.kind == "host"] == [Change("host", "a", A), Change("host", "b", B)]
    assert revision == other.snapshot().revision


def test_a_watch_of_what_is_compacted_ends(any_store: TestStore, directory: Directory) -> None:
    before = directory.snapshot().revision
    other = any_store.directory()
    for each in (A, B, C):
        other.announce(each)
    any_store.compact()
    with pytest.raises(WatchEnded, match="compacted"):
        for _ in directory.watch(before):
            pass
