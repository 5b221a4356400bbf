"""Locks by key between processes and threads: each key is one byte of one file.

    RUN_DIR/locks      empty file; the position of a key's byte is its digest

Open file description locks (fcntl(2), F_OFD_SETLK) belong to the descriptor. So two threads of one process exclude each
other as well, and the kernel releases the locks of a killed process. One file for all keys: nothing to clean up.
"""

from __future__ import annotations

import fcntl
import os
import struct
from time import monotonic, sleep

from cni_cnm.errors import IoFailed, TryAgain, file_hint
from cni_cnm.model import digest
from cni_cnm.state.small_files import make_folder
from cni_cnm.waiting import place, waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.waiting import Place

_FLOCK = struct.Struct("hhqqi4x")
_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.02
_BRIEF_S = 0.003
"""A longer wait gives the thread's place in the service to another request (waiting.py)."""


def wait_for(take: Callable[[], object], timeout_s: float) -> bool:
    """Call `take` until it no longer raises BlockingIOError. False if that takes longer than `timeout_s` seconds.

    TryAgain if the caller of a request to the service ends meanwhile: what it requested must not be done any more.
    """
    if _taken_within(take, min(timeout_s, _BRIEF_S)):
        return True
    if timeout_s <= _BRIEF_S:
        return False
    caller = place()
    with waiting():
        return _taken_within(take, timeout_s - _BRIEF_S, caller)


def _taken_within(take: Callable[[], object], timeout_s: float, caller: Place | None = None) -> bool:
    deadline = monotonic() + timeout_s
    pause = _FIRST_PAUSE_S
    while True:
        try:
            take()
            return True
        except BlockingIOError:
            if monotonic() >= deadline:
                return False
        if caller is not None and not caller.wanted():
            raise TryAgain("the caller has ended while its request waited for another one")
        sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)


class Lock:
    """A context manager that holds `key`, shared or exclusive. TryAgain if it cannot be had in `timeout_s` seconds."""

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
        except OSError as error:
            self._close()
            raise IoFailed(f"the lock {self._key} cannot be taken: {error.strerror}") from error
        except BaseException:
            self._close()
            raise

    def __exit__(self, *_: object) -> None:
        self._close()

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            try:
                return os.open(self._path, flags, 0o600)
            except FileNotFoundError:
                make_folder(os.path.dirname(self._path), 0o700)
                return os.open(self._path, flags, 0o600)
        except OSError as error:
            sentence = f"the lock file {self._path} cannot be opened: {error.strerror}"
            raise IoFailed(sentence, hint=file_hint(error)) from error

    def _acquire(self) -> None:
        offset = int(digest(self._key)[:15], 16)
        request = _FLOCK.pack(self._kind, os.SEEK_SET, offset, 1, 0)
        if not wait_for(lambda: fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, request), self._timeout_s):
            raise TryAgain(
                f"another request holds the lock {self._key} for more than {self._timeout_s:g} s",
                hint="the runtime tries again; if this goes on, look for a cni-cnm process that hangs",
            )

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
