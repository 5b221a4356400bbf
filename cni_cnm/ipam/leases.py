"""host-local's leases: one file each, with the same bytes and under the same lock as the reference executable's.

    FOLDER/10.88.0.2              container id, CR LF, interface name. Old ones: only the container id
    FOLDER/last_reserved_ip.0     the address allocated last from range set 0
    FOLDER/lock                   see lease_lock.py

A crash can leave an empty file, and a reboot leaves all files; the reference never allocates those addresses again.
Here a lease is void if it is empty, or if it is older than this epoch and no endpoint record of this epoch names it. A
void lease is replaced when an allocation needs its address, under the lock. A reservation of Docker's (`docker`,
`reserved`) is never void, because Docker does not make it again after a reboot. Anything else of that name, such as a
folder or a pipe, counts as taken, and is never opened in a way that could block.
"""

from __future__ import annotations

import os
import stat
from errno import EAGAIN, EISDIR, ELOOP, ENOENT, ENOTDIR, ENOTEMPTY, ENXIO

from cni_cnm.errors import DamagedRecord, IoFailed, file_hint
from cni_cnm.ipam.lease_index import SEPARATOR, LeaseIndex
from cni_cnm.ipam.lease_lock import LeaseLock
from cni_cnm.model import EndpointKey, ip_address
from cni_cnm.state import small_files
from cni_cnm.state.record_reader import note, read
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cni_cnm.ipam.contract import IpamHost
    from cni_cnm.model import IPAddress, Json

_OWNER_BYTES = 4096
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_FILE = (ENOENT, ENOTDIR, ELOOP, ENXIO, EISDIR, EAGAIN)
"""Absent, or a link, socket, folder or pipe."""
HOST_LOCAL = "host-local"
OF_STORE = (HOST_LOCAL, "given")
"""IPAM types of endpoint records whose addresses are leases in this store; `given` is Docker's."""

DOCKER = "docker"
"""The container id in a lease that Docker requested. The interface is the id of Docker's endpoint, or one of these:"""
RESERVED, REQUESTED = "reserved", "requested"
"""For no endpoint, until Docker releases it; for an endpoint that Docker has not named yet."""

_LEAVING = "pending"
"""State of the record of an endpoint that is being made or removed (cnm/records.py)."""


def owner_text(key: EndpointKey) -> str:
    return f"{key.container_id}{SEPARATOR}{key.ifname}"


class Leases:
    """The leases of one network. `with leases:` holds the lock; methods that change something require it.

    `started` returns when this epoch began, in seconds since 1970; None: state/epoch.py.
    """

    def __init__(
        self, network: str, folder: str, host: IpamHost, *, started: Callable[[], float] | None = None
    ) -> None:
        self.folder = folder
        self._network = network
        self._host = host
        self._index = LeaseIndex(network, folder, host.settings.run_dir, host.store)
        self._lock = LeaseLock(folder)
        self._before = f"{folder}/"
        """What stands before a file's name: nothing while the folder is open."""
        self._folder: int | None = None
        self._was_valid: bool | None = None
        """Whether the index was valid before the first change under this lock; None: not known yet."""
        self._changed = False
        self._started = started
        self._epoch_start: float | None = None

    def __enter__(self) -> None:
        self._lock.__enter__()
        self._folder = self._index.folder = self._lock.folder
        self._before = ""
        self._was_valid = None
        self._changed = False

    def exists(self) -> bool:
        """Whether there is a folder of leases. IoFailed if that cannot be found out."""
        try:
            return stat.S_ISDIR(os.stat(self.folder).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise IoFailed(f"the leases in {self.folder} cannot be read: {error.strerror}") from error

    def __exit__(self, *_: object) -> None:
        try:
            if self._changed and self._was_valid:
                self._index.pin()
        finally:
            self._folder, self._index.folder, self._before = None, self.folder, f"{self.folder}/"
            self._lock.__exit__()

    # one lease ------------------------------------------------------------

    def owner(self, name: str) -> str:
        """The content of a lease file without white space around; "" if there is none, or no file.

        IoFailed if it cannot be read. A lease is never taken for absent because descriptors are short.
        """
        try:
            descriptor = os.open(self._before + name, _READ, dir_fd=self._folder)
            try:
                return os.read(descriptor, _OWNER_BYTES).decode("utf-8", "surrogateescape").strip()
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno in _NO_FILE:
                return ""
            raise IoFailed(f"the lease {self.folder}/{name} cannot be read: {error.strerror}") from error

    def has(self, name: str) -> bool:
        """Whether there is a file of that name, a void lease included."""
        try:
            self._status(name)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise IoFailed(f"the lease {self.folder}/{name} cannot be read: {error.strerror}") from error
        return True

    def is_of(self, name: str, key: EndpointKey) -> bool:
        return self.owner(name) in (owner_text(key), key.container_id)

    def reserve(self, address: IPAddress, key: EndpointKey) -> bool:
        """Lease an address. False if it is leased; a void lease is replaced. IoFailed if it cannot be written."""
        path = f"{self._before}{address}"
        owner = owner_text(key).encode(errors="surrogateescape")
        valid = self._valid_before()
        try:
            try:
                small_files.create(path, owner, folder=self._folder)
            except FileExistsError:
                if not self.void(str(address)):
                    return False
                os.unlink(path, dir_fd=self._folder)
                small_files.create(path, owner, folder=self._folder)
        except OSError as error:
            raise self._unwritten(str(address), error) from error
        self._changed = True
        self._was_valid = valid and (key.container_id == DOCKER or self._index.leaves_out(key))
        return True

    def set_owner(self, address: IPAddress, key: EndpointKey) -> None:
        """Change the owner of a lease. Its text is not shorter than before, so one write leaves nothing of the old."""
        owner = owner_text(key).encode(errors="surrogateescape")
        try:
            small_files.write(f"{self._before}{address}", owner, 0, folder=self._folder)
        except OSError as error:
            raise self._unwritten(str(address), error) from error

    def remove(self, address: IPAddress) -> None:
        """No error if absent."""
        self._valid_before()
        try:
            os.unlink(f"{self._before}{address}", dir_fd=self._folder)
        except FileNotFoundError:
            return
        except OSError as error:
            sentence = f"the lease {self.folder}/{address} cannot be removed: {error.strerror}"
            raise IoFailed(sentence, hint=file_hint(error)) from error
        self._changed = True

    def void(self, name: str) -> bool:
        """Whether a lease file reserves nothing: it is empty, or of an earlier epoch. One that cannot be read does."""
        try:
            status = self._status(name)
        except OSError:
            return False
        if not stat.S_ISREG(status.st_mode):
            return False
        if status.st_size == 0:
            return True
        if status.st_mtime >= self._epoch_started():
            return False
        try:
            owner = self.owner(name)
        except IoFailed:
            return False
        return owner != f"{DOCKER}{SEPARATOR}{RESERVED}" and not self._has_record(owner)

    def age(self, name: str) -> float:
        """Seconds since the lease file was written; 0 if there is none."""
        from time import time

        try:
            return time() - self._status(name).st_mtime
        except OSError:
            return 0.0

    def _epoch_started(self) -> float:
        if self._epoch_start is None:
            from cni_cnm.state import epoch

            self._epoch_start = (self._started or epoch.started)()
        return self._epoch_start

    def _has_record(self, owner: str) -> bool:
        """Whether an endpoint record of this epoch names the owner: then the file is only old by a wrong clock.

        Not one that has no addresses yet. After a reboot podman starts a container under the same id again.
        """
        container_id, _, ifname = owner.partition(SEPARATOR)
        key = EndpointKey(self._network, container_id, ifname)
        try:
            record = self._host.store.get(ENDPOINTS, ifname if container_id == DOCKER else key.id)
        except DamagedRecord:
            return True  # of which epoch is not known
        if not isinstance(record, dict) or record.get("epoch") != self._host.epoch:
            return False
        return container_id == DOCKER or record.get("lease") is not None

    # where the next allocation begins -------------------------------------

    def last_reserved(self, index: int) -> IPAddress | None:
        try:
            return ip_address(self.owner(f"last_reserved_ip.{index}"))
        except (ValueError, IoFailed):
            return None

    def set_last_reserved(self, index: int, address: IPAddress) -> None:
        name = f"last_reserved_ip.{index}"
        self._valid_before()
        try:
            small_files.write(f"{self._before}{name}", str(address).encode(), folder=self._folder)
        except OSError as error:
            raise IoFailed(
                f"{self.folder}/{name} cannot be written: {error.strerror}", hint=file_hint(error)
            ) from error
        self._changed = True

    # many leases ----------------------------------------------------------

    def names(self) -> Iterator[str]:
        """The names of all lease files; none if there is no folder."""
        for name, _ in self._entries():
            yield name

    def numbers(self, version: int, *, live: bool = False) -> set[int]:
        """Addresses of an IP version that have a lease file, as numbers. `live`: without void leases."""
        return {
            int.from_bytes(packed)
            for name, packed in self._entries()
            if (version == 6) == (":" in name) and not (live and self.void(name))
        }

    def remove_folder(self) -> None:
        """Remove the folder of a network that is deleted. It stays if there is a lease in it, or another's file."""
        if not os.path.isdir(self.folder):
            return
        with self._lock:
            folder = self._lock.folder
            names = os.listdir(folder)
            if all(name == "lock" or name.startswith("last_reserved_ip.") for name in names):
                for name in names:
                    os.unlink(name, dir_fd=folder)
                try:
                    os.rmdir(self.folder)
                except OSError as error:
                    if error.errno != ENOTEMPTY:  # another process has begun to use it, under a lock of its own
                        raise

    def _valid_before(self) -> bool:
        if self._was_valid is None:
            self._was_valid = self._index.valid()
        return self._was_valid

    def _status(self, name: str) -> os.stat_result:
        return os.stat(self._before + name, dir_fd=self._folder, follow_symlinks=False)

    def _unwritten(self, name: str, error: OSError) -> IoFailed:
        return IoFailed(f"the lease {self.folder}/{name} cannot be written: {error.strerror}", hint=file_hint(error))

    def _entries(self) -> Iterator[tuple[str, bytes]]:
        from _socket import AF_INET, AF_INET6, inet_pton

        try:
            entries = os.listdir(self.folder if self._folder is None else self._folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise IoFailed(f"the leases in {self.folder} cannot be read: {error.strerror}") from error
        for name in entries:
            try:
                yield name, inet_pton(AF_INET6 if ":" in name else AF_INET, name)
            except (OSError, ValueError):
                continue

    def unrecorded(self, key: EndpointKey) -> list[IPAddress]:
        """The endpoint's leases that no record names. Requires the lock: the index may be written."""
        owners = (owner_text(key), key.container_id)
        found = self._index.lookup(owners)
        if self._was_valid is None:
            self._was_valid = found is not None
        if found is None:  # another program changed the folder
            self.restore_recorded()
            self._index.write(self._walk())
            self._was_valid = self._index.valid()
            found = self._index.lookup(owners)
        if found is None:  # the index cannot be written
            return self.search(key)
        return self._verified(owners, [name for owner in owners for name in found.get(owner, ())])

    def restore_recorded(self) -> list[str]:
        """Write the leases again that records of this epoch name and that are gone: their containers may be alive.

        Returns their addresses.
        """
        there = set(self.names())
        written: list[str] = []
        for endpoint_id in self._host.store.names(ENDPOINTS):
            try:
                recorded = read(self._host.store, ENDPOINTS, endpoint_id, self._recorded) or ()
            except DamagedRecord as error:
                note(error)
                continue
            for name, address, owner in recorded:
                if name not in there and self.reserve(address, owner):
                    written.append(name)
        return written

    def _recorded(self, raw: Json) -> list[tuple[str, IPAddress, EndpointKey]]:
        """The leases in this folder that a record of this epoch names, and whose they are."""
        if (raw.get("network"), raw.get("epoch")) != (self._network, self._host.epoch):
            return []
        if raw.get("state") == _LEAVING:
            return []  # its lease may just have been released: the record is removed next
        allocated = raw.get("ipam") or {}
        if raw.get("ipam_type") not in OF_STORE or allocated.get("folder", self.folder) != self.folder:
            return []
        owner = EndpointKey(self._network, *raw["holder"])
        return [(name, ip_address(name), owner) for name in allocated.get("addresses") or ()]

    def void_index(self) -> None:
        """Before a record is deleted whose lease stays: the index does not have that lease. Requires the lock."""
        self._index.remove()
        self._was_valid = False

    def has_none(self, key: EndpointKey) -> bool:
        """Whether a valid index says that `unrecorded` would find nothing. Takes no lock and writes nothing."""
        if not self.exists():
            return True
        return self._index.lookup((owner_text(key), key.container_id)) == {} and not self._index.leaves_out(key)

    def search(self, key: EndpointKey) -> list[IPAddress]:
        """The endpoint's leases, found by reading every lease file. Requires the lock."""
        owners = (owner_text(key), key.container_id)
        return _chosen(owners, [(name, owner) for name, owner in self._walk() if owner in owners])

    def _verified(self, owners: tuple[str, str], names: list[str]) -> list[IPAddress]:
        return _chosen(owners, [(name, self.owner(name)) for name in names])

    def _walk(self) -> Iterator[tuple[str, str]]:
        """Every lease with its owner. An empty one is removed: a kill left it, because the caller holds the lock."""
        for name in self.names():
            owner = self.owner(name)
            if owner:
                yield name, owner
            elif self._is_empty(name):
                self.remove(ip_address(name))

    def _is_empty(self, name: str) -> bool:
        try:
            status = self._status(name)
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and not status.st_size


def _chosen(owners: tuple[str, str], leases: list[tuple[str, str]]) -> list[IPAddress]:
    """Addresses whose file names the container and interface, or if there are none, only the container."""
    by_owner: dict[str, list[IPAddress]] = {}
    for name, owner in leases:
        by_owner.setdefault(owner, []).append(ip_address(name))
    return by_owner.get(owners[0]) or by_owner.get(owners[1]) or []
