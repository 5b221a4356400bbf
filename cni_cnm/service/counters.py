"""Numbers that the processes of the service count, in memory that they share. The process for metrics reads them.

Made before the fork. Each process has a part of its own, which no other writes: a process that is started again goes on
in the same part. A number has a name and labels, and at most 1,000 of them fit into a part. A new one beyond that
is not counted, and `lost` says how often that was.
"""

from __future__ import annotations

from _thread import allocate_lock
from mmap import mmap
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypeAlias

    Key: TypeAlias = tuple[str, ...]
    """The name, then the values of the labels."""

_SLOT = 256
_VALUE, _LENGTH = Struct("=d"), Struct("=H")
_TEXT_AT = _VALUE.size + _LENGTH.size
_TEXT_MAX = _SLOT - _TEXT_AT
_SLOTS = 1001
_PART = _SLOT * _SLOTS
_BETWEEN = "\x1f"
"""Between the parts of a key: no name that is checked has it."""
LOST: Key = ("lost",)


class Counters:
    def __init__(self, parts: int) -> None:
        self._parts = parts
        self._memory = mmap(-1, parts * _PART)

    def part(self, number: int) -> Part:
        """For one process, and all of its threads."""
        return Part(self._memory, number * _PART)

    def read(self) -> Mapping[Key, float]:
        """The sums over all processes."""
        found: dict[Key, float] = {}
        for number in range(self._parts):
            for _, key, value in _slots(self._memory, number * _PART):
                found[key] = found.get(key, 0.0) + value
        return found


class Part:
    def __init__(self, memory: mmap, start: int) -> None:
        self._memory = memory
        self._start = start
        self._lock = allocate_lock()
        self._places: dict[Key, int] = {key: place for place, key, _ in _slots(memory, start)}
        if not self._places:
            self._place_of(LOST)

    def add(self, *key: str, value: float = 1.0) -> None:
        with self._lock:
            place = self._places.get(key)
            if place is None:
                place = self._place_of(key)
            (before,) = _VALUE.unpack_from(self._memory, place)
            _VALUE.pack_into(self._memory, place, before + value)

    def _place_of(self, key: Key) -> int:
        """A new slot. Its length is written last: a reader sees a whole one, or none."""
        text = _BETWEEN.join(key).encode(errors="replace")
        number = len(self._places)
        if number >= _SLOTS - 1 or len(text) > _TEXT_MAX:
            return self._places[LOST]
        place = self._start + number * _SLOT
        self._memory[place + _TEXT_AT : place + _TEXT_AT + len(text)] = text
        _LENGTH.pack_into(self._memory, place + _VALUE.size, len(text))
        self._places[key] = place
        return place


def _slots(memory: mmap, start: int) -> Iterator[tuple[int, Key, float]]:
    for place in range(start, start + _PART, _SLOT):
        (length,) = _LENGTH.unpack_from(memory, place + _VALUE.size)
        if not length:
            return
        text = memory[place + _TEXT_AT : place + _TEXT_AT + length].decode(errors="replace")
        yield place, tuple(text.split(_BETWEEN)), _VALUE.unpack_from(memory, place)[0]
