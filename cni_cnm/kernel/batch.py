"""The `with` blocks of `Stack.batch()` and `Stack.deleting()`."""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


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


class Deletes(Protocol):
    leaving: list[int] | None
    """Indexes of the links that a block deletes; None: there is none."""

    def delete_links(self, indexes: Sequence[int]) -> None:
        """Try all of them, gone is done; the first failure is raised."""


class Deleting:
    """Deletions wait for the end of the block, also of one that fails. A block in a block ends by itself."""

    def __init__(self, stack: Deletes) -> None:
        self._stack = stack
        self._outer: list[int] | None = None

    def __enter__(self) -> None:
        self._outer, self._stack.leaving = self._stack.leaving, []

    def __exit__(self, *_: object) -> None:
        leaving, self._stack.leaving = self._stack.leaving, self._outer
        if leaving:
            self._stack.delete_links(leaving)
