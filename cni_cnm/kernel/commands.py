"""Commands in a network namespace, with the rights of the caller: in one that exists, or in a fresh one.

Only the network namespace is another one. Files, processes and users are the host's.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import contextmanager

from cni_cnm.errors import KernelError
from cni_cnm.kernel.setns import CLONE_NEWNET, setns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PR_SET_PDEATHSIG = 1
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
"""Exit codes of shells for a command that cannot be started."""
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)
_OF_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""A terminal sends them to the command as well."""
_libc = ctypes.CDLL(None, use_errno=True)


def execute(namespace: int, command: Sequence[str]) -> int:
    """Replace this process by the command, in the namespace of the descriptor.

    Returns 127 or 126, as a shell does, if there is no such command or it cannot be executed. KernelError if the
    namespace cannot be entered.
    """
    try:
        setns(namespace, CLONE_NEWNET)
    except OSError as error:
        raise KernelError(
            f"entering the network namespace failed: {error.strerror}", error.errno or 0, hint="root is needed"
        ) from error
    return _replaced(command)


class Waiting:
    """A process in a fresh network namespace that executes its command when it is told to."""

    def __init__(self, pid: int, go: int) -> None:
        self.pid = pid
        self._go = go

    @property
    def namespace(self) -> str:
        """The path of its namespace, while it lives."""
        return f"/proc/{self.pid}/ns/net"

    def run(self) -> int:
        """Let it execute the command, and wait for its end.

        Returns the command's exit code, or 128 and the number of the signal that ended it. SIGTERM and SIGHUP are
        forwarded to it, and those of a terminal are left to it.
        """
        with _signals_forwarded(self.pid):
            os.write(self._go, b"!")
            os.close(self._go)
            self._go = -1
            return self._ended()

    def end(self) -> None:
        """End it without the command, if it still waits for that."""
        if self._go >= 0:
            os.close(self._go)
            self._go = -1
            self._ended()

    def _ended(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def start(command: Sequence[str]) -> Waiting:
    """Fork a process into a network namespace of its own. It is killed if this process ends before it.

    The caller has no threads, and calls `run` or `end`. KernelError if the kernel makes no namespace.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored by the caller, it leaves no exit code of a child
    ready, tell = os.pipe()
    wait, go = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        os.close(go)
        _child(parent, tell, wait, command)
    os.close(tell)
    os.close(wait)
    answer = os.read(ready, 16)
    os.close(ready)
    started = Waiting(pid, go)
    if answer != b"0":
        started.end()
        number = int(answer or b"0")
        raise KernelError(
            f"no network namespace can be made: {os.strerror(number)}",
            number,
            hint="root is needed" if number in (1, 13) else "",
        )
    return started


def _child(parent: int, tell: int, wait: int, command: Sequence[str]) -> None:
    """Never returns."""
    code = 1
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        failed = _libc.unshare(CLONE_NEWNET)
        os.write(tell, str(ctypes.get_errno() if failed else 0).encode())
        os.close(tell)
        if os.getppid() == parent and os.read(wait, 1):
            os.close(wait)
            code = _replaced(command)
    finally:
        os._exit(code)


def _replaced(command: Sequence[str]) -> int:
    try:
        os.execvp(command[0], list(command))  # noqa: S606 - the operator's own command
    except FileNotFoundError:
        found, reason = _NOT_FOUND, "there is no such command"
    except OSError as error:
        found, reason = _NOT_EXECUTABLE, error.strerror or "it cannot be executed"
    os.write(2, f"cni-cnm: {command[0]}: {reason}\n".encode(errors="backslashreplace"))
    return found


@contextmanager
def _signals_forwarded(pid: int) -> Iterator[None]:
    def forward(number: int, _: object) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    before |= {number: signal.signal(number, signal.SIG_IGN) for number in _OF_THE_TERMINAL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
