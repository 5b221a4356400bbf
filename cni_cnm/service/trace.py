"""Times of a request: the calls to its stacks, records and packet filter, counted and timed.

Only for `cni-cnm serve --trace`, and only for the objects of one request.
"""

from __future__ import annotations

from time import perf_counter
from typing import TypeVar, cast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

T = TypeVar("T")


class Steps:
    """Times by name, in order of first use. Used by one thread."""

    def __init__(self) -> None:
        self._taken: dict[str, tuple[int, float]] = {}
        self._inside = False

    def watch(self, target: T) -> T:
        """Time the public methods of an object of this request. Methods called by others count as part of those."""
        for name, method in _methods(target):
            setattr(target, name, self._timed(name, method))
        return target

    def view(self, target: T, prefix: str) -> T:
        """An object that other requests use too, with its public methods timed. All else is the object's own."""
        timed = {name: self._timed(prefix + name, call) for name, call in _methods(target)}
        return cast("T", _View(target, timed))

    def taken(self) -> tuple[tuple[str, float], ...]:
        """Name, with the number of calls if there were several, and seconds."""
        return tuple(
            (f"{name}({count})" if count > 1 else name, seconds) for name, (count, seconds) in self._taken.items()
        )

    def _timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return method(*args, **kwargs)
            self._inside = True
            started = perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self._inside = False
                count, seconds = self._taken.get(name, (0, 0.0))
                self._taken[name] = count + 1, seconds + perf_counter() - started

        return timed


class _View:
    def __init__(self, target: object, timed: dict[str, Callable[..., Any]]) -> None:
        self._target = target
        self.__dict__.update(timed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


def _methods(target: object) -> list[tuple[str, Callable[..., Any]]]:
    names = (name for name in dir(type(target)) if not name.startswith("_"))
    return [(name, getattr(target, name)) for name in names if callable(getattr(type(target), name))]
