"""Network namespaces: found by path or descriptor, entered for one call at a time by the calling thread.

A namespace belongs to a thread. What must happen inside one (opening a socket, reading /proc/sys/net) happens
between two setns calls in `entered`; a socket stays in its namespace for good, so nothing else ever enters.
"""

from __future__ import annotations

import os
import stat
from fcntl import ioctl
from typing import TypeVar

from cni_cnm.errors import InvalidNamespace, KernelError, NamespaceGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cni_cnm.kernel import Stack
    from cni_cnm.kernel.stack import KernelStack

CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703

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
    """The thread could not go back to its own namespace and must end: what it does next hits another's."""


def own_fd() -> int:
    """A descriptor of the calling thread's namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def entered(fd: int, action: Callable[[], T]) -> T:
    """The result of `action`, called inside the namespace of `fd`; the thread is back home afterwards.

    `action` is short, makes system calls only and starts no thread (which would stay there).
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
            try:
                setns(home, CLONE_NEWNET)
            except OSError as error:
                raise LostInNamespace(f"the way back to the own network namespace failed: {error}") from error
    finally:
        os.close(home)


def open_namespace(path: str) -> int:
    """A descriptor of the network namespace at `path`, the caller's to close. Creates nothing."""
    if not path:
        raise NamespaceGone("no network namespace was given: the path is empty")
    try:
        # O_NONBLOCK: a FIFO or a device at that path must not hold us.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NamespaceGone(f"there is no network namespace at {path}: {error.strerror}") from error
    except (OSError, ValueError) as error:
        raise InvalidNamespace(f"the network namespace {path} cannot be opened: {error}") from error
    try:
        _require_network(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _require_network(fd: int, path: str) -> None:
    status = os.fstat(fd)
    if status.st_dev != os.stat("/proc/self/ns/net").st_dev:  # all namespaces are files of the one nsfs
        what = "plain file" if stat.S_ISREG(status.st_mode) else "file of another kind"
        raise NamespaceGone(
            f"there is no network namespace at {path}: it is a {what}",
            hint="a reboot or an unmount leaves an empty file behind" if what == "plain file" else "",
        )
    if ioctl(fd, _NS_GET_NSTYPE) != CLONE_NEWNET:
        raise NamespaceGone(f"there is no network namespace at {path}: it is a namespace of another type")


def same_namespace(one: Stack, other: Stack) -> bool:
    return one.inode() == other.inode()


class KernelNamespaces:
    """The namespaces of this machine.

    `own` is a descriptor of the namespace that counts as the host's, None for the calling thread's, now.
    `descriptors` are namespaces already open, by the path they are called. All stay the caller's to close.
    """

    def __init__(self, own: int | None = None, descriptors: Mapping[str, int] | None = None) -> None:
        self._host = -1  # for __del__, should the next line fail
        self._host = own_fd() if own is None else os.dup(own)
        self._descriptors = dict(descriptors or {})

    def close(self) -> None:
        """The stacks handed out live on."""
        if self._host >= 0:
            os.close(self._host)
            self._host = -1

    def __del__(self) -> None:
        self.close()

    def host(self) -> KernelStack:
        from cni_cnm.kernel.stack import KernelStack

        return KernelStack(os.dup(self._host), "")

    def open(self, path: str) -> KernelStack:
        """Raises NamespaceGone, and InvalidNamespace for one that is there and cannot be opened."""
        from cni_cnm.kernel.stack import KernelStack

        given = self._descriptors.get(path)
        if given is None:
            return KernelStack(open_namespace(path), path)
        _require_network(given, path)
        return KernelStack(os.dup(given), path)
