"""The threads of a worker, and the few places at which they work.

A thread needs a place to accept a connection and to work on its request. While the request waits for another program
(waiting.py) its thread gives the place to another one. So few requests compete for the interpreter's lock, and one
that waits delays no other.
"""

from __future__ import annotations

from collections import deque
from threading import Condition, Lock, Thread
from time import sleep

from cni_cnm.frontend.stderr import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Task = Callable[[], None]

THREADS_MAX = 24
"""Of one worker: requests that wait, and those that work."""
PLACES = 8
"""On an idle host two are enough. On a busy one each thread waits for a processor, and more of them get more of it."""
_PAUSE_S = 0.1
"""What failed once may fail at once again."""


class Ended(Exception):
    """No connection comes any more. The thread that raises it ends."""


class Places:
    """`accept` blocks until there is a connection, and gives the task of serving it.

    `spare` does so for what must not wait behind others, on a thread of its own while all others wait.
    """

    def __init__(
        self, accept: Callable[[], Task], spare: Callable[[], Task], places: int = PLACES, threads: int = THREADS_MAX
    ) -> None:
        self._accept = accept
        self._spare = spare
        self._places = places
        self._threads_max = threads
        self._lock = Lock()
        """Guards the following."""
        self._free = places
        """Places without a thread. Below 0: requests that have waited took their places back."""
        self._tasks: deque[Task] = deque()
        self._threads = 0
        self._parked = 0
        """Threads without a place."""
        self._granted = 0
        """Places that are given to parked threads, which have not woken yet."""
        self._working = 0
        self._has_spare = False
        self._room = Condition(self._lock)
        self._starved = Condition(self._lock)
        self._drained = Condition(self._lock)

    def start(self) -> None:
        """RuntimeError if not even one thread can be started."""
        with self._lock:
            for _ in range(self._places):
                self._start()

    def submit(self, task: Task) -> None:
        """Run a task whose request has come by another way, as soon as there is a thread."""
        with self._lock:
            self._tasks.append(task)
            self._provide()

    def leave(self) -> None:
        """The calling thread's request waits from now on."""
        with self._lock:
            self._free += 1
            if self._free > 0:
                self._provide()

    def enter(self) -> None:
        """It goes on."""
        with self._lock:
            self._free -= 1

    def drain(self) -> None:
        """Return when every request that has come is answered."""
        with self._lock:
            while self._working or self._tasks:
                self._drained.wait()

    def _provide(self) -> None:
        """Give a place to a thread that has none. If there is no such thread, the spare one accepts connections."""
        if self._parked:
            self._parked -= 1
            self._free -= 1
            self._granted += 1
            self._room.notify()
        elif self._threads < self._threads_max and self._start():
            return
        elif self._has_spare:
            self._starved.notify()
        else:
            self._has_spare = _started(self._run_spare, "spare")

    def _start(self) -> bool:
        """A new thread with a place. False if there is none, which is no error as long as there are others."""
        if not _started(self._run, f"request-{self._threads}"):
            if not self._threads:
                raise RuntimeError("no thread can be started")
            return False
        self._threads += 1
        self._free -= 1
        return True

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._free < 0 and not self._tasks:
                    self._park()
                task = self._tasks.popleft() if self._tasks else None
                self._working += task is not None
            if task is None:
                task = self._accepted(self._accept)
            self._work(task)

    def _work(self, task: Task) -> None:
        """Do a task that is counted."""
        try:
            task()
        except Exception as error:  # noqa: BLE001 - the place stays with this thread
            say(f"a request failed: {type(error).__name__}: {error}")
        with self._lock:
            self._working -= 1
            if not self._working:
                self._drained.notify_all()

    def _accepted(self, accept: Callable[[], Task]) -> Task:
        """The next task, which is counted from now on."""
        while True:
            try:
                task = accept()
                with self._lock:
                    self._working += 1
                return task
            except Ended:
                raise
            except Exception as error:  # noqa: BLE001 - likewise
                say(f"a connection failed: {type(error).__name__}: {error}")
                sleep(_PAUSE_S)

    def _park(self) -> None:
        self._free += 1
        self._parked += 1
        while not self._granted:
            self._room.wait()
        self._granted -= 1

    def _run_spare(self) -> None:
        while True:
            with self._lock:
                while self._free <= 0:
                    self._starved.wait()
            self._work(self._accepted(self._spare))


def _started(run: Callable[[], None], name: str) -> bool:
    def until_ended() -> None:
        try:
            run()
        except Ended:
            pass

    try:
        Thread(target=until_ended, name=name, daemon=True).start()
    except RuntimeError:  # pids.max of a control group, or no memory
        return False
    return True
