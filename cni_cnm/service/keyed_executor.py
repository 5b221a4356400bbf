"""Which thread runs a request: those of one endpoint in order of arrival, different endpoints side by side.

A request waiting for another of its endpoint holds no thread. Threads are made when needed, up to a limit,
and stay; STATUS has a lane of its own, because it must answer while a storm of ADDs fills the other one.
"""

from __future__ import annotations

from collections import deque
from queue import SimpleQueue
from threading import Lock, Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    Task = Callable[[], None]

_STACK_BYTES = 512 << 10


class Lane:
    """At most `width` threads working through tasks. A task does not raise."""

    def __init__(self, name: str, width: int) -> None:
        self._name = name
        self._width = width
        self._lock = Lock()
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._unfinished = 0
        self._behind: dict[Hashable, deque[Task]] = {}

    def submit(self, key: Hashable, task: Task) -> None:
        """Run `task` after those submitted before it with an equal key; None: after nothing.

        RuntimeError if there is no thread and none can be made: the task is not run.
        """
        with self._lock:
            waiting = self._behind.get(key) if key is not None else None
            if waiting is not None:
                waiting.append(task)
                return
            if self._unfinished >= len(self._threads) < self._width:
                self._add_thread()
            if key is not None:
                self._behind[key] = deque()
            self._unfinished += 1
        self._tasks.put(lambda: self._run(key, task))

    def drain(self) -> None:
        """Return when everything submitted is done; the lane takes nothing after that."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _add_thread(self) -> None:
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
        following: Task | None = task
        while following is not None:
            following()
            following = self._next(key)

    def _next(self, key: Hashable) -> Task | None:
        if key is None:
            return None
        with self._lock:
            waiting = self._behind[key]
            if waiting:
                return waiting.popleft()
            del self._behind[key]
            return None
