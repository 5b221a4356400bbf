"""The `with` blocks of `Stack.batch()`, `Stack.deleting()` and `OverlayStack.attempting()`."""

from __future__ import annotations

from cni_cnm.bases import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Queue(Protocol):
    def begin(self) -> int:
        """Queue from now on. Gives the number of requests that are waiting already."""

    def end(self, keep: int | None) -> None:
        """End of a block. Of a failed one only the first `keep` requests stay. The outermost block sends."""


class Batch:
    """Writes wait for the end of the block. Blocks inside others end with the outermost; a failed one sends nothing."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._before = 0

    def __enter__(self) -> None:
        self._before = self._queue.begin()

    def __exit__(self, kind: object, *_: object) -> None:
        self._queue.end(self._before if kind is not None else None)


class Attempting(Queue, Protocol):
    failures: list[Exception] | None
    """Where failures of queued requests go; None: the first one is raised."""


class Attempts:
    """As `Batch`; the block is handed a list, to which all failures are added at its end. Not inside a batch."""

    def __init__(self, queue: Attempting) -> None:
        self._queue = queue
        self._before = 0

    def __enter__(self) -> list[Exception]:
        self._before = self._queue.begin()
        failures: list[Exception] = []
        self._queue.failures = failures
        return failures

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._queue.end(self._before if kind is not None else None)
        finally:
            self._queue.failures = None


class DeletesLinks(Protocol):
    deletions: list[int] | None
    """Indexes of the links that the block deletes at its end; None outside of a block."""

    def delete_links(self, indexes: Sequence[int]) -> None:
        """Try all of them. No error for absent ones; the first failure is raised."""


class Deleting:
    """Deletions wait for the end of the block, also if it fails. A block inside another ends by itself."""

    def __init__(self, stack: DeletesLinks) -> None:
        self._stack = stack
        self._outer: list[int] | None = None

    def __enter__(self) -> None:
        self._outer, self._stack.deletions = self._stack.deletions, []

    def __exit__(self, *_: object) -> None:
        deletions, self._stack.deletions = self._stack.deletions, self._outer
        if deletions:
            self._stack.delete_links(deletions)
