"""The store that is built in: one JSON file a record, readable with `ls` and `cat`.

STATE_DIR/networks/NAME.json    kept over reboots
STATE_DIR/allowed/pairs.json    kept: networks that are opened to each other
STATE_DIR/pools/ID.json         kept: subnets that Docker has requested
STATE_DIR/adopt/NETWORK.json    kept: networks that were taken over from the reference plugins
STATE_DIR/leased/ID.json        kept: addresses that an IPAM plugin has given an endpoint
RUN_DIR/endpoints/ID.json       void after a reboot, like the kernel objects they describe
RUN_DIR/sandboxes/ID.json
RUN_DIR/firewall/state.json     the packet filters as last written (cnm/packet_filter/firewall_reconcile.py)
RUN_DIR/reaped/NAME.json        the epoch in which a network's leases of earlier epochs were released
RUN_DIR/given/NETWORK+IP.json   addresses of podman's containers (netavark/given_addresses.py)
RUN_DIR/locks                   see lock.py
"""

from __future__ import annotations

import os

from cni_cnm.errors import DamagedRecord, IoFailed, file_hint
from cni_cnm.json_text import decoder, encoder
from cni_cnm.memo import Memo
from cni_cnm.state import small_files
from cni_cnm.state.lock import Lock
from cni_cnm.state.store import DURABLE, hint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.model import Json

_SUFFIX = ".json"
_decoded: Memo[Json] = Memo()
"""Of records that many requests read. They are read from the disk each time, and decoded when they have changed."""
_decode = decoder()
_encode = encoder((",", ":"))
_ABSENT_MAX = 64


class FileStore:
    """A `Store` of files."""

    kept: dict[object, object] | None = None

    def __init__(self, run_dir: str, state_dir: str) -> None:
        self._run_dir = run_dir
        self._state_dir = state_dir
        self._lock_file = f"{run_dir}/locks"
        self._absent: set[str] = set()
        """Paths that were looked for and not found, until they are written. Forgetting one costs a temporary file."""

    def lock(self, key: str, *, shared: bool = False, timeout_s: float = 50.0) -> Lock:
        return Lock(self._lock_file, key, shared=shared, timeout_s=timeout_s)

    def get(self, kind: str, name: str) -> Json | None:
        path = self._path(kind, name)
        try:
            content = small_files.read(path)
        except FileNotFoundError:
            if len(self._absent) == _ABSENT_MAX:
                self._absent.clear()
            self._absent.add(path)
            return None
        except OSError as error:
            raise IoFailed(f"the record {path} cannot be read: {error.strerror}", hint=file_hint(error)) from error
        if not content.strip(b"\0 \n"):
            return None  # a power cut may leave this: the rename was on the disk, the data was not
        try:
            if kind in DURABLE:
                return _decoded.get(path, (content,), lambda: _decode(content))
            return _decode(content)
        except (ValueError, RecursionError) as error:
            raise DamagedRecord(f"the record {path} is not JSON: {error}", hint=hint(kind)) from error

    def has(self, kind: str, name: str) -> bool:
        return os.path.exists(self._path(kind, name))

    def place(self, kind: str, name: str) -> str:
        return self._path(kind, name)

    def unfinished(self, kind: str, name: str) -> bool:
        return os.path.lexists(small_files.temporary(self._path(kind, name)))

    def put(self, kind: str, name: str, value: Json) -> None:
        path = self._path(kind, name)
        data = _encode(value).encode()
        durable = kind in DURABLE
        try:
            absent = path in self._absent or (durable and not os.path.lexists(path))
            if not (absent and self._create(path, data, durable=durable)):
                small_files.replace(path, data, durable=durable)
        except OSError as error:
            raise IoFailed(f"the record {path} cannot be written: {error.strerror}", hint=file_hint(error)) from error

    def _create(self, path: str, data: bytes, *, durable: bool) -> bool:
        """Write a record that was absent: a kill leaves no temporary file of it. False if there is one now."""
        self._absent.discard(path)
        try:
            try:
                small_files.create(path, data, durable=durable)
            except FileNotFoundError:
                small_files.make_folder(os.path.dirname(path), 0o700)
                small_files.create(path, data, durable=durable)
        except FileExistsError:
            return False
        return True

    def delete(self, kind: str, name: str) -> None:
        """Also what a killed `put` has left beside the record."""
        path = self._path(kind, name)
        try:
            small_files.remove(path)
            small_files.remove(small_files.temporary(path))
        except OSError as error:
            raise IoFailed(f"the record {path} cannot be removed: {error.strerror}", hint=file_hint(error)) from error

    def names(self, kind: str) -> Iterator[str]:
        """In alphabetical order; none if the folder is missing. IoFailed if it cannot be read."""
        folder = self._folder(kind)
        try:
            entries = os.listdir(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise IoFailed(f"the folder {folder} cannot be read: {error.strerror}", hint=file_hint(error)) from error
        for entry in sorted(entries):
            if entry.endswith(_SUFFIX):
                yield entry.removesuffix(_SUFFIX)

    def _path(self, kind: str, name: str) -> str:
        return f"{self._folder(kind)}/{name}{_SUFFIX}"

    def _folder(self, kind: str) -> str:
        return f"{self._state_dir if kind in DURABLE else self._run_dir}/{kind}"
