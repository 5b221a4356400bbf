"""Locks by name between processes and threads: byte ranges of one file. And the wait for any lock of this program.

    RUN_DIR/locks      empty file; the number of the locked byte comes from the key's digest

Open-file-description locks (fcntl(2), F_OFD_SETLK) belong to a descriptor. So two threads of one process exclude each
other too, and the kernel releases the locks of a killed process. One file serves all keys: nothing has to be removed.
"""

from __future__ import annotations

import fcntl
import os
import struct
from time import monotonic, sleep

from cni_cnm.errors import IoFailed, TryAgain
from cni_cnm.model import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FLOCK = struct.Struct("hhqqi4x")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.02


class Lock:
    """A context manager that holds `key`, shared or exclusive. TryAgain if others hold it for `timeout_s` seconds."""

    def __init__(self, path: str, key: str, *, shared: bool = False, timeout_s: float = 50.0) -> None:
        self._path = path
        self._key = key
        self._kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
        self._timeout_s = timeout_s
        self._descriptor = -1

    def __enter__(self) -> None:
        self._descriptor = self._open()
        try:
            self._acquire()
        except BaseException:
            self._close()
            raise

    def __exit__(self, *_: object) -> None:
        self._close()

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
            return os.open(self._path, flags, 0o600)
        except OSError as error:
            raise IoFailed(f"the lock file {self._path} cannot be opened: {error.strerror}") from error

    def _acquire(self) -> None:
        offset = int(digest(self._key)[:15], 16)
        request = _FLOCK.pack(self._kind, os.SEEK_SET, offset, 1, 0)
        if not acquire(lambda: fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, request), self._timeout_s):
            raise TryAgain(
                f"another request holds {self._key} for more than {self._timeout_s:g} s",
                hint="it is retried by the runtime; if it persists, look for a hanging cni-cnm process",
            )

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


def acquire(attempt: Callable[[], object], timeout_s: float) -> bool:
    """Call `attempt` until it raises no BlockingIOError. False if it still does after `timeout_s` seconds."""
    deadline = monotonic() + timeout_s
    pause = _FIRST_PAUSE_S
    while True:
        try:
            attempt()
        except BlockingIOError:
            if monotonic() >= deadline:
                return False
            sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
        else:
            return True
