"""What several threads ask the kernel for at the same time is done by one of them for all, where once costs as much as
many times: a deletion that waits, a table that is walked.
"""

from __future__ import annotations

from _thread import allocate_lock
from typing import Generic, TypeVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class Coalesce(Generic[T]):
    """`act` does what was asked for meanwhile; whatever came of it it leaves in the items. It is called by one thread
    at a time. If it raises, it raises for the one whose thread that was, so it had better not."""

    def __init__(self, act: Callable[[Sequence[T]], None]) -> None:
        self._act = act
        self._waiting: list[T] = []
        self._list = allocate_lock()
        self._turn = allocate_lock()

    def do(self, item: T) -> None:
        """Returns when it is done: at once if nothing is under way, else with all that came meanwhile."""
        with self._list:
            self._waiting.append(item)
        with self._turn:
            with self._list:
                if all(one is not item for one in self._waiting):
                    return
                taken, self._waiting = self._waiting, []
            self._act(taken)
