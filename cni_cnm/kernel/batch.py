"""The `with` block of `Stack.batch()`."""

from __future__ import annotations

from typing import Protocol


class Queue(Protocol):
    def begin(self) -> int:
        """Queue from now on; the number of requests that are waiting already."""

    def end(self, keep: int | None) -> None:
        """The end of a block: of a failed one only the first `keep` requests stay. The outermost sends."""


class Batch:
    """Writes wait for the end of the block. Nested ones end with the outermost; a failed one sends nothing."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._before = 0

    def __enter__(self) -> None:
        self._before = self._queue.begin()

    def __exit__(self, kind: object, *_: object) -> None:
        self._queue.end(self._before if kind is not None else None)
