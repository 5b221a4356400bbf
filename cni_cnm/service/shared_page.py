"""A page of memory that the processes of one service share: when the last request came, and whether changes are seen.

Made before the fork. Each value has one aligned word, so no lock is needed.
"""

from __future__ import annotations

from mmap import PAGESIZE, mmap
from struct import Struct
from time import monotonic

_CALLED, _WATCHING = 0, 8
_SECONDS, _FLAG = Struct("=d"), Struct("=B")


class SharedPage:
    def __init__(self) -> None:
        self._memory = mmap(-1, PAGESIZE)
        self.called()

    def called(self) -> None:
        """A request has come now."""
        _SECONDS.pack_into(self._memory, _CALLED, monotonic())

    def idle_s(self) -> float:
        """Seconds since the last request, or since the start."""
        last: float = _SECONDS.unpack_from(self._memory, _CALLED)[0]
        return monotonic() - last

    @property
    def watching(self) -> bool:
        """Whether the watch sees changes (reconcile_watch.py)."""
        return bool(self._memory[_WATCHING])

    @watching.setter
    def watching(self, value: bool) -> None:
        _FLAG.pack_into(self._memory, _WATCHING, value)
