"""Which leases of a folder no endpoint record names, so that a DEL without a record need not read them all.

    RUN_DIR/leases/DIGEST.json      {owner: [address, ...]}; DIGEST is of the lease folder's path

Such leases are the reference executable's, or of an earlier epoch. The index is written by a walk over the
folder and never edited; each use verifies in the lease file itself, so an entry too many does no harm. It is
valid while its own modification time equals the folder's, which whoever makes or removes a lease changes:

- A walk, and each change of ours that found the index valid, ends by setting both times to one second before
  what the folder then has. The kernel never stamps a later change earlier than ours: even one in the
  same tick of its coarse clock, or on a file system that keeps whole seconds, differs from the pinned time.
- The index gets its time before the folder does: a kill between the two leaves an index that is not valid.
- All this happens under the lease lock. A reader without it sees both times pinned, or a mismatch.

Changes of ours never add to it, because the endpoint's record stands before its address is taken; where it
does not, the change is not carried over. So nothing here grows with the number of our own leases.
"""

from __future__ import annotations

import json
import os

from cni_cnm.model import EndpointKey, digest
from cni_cnm.state.files import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SEPARATOR = "\r\n"
_PINNED_NS = 1_000_000_000


class LeaseIndex:
    def __init__(self, network: str, folder: str, run_dir: str) -> None:
        self._network = network
        self._folder = folder
        self._endpoints = f"{run_dir}/{ENDPOINTS}"
        self._path = f"{run_dir}/leases/{digest(folder)}.json"

    def lookup(self, owners: Sequence[str]) -> dict[str, list[str]] | None:
        """Names of the lease files each of the owners may hold; None if the index is not valid."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            with open(descriptor, "rb") as file:
                content = file.read()
                if os.fstat(descriptor).st_mtime_ns != self._folder_time():
                    return None
            if not any(json.dumps(owner).encode() in content for owner in owners):
                return {}  # decoding costs more than all the rest where there are thousands
            known = json.loads(content)
        except (OSError, ValueError):
            return None
        return {owner: known[owner] for owner in owners if owner in known}

    def valid(self) -> bool:
        try:
            return os.stat(self._path).st_mtime_ns == self._folder_time()
        except OSError:
            return False

    def leaves_out(self, key: EndpointKey) -> bool:
        """True if the endpoint is on record: what it takes does not belong in the index."""
        return os.path.exists(f"{self._endpoints}/{key.id}.json")

    def pin(self) -> None:
        """Carry a valid index over a change just made under the lock."""
        try:
            pinned = self._folder_time() - _PINNED_NS
            os.utime(self._path, ns=(pinned, pinned))
            os.utime(self._folder, ns=(pinned, pinned))
        except OSError:
            return  # not valid from here on, which costs the next lookup a walk

    def write(self, leases: Iterable[tuple[str, str]]) -> None:
        """Replace the index by these (name, owner) pairs, less those on record. A full disk costs speed."""
        try:
            records = set(os.listdir(self._endpoints))
        except OSError:
            records = set()
        found: dict[str, list[str]] = {}
        for name, owner in leases:
            if not (records and self._on_record(name, owner, records)):
                found.setdefault(owner, []).append(name)
        temporary = f"{self._path}.{os.getpid()}.tmp"
        try:
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
            with open(temporary, "w", encoding="ascii") as file:
                file.write(json.dumps(found))  # json.dump takes the slow encoder
            os.utime(temporary, ns=(0, 0))  # by chance it could equal the folder's time before it is pinned
            os.rename(temporary, self._path)
        except OSError:
            return
        self.pin()

    def _folder_time(self) -> int:
        return os.stat(self._folder).st_mtime_ns

    def _on_record(self, name: str, owner: str, records: set[str]) -> bool:
        container_id, _, ifname = owner.partition(SEPARATOR)
        record = f"{EndpointKey(self._network, container_id, ifname).id}.json"
        if record not in records:
            return False
        try:
            with open(f"{self._endpoints}/{record}", "rb") as file:
                return f'"{name}"'.encode() in file.read()
        except OSError:
            return False
