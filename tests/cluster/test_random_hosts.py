"""Random operations of several hosts on one network, against a model: no address twice, no block of two hosts.

Containers come and go, blocks are used up and others claimed, the store is away for some, hosts are removed, and come
back with what they have on their disks. What the agent does when it comes back (claim again, say what is lost) is done
here as the agent does it.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.network import cluster_networks, grow_overlay
from cni_cnm.cnm.records import load_network
from cni_cnm.errors import AddressesExhausted, CnmError, DirectoryUnreachable, NotReady
from tests.cluster.hosts import ClusterWorld, overlay
from tests.cluster.memory_directory import MemoryStore

NAMES = ("node1", "node2", "node3")
SUBNET = "10.32.0.0/26"
"""Eight blocks of eight addresses, of which five are given to containers."""
OPERATIONS = 120


class Cluster:
    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.store = MemoryStore()
        self.hosts = {name: ClusterWorld(folder / name, self.store, name) for name in NAMES}
        self.pods: dict[str, dict[str, str]] = {name: {} for name in NAMES}
        """By host and container: the address."""
        self.lost: dict[str, dict[str, str]] = {name: {} for name in NAMES}
        """Of those the containers whose block another host has taken since."""
        self.count = 0

    # operations -----------------------------------------------------------------

    def add(self, name: str) -> None:
        host, self.count = self.hosts[name], self.count + 1
        requests, full = self.store.requests, self._is_full(name)
        try:
            made = host.add(f"c{self.count}", overlay("web", SUBNET, block=29))
        except AddressesExhausted:
            assert len(self.store.blocks) == 8, "a block was free"
            assert full
        except DirectoryUnreachable:
            assert not host.cluster.reachable
            assert full, "there was an address without the store"
        except NotReady:
            assert self._only_lost(name), "it has a block of its own"
        else:
            self.pods[name][f"c{self.count}"] = str(made.addresses[0].interface)
            assert (self.store.requests == requests) == (not full), "the store is asked when the blocks are full"

    def delete(self, name: str) -> None:
        if self.pods[name]:
            container = self.random.choice(sorted(self.pods[name]))
            self.hosts[name].delete(container)
            del self.pods[name][container]
            self.lost[name].pop(container, None)

    def cut(self, name: str) -> None:
        self.hosts[name].cluster.reachable = not self.hosts[name].cluster.reachable

    def remove_network(self, name: str) -> None:
        """Of a host without containers on it."""
        if not self.pods[name] and load_network(self.hosts[name].engine.store, "web"):
            self.hosts[name].controller.network("web").delete()

    def remove_host(self, name: str) -> None:
        """`node rm` by another host: the blocks are free, and the containers run on."""
        other = self.hosts[self.random.choice([one for one in NAMES if one != name])]
        if other.cluster.reachable:
            try:
                cluster_networks.remove_host(other.engine, name, force=True)
            except CnmError:
                assert not any(block.host == name for block in self.store.blocks.values())

    def come_back(self, name: str) -> None:
        """The agent of a host reads the directory again: it claims what it has on disk, and marks what it has lost."""
        host = self.hosts[name]
        record = load_network(host.engine.store, "web")
        if record is None or not host.cluster.reachable:
            return
        directory = host.cluster.directory()
        for block in overlay_record.directory_blocks(record, name, host.cluster.me.instance):
            holder = ""
            if not directory.claim_again(block):
                there = directory.snapshot().blocks.get(block.key)
                holder = there.host if there else "none"
            grow_overlay.mark_lost(host.engine, "web", block.subnets[0], holder)
        directory.close()

    # what must hold -------------------------------------------------------------

    def check(self) -> None:
        owners = Counter(key for key in self.store.blocks)
        assert all(number == 1 for number in owners.values())
        for name, pods in self.pods.items():
            for container, text in pods.items():
                holder = self._holder(text)
                if holder not in ("", name):
                    self.lost[name].setdefault(container, text)
        given = Counter(
            text for name, pods in self.pods.items() for container, text in pods.items()
            if container not in self.lost[name]
        )  # fmt: skip
        assert all(number == 1 for number in given.values()), given.most_common(3)
        for name, host in self.hosts.items():
            assert host.leases("web") >= {str(ip_interface(text).ip) for text in self.pods[name].values()}

    def _holder(self, text: str) -> str:
        """Whose block an address is in, "" for none's."""
        address = ip_interface(text).ip
        return next((b.host for b in self.store.blocks.values() if address in b.subnets[0]), "")

    def _record_blocks(self, name: str) -> tuple[set[str], set[str]]:
        """All of a host's blocks on record, and the lost ones of them."""
        record = load_network(self.hosts[name].engine.store, "web")
        if record is None:
            return set(), set()
        return {str(b[0]) for b in overlay_record.blocks(record)}, {str(b) for b in overlay_record.lost(record)}

    def _is_full(self, name: str) -> bool:
        """Whether no block that the host has on record has a free address."""
        blocks, lost = self._record_blocks(name)
        used = Counter(str(ip_interface(text).network) for text in self.pods[name].values())
        return all(used[block] >= 5 for block in blocks - lost)

    def _only_lost(self, name: str) -> bool:
        blocks, lost = self._record_blocks(name)
        return bool(blocks) and blocks == lost


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 20))])
def test_random_operations(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), seed)
        steps = (
            *(cluster.add,) * 10, *(cluster.delete,) * 5, cluster.cut, cluster.remove_network, cluster.remove_host,
            *(cluster.come_back,) * 2,
        )  # fmt: skip
        for _ in range(OPERATIONS):
            name = cluster.random.choice(NAMES)
            step = cluster.random.choice(steps)
            step(name)
            if step == cluster.remove_host:  # its agent sees that before another host claims the blocks, or is cut off
                cluster.come_back(name)
            cluster.check()


def test_a_host_that_comes_back_after_its_block_was_taken(tmp_path: Path) -> None:
    """Its containers run on; it says whose the block is, and gives no address."""
    cluster = Cluster(tmp_path, 0)
    for name in NAMES[:2]:
        cluster.add(name)
    mine = cluster.hosts["node1"].blocks()[0]
    cluster.remove_host("node1")
    assert ip_network(mine) not in {block.subnets[0] for block in cluster.store.blocks.values()}
    while ip_network(mine) not in {block.subnets[0] for block in cluster.store.blocks.values()}:
        cluster.add("node2")
    cluster.come_back("node1")
    with pytest.raises(NotReady, match=rf"{mine} \(node2\)"):
        cluster.hosts["node1"].add("new", overlay())
    assert len(cluster.pods["node1"]) == 1
