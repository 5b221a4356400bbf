"""Overlay networks through the whole engine: hosts in memory, one directory."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cluster.values import VXLAN_PORT, Snapshot
from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.network import cluster_networks, grow_overlay
from cni_cnm.cnm.packet_filter import overlay_elements
from cni_cnm.cnm.records import NetworkRecord
from cni_cnm.errors import (
    ActiveEndpoints,
    AddressesExhausted,
    Conflict,
    DirectoryUnreachable,
    InvalidConfig,
    IoFailed,
    NotReady,
)
from cni_cnm.firewall import INET
from cni_cnm.model import EndpointSpec, ip_interface
from tests.cluster.hosts import ClusterWorld, addresses, overlay
from tests.cluster.memory_directory import MemoryDirectory, MemoryStore

SUBNET, SUBNET6 = "10.32.0.0/16", "fd32::/48"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def host(tmp_path: Path, store: MemoryStore) -> Callable[..., ClusterWorld]:
    def make(name: str = "node1", instance: str = "") -> ClusterWorld:
        return ClusterWorld(tmp_path / f"{name}{instance}", store, name, instance)

    return make


Hosts = Callable[..., ClusterWorld]


# joining --------------------------------------------------------------------------


def test_the_first_add_makes_the_network_for_all_hosts(host: Hosts, store: MemoryStore) -> None:
    one = host()
    made = one.add("a", overlay("web", SUBNET, SUBNET6))
    network = store.networks["web"]
    assert (network.subnets, network.block_sizes) == ((ip_network(SUBNET), ip_network(SUBNET6)), (24, 64))
    assert (network.vni, network.port, network.direct) == (4096, VXLAN_PORT, "auto")
    assert len(network.id) == 32
    [block] = store.blocks.values()
    assert (block.host, block.instance) == ("node1", one.cluster.me.instance)
    first, second = (address.interface for address in made.addresses)
    assert (first.network, second.network) == block.subnets
    assert [str(a.gateway) for a in made.addresses] == [str(subnet[1]) for subnet in block.subnets]
    assert {str(route.dst) for route in made.routes} == {"0.0.0.0/0", "::/0", SUBNET, SUBNET6}
    assert all(directory.closed for directory in one.cluster.opened)


def test_other_hosts_join_it_by_its_name(host: Hosts, store: MemoryStore) -> None:
    one, two = host("node1"), host("node2")
    one.add("a", overlay("web", SUBNET))
    two.add("a", overlay())
    assert {block.host for block in store.blocks.values()} == {"node1", "node2"}
    assert not set(one.blocks()) & set(two.blocks())
    assert one.record().options == two.record().options


def test_a_pod_on_a_joined_network_asks_nothing(host: Hosts, store: MemoryStore) -> None:
    """Neither a read nor a write of the store: pods start while it is away."""
    one = host()
    one.add("a", overlay("web", SUBNET))
    before, one.cluster.reachable = store.requests, False
    one.add("b", overlay())
    one.add("c", overlay("web", SUBNET))
    one.delete("b")
    one.controller.collect(overlay(), "test", (), {})
    assert store.requests == before
    assert len(one.cluster.opened) == 1


def test_the_record_survives_and_is_read_again(host: Hosts) -> None:
    one = host()
    one.add("a", overlay("web", SUBNET, SUBNET6, block=25, direct="never", port=4800, vni=5000))
    record = one.record()
    assert NetworkRecord.from_json(record.to_json()) == record
    options = record.options.to_json()
    assert (options["block"], options["block6"], options["vni"]) == (25, 64, 5000)
    assert options["bridge"]["outside"] == "cnm-vx5000"


def test_no_subnet_and_no_network(host: Hosts, store: MemoryStore) -> None:
    one = host()
    with pytest.raises(InvalidConfig, match=r"web is not in memory, and no subnet is given"):
        one.add("a", overlay())
    assert not store.blocks
    assert not list(one.engine.store.names("networks"))


def test_a_host_without_a_cluster(host: Hosts) -> None:
    one = host()
    one.engine.cluster = None
    with pytest.raises(InvalidConfig, match=r"no part \[cluster\]"):
        one.add("a", overlay("web", SUBNET))


def test_a_store_that_does_not_answer(host: Hosts) -> None:
    one = host()
    one.cluster.reachable = False
    with pytest.raises(DirectoryUnreachable):
        one.add("a", overlay("web", SUBNET))
    assert not list(one.engine.store.names("networks"))
    one.cluster.reachable = True
    one.add("a", overlay("web", SUBNET))


def test_another_host_of_the_same_name(host: Hosts, store: MemoryStore) -> None:
    one, clone = host("node1", "a" * 32), host("node1", "b" * 32)
    store.hosts["node1"] = one.cluster.me
    with pytest.raises(NotReady, match=f"{'a' * 32}, this one's is {'b' * 32}"):
        clone.add("a", overlay("web", SUBNET))
    assert not store.blocks


def test_a_vni_that_another_network_of_this_host_has(host: Hosts, store: MemoryStore) -> None:
    """A store that was restored from a backup gives it out again. Both would use one device."""
    before = store.backup()
    one, two = host("node1"), host("node2")
    one.add("a", overlay("db", "10.33.0.0/16"))
    store.restore(before)
    two.add("a", overlay("web", SUBNET))
    with pytest.raises(Conflict, match=r"network web has the VNI 4096 in the cluster, and the network db of this host"):
        one.add("b", overlay())
    assert {block.host for block in store.blocks.values()} == {"node2"}
    one.delete("a", "db")
    one.controller.network("db").delete()
    one.add("b", overlay())


def test_a_failure_after_the_claim_gives_the_block_back(host: Hosts, store: MemoryStore) -> None:
    one = host()
    one.host.add_address(one.link("eth1").ifindex, ip_interface("10.32.200.1/24"))
    with pytest.raises(Conflict, match=r"eth1, which has the address 10.32.200.1/24"):
        one.add("a", overlay("web", SUBNET))
    assert not store.blocks


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"block": 26}, r"block 26, and the overlay network of all hosts has 24"),
        ({"direct": "never"}, r"direct never, and the overlay network of all hosts has auto"),
        ({"port": 4789}, r"port 4789, and the overlay network of all hosts has 4799"),
        ({"vni": 7}, r"vni 7, and the overlay network of all hosts has 4096"),
        ({"block6": 64}, r"block6 64, and the overlay network of all hosts has none"),
    ],
)
def test_another_value_than_all_hosts_have(host: Hosts, config: dict[str, Any], said: str) -> None:
    one, two = host("node1"), host("node2")
    one.add("a", overlay("web", SUBNET))
    for joined, world in ((True, one), (False, two)):
        with pytest.raises(InvalidConfig, match=said):
            world.add("b", overlay("web", **config))
        with pytest.raises(NotReady, match=said):
            world.controller.status(overlay("web", **config), exhausted_is_error=False)
        assert joined == bool(list(world.engine.store.names("networks")))
    with pytest.raises(InvalidConfig, match=r"an IPv4 subnet 10.33.0.0/16, and .* has 10.32.0.0/16"):
        one.add("b", overlay("web", "10.33.0.0/16"))


# growing --------------------------------------------------------------------------


def test_a_full_block_is_joined_by_another(host: Hosts, store: MemoryStore) -> None:
    one = host()
    for number in range(8):  # of a /29 five addresses are given: not the network's, the gateway's, the broadcast's
        one.add(f"c{number}", overlay("web", SUBNET, block=29))
    assert len(one.blocks()) == 2
    assert len(store.blocks) == 2
    bridge = one.link(one.record().policy.bridge)
    gateways = {str(address) for address in one.host.addresses(bridge.ifindex)}
    assert {f"{ip_network(block)[1]}/29" for block in one.blocks()} <= gateways


def test_a_full_block_and_no_store(host: Hosts, store: MemoryStore) -> None:
    one = host()
    for number in range(5):
        one.add(f"c{number}", overlay("web", SUBNET, block=29))
    one.cluster.reachable = False
    with pytest.raises(DirectoryUnreachable, match=r"no free address in .*, and no further block can be claimed"):
        one.add("d", overlay())
    assert len(store.blocks) == 1
    one.delete("c0")
    one.add("d", overlay())


def test_a_full_network(host: Hosts) -> None:
    one = host()
    for number in range(10):
        one.add(f"c{number}", overlay("web", "10.32.0.0/28", block=29))
    with pytest.raises(AddressesExhausted, match="no free block"):
        one.add("d", overlay())


def test_dual_stack_grows_in_both(host: Hosts) -> None:
    one = host()
    last = [one.add(f"c{number}", overlay("web", SUBNET, SUBNET6, block=29)) for number in range(6)][-1]
    sets = one.record().ipam["ranges"]
    assert [len(members) for members in sets] == [2, 2]
    assert addresses(last)[0].startswith(sets[0][1]["subnet"].rpartition(".")[0])


def test_a_block_of_a_killed_call_is_another_hosts_when_it_is_claimed(
    host: Hosts, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`node rm` frees all blocks of the host after they were read. The claim gives the one on record: not twice."""
    one, two = host("node1"), host("node2")
    for number in range(5):
        one.add(f"c{number}", overlay("web", SUBNET, block=29))
    network = store.networks["web"]
    on_record, left = one.blocks(), store.directory().claim(network, one.cluster.me)
    read = MemoryDirectory.snapshot

    def and_then_removed(self: MemoryDirectory) -> Snapshot:
        found = read(self)
        monkeypatch.setattr(MemoryDirectory, "snapshot", read)
        store.blocks.clear()
        store.directory().claim(network, two.cluster.me, [left.subnets])
        return found

    monkeypatch.setattr(MemoryDirectory, "snapshot", and_then_removed)
    one.add("d", overlay())
    first, second = one.blocks()
    assert [first] == on_record
    assert second not in (first, str(left.subnets[0]))
    one.add("e", overlay())


def test_a_block_of_a_killed_call_is_given_back_if_it_cannot_be_used(host: Hosts, store: MemoryStore) -> None:
    one = host()
    for number in range(5):
        one.add(f"c{number}", overlay("web", SUBNET, block=29))
    before = dict(store.blocks)
    left = store.directory().claim(store.networks["web"], one.cluster.me)
    one.host.add_address(one.link("eth1").ifindex, ip_interface(f"{left.subnets[0][2]}/29"))
    with pytest.raises(Conflict, match="eth1"):
        one.add("d", overlay())
    assert store.blocks == before


# lost blocks ----------------------------------------------------------------------


def test_a_lost_block_gives_no_address_and_its_pods_stay(host: Hosts) -> None:
    one = host()
    one.add("a", overlay("web", SUBNET))
    block = ip_network(one.blocks()[0])
    grow_overlay.mark_lost(one.engine, "web", block, "node2")
    with pytest.raises(NotReady, match=rf"{block} \(node2\)"):
        one.add("b", overlay())
    assert one.blocks() == [str(block)]
    one.delete("a")
    grow_overlay.mark_lost(one.engine, "web", block, "")
    one.add("b", overlay())


def test_of_two_blocks_the_other_one_is_used(host: Hosts) -> None:
    one = host()
    for number in range(6):
        one.add(f"c{number}", overlay("web", SUBNET, block=29))
    kept, lost = map(ip_network, one.blocks())
    grow_overlay.mark_lost(one.engine, "web", lost, "node2")
    one.delete("c0")
    assert ip_interface(addresses(one.add("d", overlay()))[0]).ip in kept


def test_marks_of_two_blocks_are_apart(host: Hosts) -> None:
    """An agent that was started again learns of one after the other: until then the other one's mark stays."""
    one = host()
    for number in range(6):
        one.add(f"c{number}", overlay("web", SUBNET, block=29))
    first, second = map(ip_network, one.blocks())
    grow_overlay.mark_lost(one.engine, "web", first, "node2")
    grow_overlay.mark_lost(one.engine, "web", second, "node3")
    assert overlay_record.lost(one.record()) == {first: "node2", second: "node3"}
    grow_overlay.mark_lost(one.engine, "web", first, "")
    assert overlay_record.lost(one.record()) == {second: "node3"}
    grow_overlay.mark_lost(one.engine, "web", ip_network("10.99.0.0/29"), "node2")
    assert overlay_record.lost(one.record()) == {second: "node3"}


@pytest.mark.parametrize("number", [0, 1])
def test_the_packet_filter_follows_the_marks(host: Hosts, number: int) -> None:
    """Else the next block could not be put in beside them, and they would be left when the network is removed."""
    one = host()
    for count in range(6):
        one.add(f"c{count}", overlay("web", SUBNET, block=29))
    lost = ip_network(one.blocks()[number])
    grow_overlay.mark_lost(one.engine, "web", lost, "node2")
    assert source_elements(one) == wanted_elements(one)
    grow_overlay.mark_lost(one.engine, "web", lost, "")
    assert source_elements(one) == wanted_elements(one)
    grow_overlay.mark_lost(one.engine, "web", lost, "node2")
    for count in range(6):
        one.delete(f"c{count}")
    one.controller.network("web").delete()
    assert source_elements(one) == set()


def test_a_mark_that_cannot_be_written_changes_nothing(host: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    one = host()
    one.add("a", overlay("web", SUBNET))

    def full(*_: object) -> None:
        raise IoFailed("no space left on device")

    block = ip_network(one.blocks()[0])
    monkeypatch.setattr(one.engine.store, "put", full)
    with pytest.raises(IoFailed):
        grow_overlay.mark_lost(one.engine, "web", block, "node2")
    assert source_elements(one) == wanted_elements(one)
    assert overlay_record.lost(one.record()) == {}


def source_elements(world: ClusterWorld) -> set[tuple[str, str]]:
    """Of the map of gateways: part of the subnet, gateway."""
    return {(element.key, element.value) for element in world.nft.sets.get((INET, "overlay_source4"), {}).values()}


def wanted_elements(world: ClusterWorld) -> set[tuple[str, str]]:
    put = overlay_elements.of_network(world.record()).put
    return {(element.key, element.value) for element in put if element.set == "overlay_source4"}


# leaving --------------------------------------------------------------------------


def test_removing_the_network_frees_the_blocks(host: Hosts, store: MemoryStore) -> None:
    one, two = host("node1"), host("node2")
    one.add("a", overlay("web", SUBNET))
    two.add("a", overlay())
    one.delete("a")
    assert one.controller.network("web").delete() == []
    assert {block.host for block in store.blocks.values()} == {"node2"}
    assert "web" in store.networks
    assert one.nft.sets.get((INET, "overlay4"), {}) == {}


def test_removing_it_without_the_store_and_joining_again(host: Hosts, store: MemoryStore) -> None:
    one = host()
    one.add("a", overlay("web", SUBNET))
    block = one.blocks()
    one.delete("a")
    one.cluster.reachable = False
    [note] = one.controller.network("web").delete()
    assert "stay this host's in the directory" in note
    one.cluster.reachable = True
    one.add("a", overlay())
    assert one.blocks() == block, "the block that the directory still has as this host's"
    assert len(store.blocks) == 1


def test_this_host_is_not_removed_while_it_has_endpoints(host: Hosts, store: MemoryStore) -> None:
    """Its agent is stopped, so it shows no life. Its blocks would be free, and containers have their addresses."""
    one, two = host("node1"), host("node2")
    one.add("a", overlay("web", SUBNET))
    with pytest.raises(ActiveEndpoints, match=r"node1 is this host, and its network web has endpoints, such as web/a"):
        cluster_networks.remove_host(one.engine, "node1", force=False)
    assert len(store.blocks) == 1
    assert len(cluster_networks.remove_host(one.engine, "node1", force=True)) == 1
    two.add("a", overlay())
    assert len(cluster_networks.remove_host(one.engine, "node2", force=False)) == 1, "of another host nothing is known"


def test_this_host_is_removed_when_it_has_no_endpoints(host: Hosts, store: MemoryStore) -> None:
    one = host("node1")
    one.add("a", overlay("web", SUBNET))
    one.delete("a")
    assert len(cluster_networks.remove_host(one.engine, "node1", force=False)) == 1
    assert not store.blocks


# frontends ------------------------------------------------------------------------


def test_ranges_of_the_runtime_are_refused(host: Hosts) -> None:
    with pytest.raises(InvalidConfig, match="ipRanges"):
        host().add("a", overlay("web", SUBNET), ranges=([{"subnet": "10.9.0.0/24"}],))


def test_ip_versions_are_known_before_an_attach(host: Hosts) -> None:
    one = host()
    spec = EndpointSpec("a", "eth0", "/netns/a", "test")
    assert one.controller.families(overlay(), spec) is None
    one.add("a", overlay("web", SUBNET, SUBNET6))
    assert one.controller.families(overlay(), spec) == (4, 6)
