"""Which leases of a folder no endpoint record names, so that a DEL without a record need not read all leases.

    RUN_DIR/leases/DIGEST.json      {owner: [address, ...]}; DIGEST is that of the lease folder's path

Such leases are the reference executable's, or of an earlier epoch. The index is written by reading the whole folder
and never edited. Each use verifies its answer in the lease files, so an entry too many is harmless.

The index is valid while its modification time equals the folder's, which changes when any program makes or removes a
lease:

- Writing the index, and each change of ours that found it valid, ends by setting both times to one second before what
  the folder then has. The kernel never stamps a later change that early, not even one in the same tick of its coarse
  clock, or on a file system that keeps whole seconds.
- The index gets its time before the folder does: a kill between the two leaves an index that is not valid.
- All of this is done under the lease lock. A reader without the lock sees equal times, or an index that is not valid.

Our own leases are never added, because an endpoint's record is written before its address is taken. Where it is not,
the index becomes invalid. So the cost of a lookup does not grow with the number of our leases.
"""

from __future__ import annotations

import os

from cni_cnm.errors import DamagedRecord, IoFailed, file_hint
from cni_cnm.json_text import decoder, encoder
from cni_cnm.model import EndpointKey, digest, ip_address
from cni_cnm.state import small_files
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni_cnm.state.store import Store

SEPARATOR = "\r\n"
_decode = decoder()
_encode = encoder()
_PINNED_NS = 1_000_000_000


class LeaseIndex:
    def __init__(self, network: str, folder: str, run_dir: str, store: Store) -> None:
        self._network = network
        self.folder: str | int = folder
        """Its path, or its descriptor while the lock is held."""
        self._store = store
        self._path = f"{run_dir}/leases/{digest(folder)}.json"

    def lookup(self, owners: Sequence[str]) -> dict[str, list[str]] | None:
        """Names of the lease files that each of the owners may hold; None if the index is not valid."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            content = small_files.read_open(descriptor)
            if os.fstat(descriptor).st_mtime_ns != self._folder_time():
                return None
            if not any(_encode(owner).encode() in content for owner in owners):
                return {}  # decoding thousands of entries costs more than the rest of a DEL
            known = _decode(content)
            return {owner: [str(ip_address(name)) for name in known[owner]] for owner in owners if owner in known}
        except (OSError, ValueError, TypeError):
            return None
        finally:
            os.close(descriptor)

    def valid(self) -> bool:
        try:
            return os.stat(self._path).st_mtime_ns == self._folder_time()
        except OSError:
            return False

    def remove(self) -> None:
        """The next lookup reads the whole folder. No error if absent; IoFailed if it stays."""
        try:
            small_files.remove(self._path)
        except OSError as error:
            raise IoFailed(f"{self._path} cannot be removed: {error.strerror}", hint=file_hint(error)) from error

    def leaves_out(self, key: EndpointKey) -> bool:
        """Whether the endpoint has a record: its leases are not in the index."""
        return self._store.has(ENDPOINTS, key.id)

    def pin(self) -> None:
        """Keep a valid index valid over a change that was just made under the lock."""
        try:
            pinned = self._folder_time() - _PINNED_NS
            os.utime(self._path, ns=(pinned, pinned))
            os.utime(self.folder, ns=(pinned, pinned))
        except OSError:
            return  # the index is not valid now: the next lookup reads the whole folder

    def write(self, leases: Iterable[tuple[str, str]]) -> None:
        """Replace the index by these (name, owner) pairs, without those that have a record. A full disk is no error."""
        recorded = set(self._store.names(ENDPOINTS))
        found: dict[str, list[str]] = {}
        for name, owner in leases:
            if not (recorded and self._has_record(name, owner, recorded)):
                found.setdefault(owner, []).append(name)
        try:
            # Time 0, because the time of now could by chance equal the folder's before both are pinned.
            small_files.remove(self._path)
            small_files.make_folder(os.path.dirname(self._path), 0o700)
            small_files.create(self._path, _encode(found).encode(), mtime_ns=0)
        except OSError:
            return
        self.pin()

    def _folder_time(self) -> int:
        return os.stat(self.folder).st_mtime_ns

    def _has_record(self, name: str, owner: str, recorded: set[str]) -> bool:
        container_id, _, ifname = owner.partition(SEPARATOR)
        endpoint_id = EndpointKey(self._network, container_id, ifname).id
        try:
            record = self._store.get(ENDPOINTS, endpoint_id) if endpoint_id in recorded else None
        except DamagedRecord:
            return False
        allocated = record.get("ipam") if isinstance(record, dict) else None
        return isinstance(allocated, dict) and name in (allocated.get("addresses") or ())
