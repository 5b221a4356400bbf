"""The threads that requests run on."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from cni_cnm.service import keyed_executor
from cni_cnm.service.keyed_executor import KeyedExecutor


class Unstarted(Thread):
    """As where a control group's limit is reached."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_no_thread_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task is refused, not lost; one of the same key is taken as soon as a thread can be had."""
    executor, done = KeyedExecutor("test", 2), Event()
    with monkeypatch.context() as patched:
        patched.setattr(keyed_executor, "Thread", Unstarted)
        with pytest.raises(RuntimeError, match="can't start"):
            executor.submit("key", done.set)
    executor.submit("key", done.set)
    assert done.wait(20)
    executor.drain()


def test_no_second_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while the only one is busy waits for it."""
    executor, begun, go, done = KeyedExecutor("test", 2), Event(), Event(), Event()

    def first() -> None:
        begun.set()
        assert go.wait(20)

    executor.submit(1, first)
    assert begun.wait(20)
    with monkeypatch.context() as patched:
        patched.setattr(keyed_executor, "Thread", Unstarted)
        executor.submit(2, done.set)
    assert not done.is_set()
    go.set()
    assert done.wait(20)
    executor.drain()
