"""host-local's store: one file a lease, shared with the reference executable byte for byte and lock for lock.

    FOLDER/10.88.0.2              container id, CR LF, interface name. Old ones: the container id alone
    FOLDER/last_reserved_ip.0     the address last taken from range set 0
    FOLDER/lock                   see lease_lock.py

A crash can leave an empty file, a reboot leaves all of them; the reference counts both as taken for ever.
Here an empty file, or one older than this epoch that no endpoint record of this epoch names, is void: it is
replaced when an allocation meets it, under the lock. A reservation of Docker's (`docker`, `reserved`) is never
void: nobody makes it again after a reboot. Anything else of that name (a folder, a pipe, a file of
somebody else) is taken, and never opened in a way that could block.
"""

from __future__ import annotations

import os
import stat
from ipaddress import ip_address

from cni_cnm.errors import IoFailed
from cni_cnm.ipam.lease_index import SEPARATOR, LeaseIndex
from cni_cnm.ipam.lease_lock import LeaseLock
from cni_cnm.model import EndpointKey
from cni_cnm.state.files import ENDPOINTS, FileStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cni_cnm.model import IPAddress

_LONGEST_OWNER = 4096

DOCKER = "docker"
"""Container id in a lease that Docker requested; in the place of the interface is the id of Docker's endpoint, or:"""
RESERVED, REQUESTED = "reserved", "requested"
"""For no endpoint, until Docker gives it back; for one that Docker has not named yet."""


def owner_text(key: EndpointKey) -> str:
    return f"{key.container_id}{SEPARATOR}{key.ifname}"


class Leases:
    """The leases of one network. `with leases:` holds the lock; what changes something requires it.

    `started` tells when this epoch began (state/epoch.py).
    """

    def __init__(self, network: str, folder: str, run_dir: str, *, started: Callable[[], float] | None = None) -> None:
        self.folder = folder
        self._network = network
        self._run_dir = run_dir
        self._index = LeaseIndex(network, folder, run_dir)
        self._lock = LeaseLock(folder)
        self._was_valid = False
        self._changed = False
        self._started = started
        self._epoch_start: float | None = None

    def __enter__(self) -> None:
        self._lock.__enter__()
        self._was_valid = self._index.valid()
        self._changed = False

    def __exit__(self, *_: object) -> None:
        try:
            if self._changed and self._was_valid:
                self._index.pin()
        finally:
            self._lock.__exit__()

    # one lease ------------------------------------------------------------

    def owner(self, name: str) -> str:
        """Content of a lease file, trimmed; "" if there is none or it cannot be read."""
        try:
            descriptor = os.open(f"{self.folder}/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            return os.read(descriptor, _LONGEST_OWNER).decode("utf-8", "replace").strip()
        except OSError:
            return ""
        finally:
            os.close(descriptor)

    def is_of(self, name: str, key: EndpointKey) -> bool:
        return self.owner(name) in (owner_text(key), key.container_id)

    def reserve(self, address: IPAddress, key: EndpointKey) -> bool:
        """Take an address; False if it is taken. A void lease is replaced. IoFailed if it cannot be."""
        path = f"{self.folder}/{address}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            try:
                descriptor = os.open(path, flags, 0o600)
            except FileExistsError:
                if not self.void(str(address)):
                    return False
                os.unlink(path)
                descriptor = os.open(path, flags, 0o600)
            self._changed = True
            self._was_valid = self._was_valid and (key.container_id == DOCKER or self._index.leaves_out(key))
            try:
                os.write(descriptor, owner_text(key).encode())
            except OSError:
                os.unlink(path)
                raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise IoFailed(f"the lease {path} cannot be written: {error.strerror}") from error
        return True

    def hand_on(self, address: IPAddress, key: EndpointKey) -> None:
        """Give a lease another owner, whose text is not shorter: in one write, so no reader sees half of it."""
        path = f"{self.folder}/{address}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, owner_text(key).encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise IoFailed(f"the lease {path} cannot be written: {error.strerror}") from error

    def remove(self, address: IPAddress) -> None:
        """Missing is done."""
        path = f"{self.folder}/{address}"
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise IoFailed(f"the lease {path} cannot be removed: {error.strerror}") from error
        self._changed = True

    def void(self, name: str) -> bool:
        """A plain file that reserves nothing: empty, or of an earlier epoch."""
        try:
            status = os.stat(f"{self.folder}/{name}", follow_symlinks=False)
        except OSError:
            return False
        if not stat.S_ISREG(status.st_mode):
            return False
        if status.st_size == 0:
            return True
        if status.st_mtime >= self._epoch_started():
            return False
        owner = self.owner(name)
        return owner != f"{DOCKER}{SEPARATOR}{RESERVED}" and not self._on_record(owner)

    def _epoch_started(self) -> float:
        if self._epoch_start is None:
            from cni_cnm.state import epoch

            self._epoch_start = (self._started or epoch.started)()
        return self._epoch_start

    def _on_record(self, owner: str) -> bool:
        """Does an endpoint record of this epoch name this owner? It does if the clock was set after boot."""
        from cni_cnm.state import epoch

        container_id, _, ifname = owner.partition(SEPARATOR)
        key = EndpointKey(self._network, container_id, ifname)
        record = FileStore(self._run_dir, "").get(ENDPOINTS, ifname if container_id == DOCKER else key.id)
        return isinstance(record, dict) and record.get("epoch") == epoch.current()

    # the cursor -----------------------------------------------------------

    def last_reserved(self, index: int) -> IPAddress | None:
        try:
            return ip_address(self.owner(f"last_reserved_ip.{index}"))
        except ValueError:
            return None

    def set_last_reserved(self, index: int, address: IPAddress) -> None:
        path = f"{self.folder}/last_reserved_ip.{index}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, str(address).encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise IoFailed(f"{path} cannot be written: {error.strerror}") from error
        self._changed = True

    # many leases ----------------------------------------------------------

    def names(self) -> Iterator[str]:
        """Names of all files that are addresses; none if there is no folder."""
        for name, _ in self._entries():
            yield name

    def numbers(self, version: int, *, live: bool = False) -> set[int]:
        """Addresses of an IP version that have a file, as numbers; `live`: without those that are void."""
        return {
            int.from_bytes(packed)
            for name, packed in self._entries()
            if (version == 6) == (":" in name) and not (live and self.void(name))
        }

    def _entries(self) -> Iterator[tuple[str, bytes]]:
        from socket import AF_INET, AF_INET6, inet_pton

        try:
            entries = os.listdir(self.folder)
        except OSError:
            return
        for name in entries:
            try:
                yield name, inet_pton(AF_INET6 if ":" in name else AF_INET, name)
            except (OSError, ValueError):
                continue

    def unrecorded(self, key: EndpointKey) -> list[IPAddress]:
        """What the endpoint holds although no record names it. Under the lock: may rebuild the index."""
        owners = (owner_text(key), key.container_id)
        found = self._index.lookup(owners)
        if found is None:
            self._index.write(self._walk())
            self._was_valid = self._index.valid()
            found = self._index.lookup(owners)
        if found is None:  # no index can be kept here
            return self.search(key)
        return self._verified(owners, [name for owner in owners for name in found.get(owner, ())])

    def surely_none(self, key: EndpointKey) -> bool:
        """True if a valid index says that `unrecorded` would find nothing. Needs no lock, makes nothing."""
        if not os.path.isdir(self.folder):
            return True
        return self._index.lookup((owner_text(key), key.container_id)) == {}

    def search(self, key: EndpointKey) -> list[IPAddress]:
        """What the endpoint holds, recorded or not, by reading every lease."""
        return self._verified((owner_text(key), key.container_id), list(self.names()))

    def _verified(self, owners: tuple[str, str], names: list[str]) -> list[IPAddress]:
        """Addresses whose file names an owner: container and interface, else (old ones) the container."""
        by_owner: dict[str, list[IPAddress]] = {}
        for name in names:
            by_owner.setdefault(self.owner(name), []).append(ip_address(name))
        return by_owner.get(owners[0]) or by_owner.get(owners[1]) or []

    def _walk(self) -> Iterator[tuple[str, str]]:
        for name in self.names():
            owner = self.owner(name)
            if owner:
                yield name, owner
