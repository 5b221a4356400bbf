"""Waiting for something that another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(ready: Callable[[], object], what: str, limit: float = 60, said: Callable[[], object] = str) -> None:
    """Wait up to `limit` seconds until `ready` is true. AssertionError names `what`, and shows what `said` gives."""
    deadline = time.monotonic() + limit
    while not ready():
        assert time.monotonic() < deadline, f"{what}: not within {limit:.0f} s\n{said()}"
        time.sleep(0.02)
