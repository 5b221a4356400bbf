"""A Store whose records are read and parsed once: several checks need each of them."""

from __future__ import annotations

from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.state.store import Store


class SeenStore:
    """Reading verbs are those of the store. What was parsed is kept (state/record_reader.py)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.kept: dict[object, object] = {}
        self._names: dict[str, list[str]] = {}

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._store, verb)

    def names(self, kind: str) -> list[str]:
        if kind not in self._names:
            self._names[kind] = list(self._store.names(kind))
        return self._names[kind]
