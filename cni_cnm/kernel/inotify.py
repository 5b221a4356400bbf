"""Folders whose changes wake the caller (inotify(7))."""

from __future__ import annotations

import os
from ctypes import CDLL, get_errno

_libc = CDLL(None, use_errno=True)
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_BUFFER = 1 << 16


class Inotify:
    """`fileno` becomes readable when a file of a watched folder was made, written, replaced or removed."""

    def __init__(self) -> None:
        self._descriptor: int = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            raise _failure("inotify_init1")

    def fileno(self) -> int:
        return self._descriptor

    def watch(self, folder: str) -> None:
        """Also a folder that is watched already. OSError if it is not there."""
        mask = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
        if _libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask) < 0:
            raise _failure("inotify_add_watch")

    def take(self) -> None:
        """Forget what was reported."""
        try:
            while os.read(self._descriptor, _BUFFER):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        os.close(self._descriptor)


def _failure(call: str) -> OSError:
    number = get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
