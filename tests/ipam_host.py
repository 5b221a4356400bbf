"""What an IPAM is handed of the host, with a store in memory: nothing below `wiring` makes a store of its own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager
from threading import RLock
from typing import NamedTuple

from cni_cnm.model import Json
from cni_cnm.settings import Settings
from cni_cnm.state import epoch
from cni_cnm.state.store import Store


class MemoryStore:
    """A `Store` of one process. Records pass through JSON, as in a real one."""

    kept: dict[object, object] | None = None

    def __init__(self) -> None:
        self._records: dict[str, dict[str, str]] = defaultdict(dict)
        self._locks: dict[str, RLock] = defaultdict(RLock)

    def get(self, kind: str, name: str) -> Json | None:
        text = self._records[kind].get(name)
        return None if text is None else json.loads(text)

    def has(self, kind: str, name: str) -> bool:
        return name in self._records[kind]

    def place(self, kind: str, name: str) -> str:
        return f"{kind}/{name}"

    def unfinished(self, kind: str, name: str) -> bool:
        return False

    def put(self, kind: str, name: str, value: Json) -> None:
        self._records[kind][name] = json.dumps(value)

    def delete(self, kind: str, name: str) -> None:
        self._records[kind].pop(name, None)

    def names(self, kind: str) -> Iterator[str]:
        yield from sorted(self._records[kind])

    def lock(self, key: str, *, shared: bool = False, timeout_s: float = 50.0) -> AbstractContextManager[None]:
        return self._locks[key]  # type: ignore[return-value]


class Host(NamedTuple):
    settings: Settings
    store: Store
    epoch: str


def ipam_host(settings: Settings | None = None) -> Host:
    return Host(settings or Settings(), MemoryStore(), epoch.current())
