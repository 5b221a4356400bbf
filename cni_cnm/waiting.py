"""Marks where a request waits for another program or request, so that the service can serve others meanwhile.

with waiting():                 around the wait; it does nothing outside the service
    child.communicate()

A thread of the service registers its `Place` with `use`. Then `waiting` gives the place away and takes it back.
"""

from __future__ import annotations

from _thread import _local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Place(Protocol):
        """The right of a thread to work on a request, one of a few (service/server.py)."""

        def leave(self) -> None: ...
        def enter(self) -> None: ...
        def wanted(self) -> bool:
            """False once the caller of the request has closed its connection."""


_thread = _local()


def use(place: Place | None) -> None:
    """The calling thread's place from now on; None: it has none."""
    _thread.place = place


def place() -> Place | None:
    return getattr(_thread, "place", None)


class waiting:  # noqa: N801 - used like a function
    """A context manager. It may be nested: only the outermost one gives the place away."""

    def __enter__(self) -> None:
        self._place = place()
        if self._place is not None:
            _thread.place = None
            self._place.leave()

    def __exit__(self, *_: object) -> None:
        if self._place is not None:
            self._place.enter()
            _thread.place = self._place
