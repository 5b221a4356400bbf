"""Runs tasks on threads: tasks with an equal key one after another, all others side by side.

A task that waits for another one of its key holds no thread. Threads are started when needed, up to a limit, and stay.
"""

from __future__ import annotations

from collections import deque
from queue import SimpleQueue
from threading import Lock, Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    Task = Callable[[], None]


class KeyedExecutor:
    """At most `width` threads, named `NAME-0`, `NAME-1`, …. A task does not raise."""

    def __init__(self, name: str, width: int) -> None:
        self._name = name
        self._width = width
        self._lock = Lock()
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._unfinished = 0
        self._following: dict[Hashable, deque[Task]] = {}
        """For each key in progress, the tasks that wait for it."""

    def submit(self, key: Hashable, task: Task) -> None:
        """Run `task` after earlier ones of an equal key. None: it waits for no other task.

        RuntimeError if there is no thread and none can be started: the task is not run.
        """
        with self._lock:
            following = self._following.get(key) if key is not None else None
            if following is not None:
                following.append(task)
                return
            if self._unfinished >= len(self._threads) < self._width:
                self._start_thread()
            if key is not None:
                self._following[key] = deque()
            self._unfinished += 1
        self._tasks.put(lambda: self._run(key, task))

    def drain(self) -> None:
        """Return when all submitted tasks are finished. Nothing may be submitted afterwards."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _start_thread(self) -> None:
        thread = Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # pids.max of a control group, or no memory
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            with self._lock:
                self._unfinished -= 1

    def _run(self, key: Hashable, task: Task) -> None:
        current: Task | None = task
        while current is not None:
            current()
            current = self._next(key)

    def _next(self, key: Hashable) -> Task | None:
        if key is None:
            return None
        with self._lock:
            following = self._following[key]
            if following:
                return following.popleft()
            del self._following[key]
            return None
