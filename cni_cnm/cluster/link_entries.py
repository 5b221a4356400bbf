"""Neighbours and forwarding entries of our VXLAN devices: which differ from what is wanted, and whose they are."""

from __future__ import annotations

from cni_cnm.cluster.underlay import Forward, Neighbour
from cni_cnm.kernel.contract import overlay_stack as kernel
from cni_cnm.kernel.contract.route import CLUSTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cni_cnm.cluster.underlay import Entry
    from cni_cnm.kernel.contract.overlay_stack import OverlayStack
    from cni_cnm.model import IPAddress


class LinkEntries:
    """First `compare` or `ask`, which read; then `add` and `remove`, which write and may be in a batch."""

    def __init__(self, stack: OverlayStack, links: Mapping[str, int]) -> None:
        self._stack = stack
        self._links = links
        self._neighbours: list[tuple[kernel.Neighbour, bool]] = []
        self._fdb: list[tuple[kernel.FdbEntry, bool]] = []
        """To be written, each with whether it takes the place of another one."""
        self._old_neighbours: list[kernel.Neighbour] = []
        self._old_fdb: list[kernel.FdbEntry] = []
        self.conflicts: list[str] = []
        """Sentences about entries of other programs in the place of ours."""

    def compare(self, wanted: Iterable[Entry], devices: Iterable[int], *, keep: bool = False) -> None:
        """With all that the devices have. With `keep` nothing is old."""
        neighbours: dict[tuple[int, IPAddress], kernel.Neighbour] = {}
        fdb: dict[tuple[int, str], kernel.FdbEntry] = {}
        for device in devices:
            neighbours.update(((device, one.address), one) for one in self._stack.neighbours(device))
            fdb.update(((device, one.mac), one) for one in self._stack.fdb(device))
        for entry in wanted:
            if isinstance(entry, Neighbour):
                if (link := self._links.get(entry.device)) is not None:
                    self._want_neighbour(_neighbour(entry, link), neighbours.pop((link, entry.address), None))
            elif isinstance(entry, Forward) and (link := self._links.get(entry.device)) is not None:
                self._want_fdb_entry(_fdb_entry(entry, link), fdb.pop((link, entry.mac), None))
        if keep:
            return
        self._old_neighbours += [one for one in neighbours.values() if _made_here(one)]
        self._old_fdb += [one for one in fdb.values() if one.external]

    def ask(self, changes: Iterable[tuple[Entry | None, Entry | None]]) -> None:
        """With the kernel's entries of these keys alone."""
        for before, after in changes:
            entry = after or before
            if not isinstance(entry, Neighbour | Forward) or (link := self._links.get(entry.device)) is None:
                continue
            if isinstance(entry, Neighbour):
                there = self._stack.neighbour(link, entry.address)
                if after is not None:
                    self._want_neighbour(_neighbour(entry, link), there)
                elif there is not None and _made_here(there):
                    self._old_neighbours.append(there)
            else:
                known = self._stack.fdb_entry(link, entry.mac)
                if after is not None:
                    self._want_fdb_entry(_fdb_entry(entry, link), known)
                elif known is not None and known.external:
                    self._old_fdb.append(known)

    def add(self) -> int:
        """Gives the number of writes."""
        for entry, replace in self._fdb:
            self._stack.add_fdb_entry(entry, replace=replace)
        for neighbour, replace in self._neighbours:
            self._stack.add_neighbour(neighbour, replace=replace)
        return len(self._fdb) + len(self._neighbours)

    def remove(self) -> int:
        """Gives the number of writes."""
        for neighbour in self._old_neighbours:
            self._stack.delete_neighbour(neighbour.link, neighbour.address)
        for entry in self._old_fdb:
            self._stack.delete_fdb_entry(entry)
        return len(self._old_neighbours) + len(self._old_fdb)

    def _want_neighbour(self, entry: kernel.Neighbour, there: kernel.Neighbour | None) -> None:
        if there is None:
            self._neighbours.append((entry, False))
        elif there.mac == entry.mac and there.permanent:
            return
        elif _made_here(there) or not there.permanent:  # the kernel's own, which it would forget
            self._neighbours.append((entry, True))
        else:
            self.conflicts.append(
                f"the neighbour {entry.address} has the MAC {there.mac}, it should have {entry.mac}; another program "
                f"made that entry"
            )

    def _want_fdb_entry(self, entry: kernel.FdbEntry, there: kernel.FdbEntry | None) -> None:
        if there is None:
            self._fdb.append((entry, False))
        elif there.to == entry.to and there.permanent:
            return
        elif there.external or not there.permanent:
            self._fdb.append((entry, True))
        else:
            self.conflicts.append(
                f"the forwarding entry of {entry.mac} leads to {there.to}, it should lead to {entry.to}; another "
                f"program made that entry"
            )


def _neighbour(entry: Neighbour, link: int) -> kernel.Neighbour:
    return kernel.Neighbour(link, entry.address, entry.mac, CLUSTER)


def _fdb_entry(entry: Forward, link: int) -> kernel.FdbEntry:
    return kernel.FdbEntry(link, entry.mac, entry.to, external=True)


def _made_here(neighbour: kernel.Neighbour) -> bool:
    return neighbour.protocol == CLUSTER
