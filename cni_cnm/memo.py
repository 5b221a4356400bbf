"""What was made from the same input before: every pod of a network brings the same configuration.

The whole input is compared, byte by byte, so a value is never older than what it was made from. Values are shared by
all requests of the process: none of them changes one.
"""

from __future__ import annotations

from marshal import dumps

from cni_cnm.bases import Generic, TypeVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

V = TypeVar("V")

NAMES_MAX = 64
BYTES_MAX = 16 * 1024
"""Of one input. A larger one is not kept."""
_FORMAT = 2
"""Of marshal: equal values have equal bytes, and true, 1 and 1.0 have different ones."""


class Memo(Generic[V]):
    """The last value for each name. With NAMES_MAX names it is full, and begins anew."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes, V]] = {}

    def get(self, name: str, given: tuple[Any, ...], make: Callable[[], V]) -> V:
        """What `make` returned for an equal `given`, else `make()`. What it raises is not kept.

        `given` has plain values only (JSON's, and tuples of them); for others `make` is called each time.
        """
        try:
            content = dumps(given, _FORMAT)
        except ValueError:
            return make()
        known = self._known.get(name)
        if known is not None and known[0] == content:
            return known[1]
        made = make()
        if len(content) <= BYTES_MAX:
            if len(self._known) >= NAMES_MAX:
                self._known.clear()
            self._known[name] = content, made
        return made
