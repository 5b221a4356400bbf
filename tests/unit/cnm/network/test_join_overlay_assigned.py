"""A network of which only the hosts' blocks are known, through the whole engine: hosts in memory, one directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.records import NetworkRecord
from cni_cnm.errors import AddressesExhausted, InvalidConfig, NotReady
from cni_cnm.firewall import INET
from cni_cnm.model import EndpointSpec
from tests.cluster.assigning_directory import AssigningStore
from tests.cluster.hosts import ClusterWorld, addresses, overlay

PODS = overlay("pods")


@pytest.fixture
def store() -> AssigningStore:
    made = AssigningStore()
    made.assign("node1", "10.244.1.0/24")
    return made


@pytest.fixture
def node(tmp_path: Path, store: AssigningStore) -> ClusterWorld:
    return ClusterWorld(tmp_path, store, "node1")


def keys(node: ClusterWorld, name: str) -> set[str]:
    return {element.key for element in node.nft.elements(INET, name)}


def test_an_add_takes_the_block_of_the_node(node: ClusterWorld) -> None:
    """The pod has a default route alone: what other routes it would need is not known."""
    made = node.add("a", PODS)
    assert addresses(made) == ["10.244.1.2/24"]
    assert [str(route.dst) for route in made.routes] == ["0.0.0.0/0"]
    assert overlay_record.all_subnets(node.record("pods")) == ()
    assert keys(node, "overlay4") == set()
    assert keys(node, "overlay_source4") == set()
    assert NetworkRecord.from_json(node.record("pods").to_json()) == node.record("pods")


def test_answers_of_services_pass_connection_tracking(node: ClusterWorld) -> None:
    """kube-proxy redirects between pods of one bridge, whatever bridge-nf-call-iptables is."""
    node.add("a", PODS)
    node.add("b", PODS)
    assert [link.ip_hooks for link in node.host.links(kind="bridge")] == [True]


def test_a_second_pod_changes_no_record(node: ClusterWorld, store: AssigningStore) -> None:
    node.add("a", PODS)
    before, requests = node.record("pods"), store.requests
    node.add("b", PODS)
    assert node.record("pods") == before
    assert store.requests == requests


def test_both_ip_versions(node: ClusterWorld, store: AssigningStore) -> None:
    store.assign("node1", "10.244.1.0/24", "fd10:244:0:1::/64")
    assert addresses(node.add("a", PODS)) == ["10.244.1.2/24", "fd10:244:0:1::2/64"]
    assert node.controller.families(PODS, EndpointSpec("b", "eth0", "/netns/b", "test")) == (4, 6)


def test_no_block_yet(node: ClusterWorld, store: AssigningStore) -> None:
    store.assign("node1")
    with pytest.raises(NotReady, match="has no podCIDRs yet"):
        node.add("a", PODS)
    with pytest.raises(NotReady, match="has no podCIDRs yet"):
        node.controller.status(PODS, exhausted_is_error=False)


def test_a_full_block(node: ClusterWorld, store: AssigningStore) -> None:
    """There is no further one, and the directory is not asked for one."""
    store.assign("node1", "10.244.1.0/30")
    node.add("a", PODS)
    requests = store.requests
    with pytest.raises(AddressesExhausted):
        node.add("b", PODS)
    assert store.requests == requests


def test_a_configuration_with_a_subnet(node: ClusterWorld) -> None:
    """The directory knows none, and the pods' addresses would not be in it."""
    with pytest.raises(InvalidConfig, match="the overlay network of all hosts has none"):
        node.add("a", overlay("pods", "10.32.0.0/16"))


def test_removing_the_network(node: ClusterWorld) -> None:
    node.add("a", PODS)
    node.delete("a", "pods")
    node.controller.network("pods").delete()
    assert node.host.link("cnm-vx4096") is None
    assert node.nft.elements(INET, "networks") == []
