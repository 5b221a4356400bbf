"""A directory in memory, with the contract of cni_cnm/cluster/directory.py, for tests of what is built on one.

`MemoryStore` is what all hosts share; each host has a `MemoryDirectory` of its own, whose way to the store can be cut
(`reachable = False`). Time does not pass in a store: `store.expire(name)` is the end of a host's lease.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cni_cnm.cluster import block_index
from cni_cnm.cluster.directory import WatchEnded
from cni_cnm.cluster.pace import Pace
from cni_cnm.cluster.rules import LAST_VNI
from cni_cnm.cluster.values import FIRST_VNI, Block, Change, ClusterHost, OverlayNetwork, Snapshot
from cni_cnm.errors import ActiveEndpoints, AddressesExhausted, Conflict, DirectoryUnreachable, Forbidden, NoSuchNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.model import IPNetwork

_BEAT = 0.02
"""Seconds after which a watch without changes says that it is alive."""


class MemoryStore:
    """What etcd would hold."""

    def __init__(self, name: str = "c0ffee") -> None:
        self.name = name
        self.requests = 0
        """How many calls have reached the store; a batch of a watch is none."""
        self.hosts: dict[str, ClusterHost] = {}
        self.networks: dict[str, OverlayNetwork] = {}
        self.blocks: dict[tuple[str, int], Block] = {}
        """By network and index."""
        self.alive: set[str] = set()
        self.history: list[Change] = []
        """One change for each revision."""
        self.compacted = 0
        self.changed = threading.Condition()

    @property
    def revision(self) -> int:
        return len(self.history)

    def directory(self) -> MemoryDirectory:
        """A further host's way to the store."""
        return MemoryDirectory(self)

    def put(self, change: Change) -> None:
        with self.changed:
            self.history.append(change)
            self.changed.notify_all()

    def expire(self, host: str) -> None:
        """The host has shown no life for longer than its lease."""
        if host in self.alive:
            self.alive.discard(host)
            self.put(Change("alive", host, None))

    def compact(self) -> None:
        """Watches that begin before now end."""
        self.compacted = self.revision

    def backup(self) -> MemoryStore:
        """The store as it is now, with the same identity: put its content back with `restore`."""
        copy = MemoryStore(self.name)
        copy.restore(self)
        return copy

    def restore(self, backup: MemoryStore) -> None:
        """Everything is as in the backup, the revision too. Watches end."""
        self.hosts, self.networks, self.blocks = dict(backup.hosts), dict(backup.networks), dict(backup.blocks)
        self.alive, self.history = set(), list(backup.history)
        self.compacted = self.revision


class MemoryDirectory:
    """One host's way to a store."""

    assigns = False
    pace = Pace()

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.name = "memory"
        self.reachable = True
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def _request(self) -> MemoryStore:
        if self.closed:
            raise AssertionError("the directory is closed")
        if not self.reachable:
            raise DirectoryUnreachable(f"{self.name} does not answer")
        self.store.requests += 1
        return self.store

    # reading ---------------------------------------------------------------
    def snapshot(self) -> Snapshot:
        store = self._request()
        return Snapshot(
            store.name,
            store.revision,
            dict(store.hosts),
            dict(store.networks),
            {block.key: block for block in store.blocks.values()},
            frozenset(store.alive),
        )

    def skipped(self) -> Sequence[str]:
        return ()

    def watch(self, revision: int) -> Iterator[tuple[int, Sequence[Change]]]:
        store = self._request()
        if revision < store.compacted:
            raise WatchEnded(f"revision {revision} is compacted")
        while True:
            with store.changed:
                if revision == store.revision:
                    store.changed.wait(_BEAT)
                if not self.reachable:
                    raise WatchEnded(f"{self.name} does not answer")
                if revision > store.revision:
                    raise WatchEnded(f"the store is at revision {store.revision}, before {revision}")
                changes = store.history[revision:]
                revision = store.revision
            yield revision, changes

    # this host -------------------------------------------------------------
    def announce(self, host: ClusterHost) -> None:
        store = self._request()
        there = store.hosts.get(host.name)
        if there is not None and there.instance != host.instance:
            raise Conflict(
                f"host {host.name} is in {self.name} as instance {there.instance}, this one is {host.instance}"
            )
        if there != host:
            store.hosts[host.name] = host
            store.put(Change("host", host.name, host))

    def show_life(self, host: ClusterHost) -> int:
        store = self._request()
        if host.name not in store.alive:
            store.alive.add(host.name)
            store.put(Change("alive", host.name, True))
        return store.revision

    def leave(self, name: str, *, instance: str = "", force: bool = False) -> Sequence[Block]:
        store = self._request()
        host = store.hosts.get(name)
        if host is not None and host.instance != instance and name in store.alive and not force:
            raise Forbidden(f"host {name} shows life", hint="with --force its blocks are freed nevertheless")
        freed = []
        for key, block in list(store.blocks.items()):
            if block.host == name:
                del store.blocks[key]
                freed.append(block)
                store.put(Change("block", block.key, None))
        if host is not None:
            del store.hosts[name]
            store.put(Change("host", name, None))
        store.expire(name)
        return freed

    # networks and blocks ---------------------------------------------------
    def create_network(self, wanted: OverlayNetwork) -> OverlayNetwork:
        store = self._request()
        there = store.networks.get(wanted.name)
        if there is not None:
            differing = [
                key
                for key in ("subnets", "block_sizes", "port", "direct")
                if getattr(there, key) != getattr(wanted, key)
            ]
            if differing or wanted.vni not in (0, there.vni):
                raise Conflict(f"network {wanted.name} is in {self.name} with another value of {differing or 'vni'}")
            return there
        for other in store.networks.values():
            for subnet in other.subnets:
                if any(subnet.version == mine.version and subnet.overlaps(mine) for mine in wanted.subnets):
                    raise Conflict(f"network {other.name} has {subnet}, which overlaps network {wanted.name}")
            if other.vni == wanted.vni:
                raise Conflict(f"network {other.name} has the VNI {wanted.vni}")
        taken = {network.vni for network in store.networks.values()}
        vni = wanted.vni or next(vni for vni in range(FIRST_VNI, LAST_VNI + 1) if vni not in taken)
        made = wanted._replace(vni=vni)
        store.networks[wanted.name] = made
        store.put(Change("network", wanted.name, made))
        return made

    def delete_network(self, name: str) -> None:
        store = self._request()
        holders = sorted({block.host for block in store.blocks.values() if block.network == name})
        if holders:
            raise ActiveEndpoints(f"network {name} has blocks of {', '.join(holders)}")
        if store.networks.pop(name, None) is not None:
            store.put(Change("network", name, None))

    def claim(
        self, network: OverlayNetwork, host: ClusterHost, preferred: Sequence[tuple[IPNetwork, ...]] = ()
    ) -> Block:
        store = self._request()
        there = store.networks.get(network.name)
        if there is None or there.id != network.id:
            raise NoSuchNetwork(f"no network {network.name} with the id {network.id} is in {self.name}")
        for subnets in preferred:
            block = Block(network.name, subnets, host.name, host.instance)
            index = block_index.index_of(network, subnets)
            if index is not None and store.blocks.get((network.name, index), block) == block:
                return self._take(index, block)
        for index in block_index.preference(network, host.name):
            if (network.name, index) not in store.blocks:
                subnets = block_index.subnets_at(network, index)
                return self._take(index, Block(network.name, subnets, host.name, host.instance))
        raise AddressesExhausted(f"network {network.name} has no free block")

    def _take(self, index: int, block: Block) -> Block:
        if (block.network, index) not in self.store.blocks:
            self.store.blocks[block.network, index] = block
            self.store.put(Change("block", block.key, block))
        return block

    def claim_again(self, block: Block) -> bool:
        store = self._request()
        network = store.networks.get(block.network)
        index = block_index.index_of(network, block.subnets) if network is not None else None
        if index is None or store.blocks.get((block.network, index), block) != block:
            return False
        self._take(index, block)
        return True

    def release(self, block: Block) -> None:
        store = self._request()
        for key, there in list(store.blocks.items()):
            if there == block:
                del store.blocks[key]
                store.put(Change("block", block.key, None))
