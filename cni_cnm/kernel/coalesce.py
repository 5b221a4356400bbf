"""Does simultaneous requests of several threads as one, where one costs as much as many.

Used for deletions that wait in the kernel, and for walks of a kernel table.
"""

from __future__ import annotations

from _thread import allocate_lock
from typing import Generic, TypeVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class Coalesce(Generic[T]):
    """`act` handles all items that arrived while the previous call ran. It is called by one thread at a time.

    It leaves each result in its item and must not raise: only one of the waiting threads would see the exception.
    """

    def __init__(self, act: Callable[[Sequence[T]], None]) -> None:
        self._act = act
        self._waiting: list[T] = []
        self._list = allocate_lock()
        self._turn = allocate_lock()

    def do(self, item: T) -> None:
        """Return when `item` is handled: at once if no call runs, else together with those that arrived meanwhile."""
        with self._list:
            self._waiting.append(item)
        with self._turn:
            with self._list:
                if all(one is not item for one in self._waiting):
                    return
                taken, self._waiting = self._waiting, []
            self._act(taken)
