"""Entering a network namespace, with the calling thread, for one call at a time.

A namespace belongs to a thread. What must happen inside one (opening a socket, reading /proc/sys/net) happens between
two setns(2) calls in `entered`. A socket keeps its namespace, so nothing else has to enter.
"""

from __future__ import annotations

import os
from time import sleep

from cni_cnm.bases import TypeVar
from cni_cnm.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_NEWNET = 0x40000000
_RETURN_TRIES = 5
_PAUSE_S = 0.01

if hasattr(os, "setns"):  # Python 3.12
    setns: Callable[[int, int], None] = os.setns
else:
    from ctypes import CDLL, get_errno

    _libc = CDLL(None, use_errno=True)

    def setns(fd: int, nstype: int) -> None:
        if _libc.setns(fd, nstype):
            number = get_errno()
            raise OSError(number, os.strerror(number))


T = TypeVar("T")


class LostInNamespace(SystemExit):
    """The thread could not return to its own namespace and must end: its next call would change another one."""


def own_fd() -> int:
    """A descriptor of the calling thread's namespace, which the caller closes."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def entered(fd: int, action: Callable[[], T]) -> T:
    """Call `action` inside the namespace of `fd`; afterwards the thread is back in its own. Gives the action's result.

    `action` is short, makes system calls only and starts no thread, because that thread would stay inside.
    """
    home = own_fd()
    try:
        if os.fstat(home).st_ino == os.fstat(fd).st_ino:
            return action()
        try:
            setns(fd, CLONE_NEWNET)
        except OSError as error:
            raise KernelError(
                f"entering a network namespace failed: {error.strerror}",
                error.errno or 0,
                hint="root is needed",
            ) from error
        try:
            return action()
        finally:
            _return_to(home)
    finally:
        os.close(home)


def _return_to(home: int) -> None:
    """The kernel needs memory for it, which may be free again a moment later."""
    tries = 0
    while True:
        try:
            setns(home, CLONE_NEWNET)
            return
        except OSError as error:
            tries += 1
            if tries == _RETURN_TRIES:
                raise LostInNamespace(f"the thread cannot return to its own network namespace: {error}") from error
            sleep(_PAUSE_S)
