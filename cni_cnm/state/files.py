"""The embedded store: one JSON file a record, readable with `ls` and `cat`.

    STATE_DIR/networks/NAME.json        kept over reboots
    STATE_DIR/allowed/pairs.json        networks opened to each other
    STATE_DIR/pools/ID.json             the same: subnets that Docker has requested
    STATE_DIR/leased/ID.json            the same: addresses that an IPAM plugin has given an endpoint
    RUN_DIR/endpoints/ID.json           void after a reboot, like the kernel objects they describe
    RUN_DIR/sandboxes/ID.json
    RUN_DIR/firewall/state.json         what the packet filters looked like when all was well
                                        (cnm/packet_filter/firewall_reconcile.py)
    RUN_DIR/reaped/NAME.json            a network whose plugin was given back what an earlier boot left
    RUN_DIR/locks                       see lock.py

A file is replaced by rename, so a reader sees the old record or the new one, and a kill leaves one of them.
"""

from __future__ import annotations

import json
import os

from cni_cnm.errors import IoFailed
from cni_cnm.state.lock import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.model import Json

NETWORKS = "networks"
ENDPOINTS = "endpoints"
SANDBOXES = "sandboxes"
FIREWALL = "firewall"
ALLOWED = "allowed"
POOLS = "pools"
LEASED = "leased"
REAPED = "reaped"
_READ_BYTES = 64 << 10


class FileStore:
    """Records by key `KIND/NAME`; names have passed the doors' validation, so they are safe as file names."""

    def __init__(self, run_dir: str, state_dir: str) -> None:
        self._folders = {
            NETWORKS: f"{state_dir}/{NETWORKS}",
            ENDPOINTS: f"{run_dir}/{ENDPOINTS}",
            SANDBOXES: f"{run_dir}/{SANDBOXES}",
            FIREWALL: f"{run_dir}/{FIREWALL}",
            ALLOWED: f"{state_dir}/{ALLOWED}",
            POOLS: f"{state_dir}/{POOLS}",
            LEASED: f"{state_dir}/{LEASED}",
            REAPED: f"{run_dir}/{REAPED}",
        }
        self._lock_file = f"{run_dir}/locks"

    def lock(self, key: str, *, shared: bool = False, timeout_s: float = 50.0) -> Lock:
        return Lock(self._lock_file, key, shared=shared, timeout_s=timeout_s)

    def get(self, kind: str, name: str) -> Json | None:
        """The record, None if there is none. IoFailed if it cannot be read; an empty or broken one counts as none."""
        path = self._path(kind, name)
        try:
            content = _content(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise IoFailed(f"the record {path} cannot be read: {error.strerror}") from error
        try:
            return json.loads(content)
        except ValueError:
            # Only a power cut can leave this (rename is atomic, data may be lost): such a record says nothing.
            return None

    def put(self, kind: str, name: str, value: Json) -> None:
        path = self._path(kind, name)
        temporary = f"{path}.tmp"  # one writer at a time: a record is written under its lock, and deleted with this
        data = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
        try:
            self._write(temporary, data, durable=kind in (NETWORKS, ALLOWED, POOLS, LEASED))
            os.rename(temporary, path)
        except OSError as error:
            try:
                os.unlink(temporary)
            except OSError:
                pass
            raise IoFailed(
                f"the record {path} cannot be written: {error.strerror}", hint="is the file system full or read-only?"
            ) from error

    def _write(self, path: str, data: bytes, *, durable: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            descriptor = os.open(path, flags, 0o600)
        try:
            while data:  # a file system that fills up takes a part, and refuses the rest
                data = data[os.write(descriptor, data) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def delete(self, kind: str, name: str) -> None:
        """Missing is done. What a writer that was killed left beside it goes, too."""
        path = self._path(kind, name)
        for file in (path, f"{path}.tmp"):
            try:
                os.unlink(file)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise IoFailed(f"the record {path} cannot be removed: {error.strerror}") from error

    def names(self, kind: str) -> Iterator[str]:
        try:
            entries = os.listdir(self._folders[kind])
        except FileNotFoundError:
            return
        for entry in sorted(entries):
            if entry.endswith(".json"):
                yield entry[: -len(".json")]

    def _path(self, kind: str, name: str) -> str:
        return f"{self._folders[kind]}/{name}.json"


def _content(path: str) -> bytes:
    # Three system calls; open() makes nine.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, _READ_BYTES):
            parts.append(part)
            if len(part) < _READ_BYTES:
                break
        return b"".join(parts)
    finally:
        os.close(descriptor)
