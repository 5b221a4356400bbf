"""The service that a call has left behind: whom a worker may end."""

from __future__ import annotations

import os
import signal

import pytest

from cni_cnm.service import lingering


@pytest.mark.parametrize("alive", [True, False])
def test_the_supervisor_is_ended_and_no_process_that_took_its_place(
    monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    """A worker whose supervisor was killed has init, or the runtime's shim, as its parent."""
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *call: ended.append(call))
    monkeypatch.setattr(lingering, "_supervisor", os.getppid() if alive else os.getpid())
    lingering.end()
    assert ended == [(os.getppid(), signal.SIGTERM)] * alive
