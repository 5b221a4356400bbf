"""The directory's contract over a real kube-apiserver: the tests of tests/cluster, and what only the real one shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cni_cnm.cluster.directory import Directory
from cni_cnm.cluster.kubernetes import own_node
from cni_cnm.cluster.kubernetes.announcement import ANNOTATION
from cni_cnm.cluster.kubernetes.failure import Failure
from cni_cnm.cluster.values import Change
from cni_cnm.errors import DirectoryUnreachable, NotReady
from tests.cluster.examples import host
from tests.cluster.test_contract_of_all import *  # noqa: F403
from tests.cluster.test_contract_of_all import A, B
from tests.cluster.test_contract_of_assigned import *  # noqa: F403
from tests.kubernetes.real.api_server import ApiServer
from tests.kubernetes.real.real_store import RealStore


@pytest.fixture
def any_store(api_server: ApiServer, tmp_path: Path) -> Iterator[RealStore]:
    made = RealStore(tmp_path, api_server)
    yield made
    made.close()


@pytest.fixture
def assigning_store(any_store: RealStore) -> RealStore:
    return any_store


@pytest.fixture  # type: ignore[no-redef]
def directory(any_store: RealStore, request: pytest.FixtureRequest) -> Directory:
    """With Nodes for the hosts of the contract of all directories."""
    if "assigning_store" not in request.fixturenames:
        for name in "abc":
            any_store.expect(host(name))
    return any_store.directory()


@pytest.fixture
def nodes(any_store: RealStore) -> RealStore:
    """With the Nodes a and b."""
    for each in (A, B):
        any_store.expect(each)
    return any_store


def test_a_host_without_a_node_is_named(any_store: RealStore) -> None:
    with pytest.raises(NotReady, match="no Node a"):
        any_store.directory().announce(A)


def test_only_addresses_of_the_node_are_announced_and_believed(nodes: RealStore) -> None:
    directory = nodes.directory()
    with pytest.raises(NotReady, match=r"198\.51\.100\.9"):
        directory.announce(host("a", "", "198.51.100.9"))
    directory.announce(A)
    content = nodes.get("a")["metadata"]["annotations"][ANNOTATION]
    nodes.annotate("a", {ANNOTATION: content.replace(str(A.addresses[0]), "198.51.100.9")})
    assert directory.snapshot().hosts == {}
    assert any("198.51.100.9" in sentence for sentence in directory.skipped())


def test_a_reinstalled_host_takes_its_name_over(nodes: RealStore) -> None:
    """It is reached at the same address, so it is the same machine."""
    nodes.directory().announce(A)
    again = host("a", "reinstalled", str(A.addresses[0]))
    nodes.directory().announce(again)
    assert nodes.directory().snapshot().hosts == {"a": again}


def test_other_annotations_stay(nodes: RealStore) -> None:
    nodes.annotate("a", {"example.com/other": "stays"})
    directory = nodes.directory()
    directory.announce(A)
    directory.leave("a", force=True)
    there = nodes.get("a")["metadata"]["annotations"]
    assert there["example.com/other"] == "stays"
    assert ANNOTATION not in there


def test_a_node_that_is_made_anew_meanwhile_is_not_written(nodes: RealStore) -> None:
    """The API server refuses a patch with the UID of the Node before."""
    uid = nodes.get("a")["metadata"]["uid"]
    nodes.delete("a")
    nodes.expect(A)
    client = nodes.directory()._client
    client.begin()
    with pytest.raises(Failure) as caught:
        own_node._patch(client, "a", uid, "{}")
    assert caught.value.other_uid
    assert ANNOTATION not in nodes.get("a")["metadata"].get("annotations", {})


def test_a_host_with_another_port_is_refused_and_told_both(nodes: RealStore) -> None:
    nodes.directory().announce(A)
    directory = nodes.directory(port=4800)
    network = directory.snapshot().networks["pods"]
    assert network.port == 4799
    with pytest.raises(NotReady, match=r"(?s)4800.*4799"):
        directory.claim(network, B)


def test_reports_of_a_kubelet_change_nothing(nodes: RealStore) -> None:
    directory = nodes.directory()
    watch = directory.watch(directory.snapshot().revision)
    condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
    nodes.status("a", {"conditions": [condition]})
    nodes.directory().announce(B)
    found: list[Change] = []
    for _, changes in watch:
        found += changes
        if any(each.kind == "block" for each in found):
            break
    assert [each.key for each in found if each.kind == "host"] == ["b"]
    assert not [each for each in found if each.key == "a"]


def test_without_rights_the_hint_names_them(nodes: RealStore) -> None:
    with pytest.raises(DirectoryUnreachable, match="refused") as caught:
        nodes.directory_without_rights().snapshot()
    assert "get, list and watch of nodes, and patch of nodes/status" in caught.value.hint


def test_a_token_of_nobody_is_refused(nodes: RealStore) -> None:
    with pytest.raises(DirectoryUnreachable, match="Unauthorized") as caught:
        nodes.opened("wrong").snapshot()
    assert "still valid" in caught.value.hint


def test_many_nodes(any_store: RealStore) -> None:
    """A first list, a later one that wants at least what was seen, and one in pages."""
    names = [f"n{number:04}" for number in range(520)]
    for name in names:
        any_store.node(name, ["192.0.2.99"], ())
    directory = any_store.directory()
    assert directory.snapshot().alive == frozenset(names)
    any_store.node("later", ["192.0.2.98"], ())
    assert directory.snapshot().alive == frozenset([*names, "later"])
    assert directory._contents is not None
    directory._contents.version = "99999999"
    assert directory.snapshot().alive == frozenset([*names, "later"]), "the list of a server that is behind"
