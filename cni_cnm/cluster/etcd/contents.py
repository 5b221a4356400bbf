"""What etcd has below the prefix, as values: first whole, then change by change.

What cannot be read is left out, with a sentence. Where leaving out one thing decides about others (an unreadable
network and its blocks), a change of it asks for a new list instead of being worked out here.
"""

from __future__ import annotations

from cni_cnm.cluster import block_index, value_json
from cni_cnm.cluster.directory import WatchEnded
from cni_cnm.cluster.etcd.networks import clash_of
from cni_cnm.cluster.etcd.taken import Taken
from cni_cnm.cluster.values import Block, Change, ClusterHost, OverlayNetwork, Snapshot
from cni_cnm.errors import CnmError, DecodeFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal, TypeVar

    from cni_cnm.cluster.etcd.keys import Key, Keys
    from cni_cnm.cluster.etcd.operations import KeyValue
    from cni_cnm.cluster.values import BlockKey

    Kind = Literal["host", "network", "block"]
    Place = TypeVar("Place")
    Value = TypeVar("Value", ClusterHost, OverlayNetwork, Block)

SKIPPED_MAX = 20
"""Sentences; what is more is counted."""


class Contents:
    """All hosts, networks and blocks, as of `revision`."""

    def __init__(self, keys: Keys, store: str, revision: int, records: Sequence[KeyValue]) -> None:
        self._keys = keys
        self.store = store
        self.revision = revision
        self.count = len(records)
        """Of the keys below the prefix."""
        self.skipped: list[str] = []
        self._hosts: dict[str, ClusterHost] = {}
        self._networks: dict[str, OverlayNetwork] = {}
        self._taken = Taken()
        """What `_networks` have."""
        self._blocks: dict[tuple[str, int], Block] = {}
        self._alive: set[str] = set()
        self._unread = False
        """Something was left out since the list."""
        self._listed = False
        self._fill(records)
        self._listed = True

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.store,
            self.revision,
            dict(self._hosts),
            dict(self._networks),
            {block.key: block for block in self._blocks.values()},
            frozenset(self._alive),
        )

    def changes(self, events: Iterable[tuple[KeyValue, bool]]) -> Sequence[Change]:
        """Of a batch; True: the key was deleted. WatchEnded if only a new list can tell what is so now."""
        self.skipped = []
        found = []
        for record, deleted in events:
            self.revision = max(self.revision, record.revision)
            self.count += (record.created == record.revision) - deleted
            key = self._keys.read(record.key)
            if key is None:
                self._skip(f"the key {record.key} is unknown")
                continue
            change = self._change(key, None if deleted else record)
            if change is not None:
                found.append(change)
        return found

    # ------------------------------------------------------------------------------
    def _fill(self, records: Sequence[KeyValue]) -> None:
        """Networks first, the oldest first: of two that clash the later one is left out."""
        kinds: dict[str, list[tuple[Key, KeyValue]]] = {
            "networks": [],
            "hosts": [],
            "alive": [],
            "blocks": [],
            "topology": [],
            "names": [],
        }
        for record in records:
            key = self._keys.read(record.key)
            if key is None:
                self._skip(f"the key {record.key} is unknown")
            else:
                kinds[key.kind].append((key, record))
        kinds["networks"].sort(key=lambda each: each[1].created)
        for kind in kinds.values():
            for key, record in kind:
                self._change(key, record)

    def _change(self, key: Key, record: KeyValue | None) -> Change | None:
        """None: nothing changed that hosts agree on."""
        if key.kind == "hosts":
            return self._changed("host", self._hosts, key.name, key.name, self._read_host(key, record))
        if key.kind == "networks":
            return self._changed_network(key, record)
        if key.kind == "blocks":
            place = key.name, key.number
            new = self._read_block(key, record)
            either = new or self._blocks.get(place)
            return self._changed("block", self._blocks, place, either.key, new) if either else None
        if key.kind == "alive":
            before = key.name in self._alive
            (self._alive.discard if record is None else self._alive.add)(key.name)
            return Change("alive", key.name, True if record else None) if before != bool(record) else None
        return None

    def _changed(
        self, kind: Kind, known: dict[Place, Value], place: Place, name: str | BlockKey, new: Value | None
    ) -> Change | None:
        if known.get(place) == new:
            return None
        if new is None:
            del known[place]
        else:
            known[place] = new
        return Change(kind, name, new)

    def _changed_network(self, key: Key, record: KeyValue | None) -> Change | None:
        there = self._networks.get(key.name)
        new = self._read_network(key, record)
        if new == there:
            return None
        if self._listed and (self._unread or (there and (new or self._has_blocks(key.name)))):
            raise WatchEnded(f"the network {key.name} changed, and what belongs to it is read again")
        if there:
            self._taken.remove(there)
        if new:
            self._taken.add(new)
        return self._changed("network", self._networks, key.name, key.name, new)

    def _has_blocks(self, network: str) -> bool:
        return any(block.network == network for block in self._blocks.values())

    # reading ------------------------------------------------------------------------
    def _read_host(self, key: Key, record: KeyValue | None) -> ClusterHost | None:
        try:
            return value_json.host(key.name, record.value, f"the key {record.key}") if record else None
        except CnmError as error:
            self._skip(error.msg)
            return None

    def _read_network(self, key: Key, record: KeyValue | None) -> OverlayNetwork | None:
        if record is None:
            return None
        try:
            found = value_json.network(key.name, record.value, f"the key {record.key}")
        except CnmError as error:
            self._skip(error.msg)
            return None
        for other in self._taken.clashing(found):
            if self._listed and record.created != record.revision:
                raise WatchEnded(
                    f"the network {found.name} changed, and which of two that clash is older is read again"
                )
            self._skip(f"the network {found.name} is left out: {clash_of(found, self._networks[other])}")
            return None
        return found

    def _read_block(self, key: Key, record: KeyValue | None) -> Block | None:
        if record is None:
            return None
        try:
            owner = value_json.owner(record.value, f"the key {record.key}")
            network = self._networks.get(key.name)
            if network is None or network.id != owner.network_id:
                raise DecodeFailed(f"the key {record.key} is of a network that is not there")
            return Block(key.name, block_index.subnets_at(network, key.number), owner.host, owner.instance)
        except (CnmError, IndexError) as error:
            self._skip(str(error))
            return None

    def _skip(self, why: str) -> None:
        self._unread = True
        if len(self.skipped) < SKIPPED_MAX:
            self.skipped.append(why)
        elif len(self.skipped) == SKIPPED_MAX:
            self.skipped.append("more is left out for such reasons")
