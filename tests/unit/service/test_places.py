"""Places of a worker: what fails inside a request costs no place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from cni_cnm.service.places import Places
from tests.waiting import until

TASKS = 10


def never() -> Callable[[], None]:
    """No thread is the spare one."""
    raise AssertionError


def fail() -> None:
    raise ValueError("a defect")


def test_a_task_that_fails_costs_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """More failures than threads: later requests are served, and `drain` returns."""
    said: list[str] = []
    monkeypatch.setattr("cni_cnm.service.places.say", said.append)
    coming: SimpleQueue[Callable[[], None]] = SimpleQueue()
    served = threading.Semaphore(0)
    places = Places(coming.get, never, places=2, threads=2)
    places.start()
    for _ in range(TASKS):
        coming.put(fail)
        places.submit(fail)
    for _ in range(TASKS):
        coming.put(served.release)
    for _ in range(TASKS):
        assert served.acquire(timeout=30)
    until(lambda: len(said) == 2 * TASKS, "every failure is said")
    places.drain()
    assert set(said) == {"a request failed: ValueError: a defect"}


def test_a_connection_that_fails_costs_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread accepts the next one, also while stderr is closed."""
    monkeypatch.setattr("cni_cnm.service.places.sleep", lambda _: None)
    monkeypatch.setattr("sys.stderr", None)
    coming: SimpleQueue[Callable[[], None]] = SimpleQueue()
    served = threading.Semaphore(0)
    broken = iter(range(TASKS))

    def accept() -> Callable[[], None]:
        if next(broken, None) is not None:
            raise OSError("no connection")
        return coming.get()

    places = Places(accept, never, places=2, threads=2)
    places.start()
    for _ in range(TASKS):
        coming.put(served.release)
    for _ in range(TASKS):
        assert served.acquire(timeout=30)
    places.drain()


def test_a_request_of_the_spare_thread_is_finished_before_the_end() -> None:
    coming: SimpleQueue[Callable[[], None]] = SimpleQueue()
    spare: SimpleQueue[Callable[[], None]] = SimpleQueue()
    others, begun, answers, drained = (threading.Event() for _ in range(4))
    places = Places(coming.get, spare.get, places=1, threads=1)

    def waits() -> None:
        places.leave()
        others.wait()
        places.enter()

    def status() -> None:
        begun.set()
        answers.wait()

    def drain() -> None:
        places.drain()
        drained.set()

    places.start()
    coming.put(waits)
    spare.put(status)
    assert begun.wait(timeout=30)
    others.set()
    until(lambda: places._working == 1, "the other request is answered")
    thread = threading.Thread(target=drain)
    thread.start()
    assert not drained.wait(timeout=0.2)
    answers.set()
    thread.join(timeout=30)
    assert drained.is_set()
