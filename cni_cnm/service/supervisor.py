"""The first process of the service: it starts the others, starts them again when they end, and stops them.

It runs no request and has no thread, so that a fork copies a process in a known state. Everything is imported before
the first fork: the children share those pages of memory.

    SIGTERM, SIGINT     the children finish their requests, those of a lower stage first; then this process ends
    a child ends        it is started again: at once, or after a pause if it did not run for long
    SIGKILL             the children finish their requests, too

Each child has the read end of a pipe, whose write end only the supervisor has. The pipe ends when the supervisor closes
it, or is killed. Children do not react to SIGTERM: systemd sends it to all processes at once.
"""

from __future__ import annotations

import os
import select
import signal
from time import monotonic

from cni_cnm.frontend.stderr import say
from cni_cnm.kernel import privileges
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PAUSE_FIRST_S, _PAUSE_LONGEST_S = 0.1, 5.0
_RAN_WELL_S = 10.0
"""A child that ran for so long is started again without a pause."""


class Role(NamedTuple):
    """What a child does: `run` until the descriptor that it is given becomes readable."""

    name: str
    run: Callable[[int], None]
    capabilities: frozenset[int] = privileges.SERVICE
    executes: bool = True
    """It starts programs, which get what the service has."""
    stage: int = 0
    """Children of a lower stage are stopped first."""
    ended: Callable[[], None] = lambda: None
    """Called in the supervisor when the child has ended."""


class _Child:
    def __init__(self, role: Role) -> None:
        self.role = role
        self.pid = 0
        self.pipe = -1
        """Write end of its pipe."""
        self.started = 0.0
        self.due = 0.0
        """When it may be started, if it does not run."""
        self.pause = 0.0


class Supervisor:
    """`before_stop` is called as soon as the service is to stop. `time_left_s` gives seconds until it stops by itself.

    `closed`: descriptors that a child does not keep. `restarted` is told the names of children that end.
    """

    def __init__(
        self,
        roles: Sequence[Role],
        before_stop: Callable[[], None],
        closed: Sequence[int] = (),
        time_left_s: Callable[[], float | None] = lambda: None,
        restarted: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._children = [_Child(role) for role in roles]
        self._before_stop = before_stop
        self._closed = closed
        self._time_left_s = time_left_s
        self._restarted = restarted
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stopping = False

    def start(self) -> None:
        """Start every child. Signals are handled from now on."""
        signal.signal(signal.SIGCHLD, lambda *_: os.eventfd_write(self._wake, 1))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._request_stop())
        for child in self._children:
            self._start(child)

    def run(self) -> None:
        """Keep the children running until the service is to stop, then stop them."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        while not self._stopping:
            self._reap()
            for child in self._children:
                if not child.pid and child.due <= monotonic():
                    self._start(child)
            left_s = self._time_left_s()
            if left_s is not None and left_s <= 0:
                break
            waits = [child.due - monotonic() for child in self._children if not child.pid]
            waits += [left_s] if left_s is not None else []
            if poll.poll(max(0.0, min(waits)) * 1000 + 1 if waits else None):
                os.eventfd_read(self._wake)
        self._stopping = True
        self._before_stop()
        for stage in sorted({child.role.stage for child in self._children}):
            self._stop_stage(stage, poll)

    def _request_stop(self) -> None:
        self._stopping = True
        os.eventfd_write(self._wake, 1)

    def _start(self, child: _Child) -> None:
        """Start it; if that fails, later."""
        stop = -1
        try:
            stop, child.pipe = os.pipe2(os.O_CLOEXEC)
            pid = os.fork()
        except OSError as error:
            say(f"{child.role.name} cannot be started: {error.strerror}")
            _close(stop, child.pipe)
            child.pipe = -1
            self._postpone(child)
            return
        if pid == 0:
            _become(child.role, stop, (self._wake, *self._closed, *(one.pipe for one in self._children)))
        os.close(stop)
        child.pid, child.started = pid, monotonic()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children:
                if child.pid == pid:
                    self._ended(child, status)

    def _ended(self, child: _Child, status: int) -> None:
        pid, child.pid = child.pid, 0
        _close(child.pipe)
        child.pipe = -1
        child.role.ended()
        if self._stopping:
            return
        if monotonic() - child.started >= _RAN_WELL_S:
            child.pause = 0.0
        code = os.waitstatus_to_exitcode(status)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        say(f"{child.role.name} ({pid}) {how}; it is started again")
        self._restarted(child.role.name)
        self._postpone(child)

    def _postpone(self, child: _Child) -> None:
        """The first start after a failure is at once, later ones pause longer and longer."""
        child.due = monotonic() + child.pause
        child.pause = min(max(child.pause * 2, _PAUSE_FIRST_S), _PAUSE_LONGEST_S)

    def _stop_stage(self, stage: int, poll: select.poll) -> None:
        """Stop its children and wait until they have ended."""
        stopped = [child for child in self._children if child.role.stage == stage]
        for child in stopped:
            _close(child.pipe)
            child.pipe = -1
        while True:
            self._reap()
            if not any(child.pid for child in stopped):
                return
            if poll.poll():
                os.eventfd_read(self._wake)


def _become(role: Role, stop: int, closed: Sequence[int]) -> None:
    """Runs in a new child. Does not return."""
    code = 1
    try:
        _close(*closed)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # not SIG_IGN, which programs that it executes would keep
        privileges.keep(role.capabilities, executes=role.executes)
        role.run(stop)
        code = 0
    except BaseException as error:  # noqa: BLE001 - nothing of the supervisor may run in a child
        say(f"{role.name} failed: {type(error).__name__}: {error}")
    finally:
        os._exit(code)


def _close(*descriptors: int) -> None:
    """-1 is none."""
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)
