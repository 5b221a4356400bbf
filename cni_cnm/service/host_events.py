"""What an operator should know, and what no notification of the kernel says: networks, full pools, other firewalls.

The watch looks from time to time. A look reads the records of networks, and of each network with pods the folder of its
leases if that has changed. What was so at the first look is no event, but for a pool that is low and a firewall that
blocks.
"""

from __future__ import annotations

import os

from cni_cnm.cnm.packet_filter import firewall_state, foreign_accepts
from cni_cnm.cnm.records import network_records
from cni_cnm.errors import CnmError
from cni_cnm.find import pools
from cni_cnm.frontend.events import BLOCKED, NETWORK_MADE, NETWORK_REMOVED, OPEN, POOL_FREE, POOL_LOW, Event
from cni_cnm.state.store import ADOPT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord

LOOK_S = 10.0
"""Between two looks."""
_LOW, _ROOM = 0.1, 0.2
"""Free parts of a pool: below the first one it is nearly full, above the second one it has room again."""


class HostEvents:
    """What earlier looks have found. Used by one thread."""

    def __init__(self) -> None:
        self._networks: dict[str, str] | None = None
        """Driver by name; None before the first look."""
        self._adopted: frozenset[str] = frozenset()
        self._read: dict[str, tuple[int, int]] = {}
        """When the folder of leases was changed, by network, and its inode."""
        self._low: set[str] = set()
        self._blocked: dict[str, tuple[str, ...]] = {}

    def look(self, host: Host) -> Iterator[Event]:
        records = [record for record in network_records(host.store) if not record.pending]
        yield from self._made_and_removed(records, frozenset(host.store.names(ADOPT)))
        for record in records:
            yield from self._pool(host, record)
        yield from self._blocks(host, records)

    def _made_and_removed(self, records: Sequence[NetworkRecord], adopted: frozenset[str]) -> Iterator[Event]:
        """`adopted`: networks taken over from the reference plugins. A release gives them back: they are not gone."""
        now = {record.name: record.driver for record in records}
        before = now if self._networks is None else self._networks
        for name in sorted(now.keys() - before.keys()):
            taken = "; it is taken over from the reference plugins" if name in adopted else ""
            yield Event(NETWORK_MADE, f"network {name} was made, driver {now[name]}{taken}", name)
        for name in sorted(before.keys() - now.keys()):
            released = "released to the reference plugins, or " if name in self._adopted else ""
            yield Event(NETWORK_REMOVED, f"network {name} was {released}removed", name)
            self._read.pop(name, None)
            self._low.discard(name)
            self._blocked.pop(name, None)
        self._networks, self._adopted = now, adopted

    def _pool(self, host: Host, record: NetworkRecord) -> Iterator[Event]:
        name = record.name
        try:
            found = os.stat(os.path.join(host.settings.leases_dir, name))
            stamp = found.st_mtime_ns, found.st_ino
            if self._read.get(name) == stamp:
                return
            self._read[name] = stamp
            usage = pools.usage(host, record)
        except (CnmError, OSError):
            return  # without leases it is not low; what cannot be read is a finding of doctor and of the metrics
        if usage is None:
            return
        said = f"network {name}: {usage.free} of {usage.capacity} addresses are free"
        if usage.free < usage.capacity * _LOW and name not in self._low:
            self._low.add(name)
            yield Event(POOL_LOW, said, name)
        elif usage.free > usage.capacity * _ROOM and name in self._low:
            self._low.remove(name)
            yield Event(POOL_FREE, said, name)

    def _blocks(self, host: Host, records: Sequence[NetworkRecord]) -> Iterator[Event]:
        """By what the last comparison of the packet filter has recorded."""
        state = firewall_state.load(host)
        for record in records:
            obstacles = foreign_accepts.recorded_obstacles(state, record.id)
            sentences = tuple(one.sentence for one in obstacles if one.certain)
            before = self._blocked.get(record.name, ())
            for sentence in sentences:
                if sentence not in before:
                    yield Event(BLOCKED, f"network {record.name}: {sentence}", record.name)
            if before and not sentences:
                yield Event(OPEN, f"network {record.name}: no other firewall drops its packets any more", record.name)
            self._blocked[record.name] = sentences
