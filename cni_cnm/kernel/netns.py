"""Network namespaces of this machine, opened by path, or by a descriptor that the caller has."""

from __future__ import annotations

import os
import stat
from fcntl import ioctl

from cni_cnm.errors import InvalidNamespace, NamespaceGone
from cni_cnm.kernel.setns import CLONE_NEWNET, own_fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cni_cnm.kernel.stack import KernelStack

_NS_GET_NSTYPE = 0xB703


class KernelNamespaces:
    """The namespaces of this machine.

    `own` is a descriptor of the namespace that counts as the host's; None: the calling thread's, as it is now.
    `descriptors` are namespaces already open, by their paths. The caller closes both kinds. A call that opens no
    namespace (a DEL with nothing to do) loads no rtnetlink code, which takes 35 ms.
    """

    def __init__(self, own: int | None = None, descriptors: Mapping[str, int] | None = None) -> None:
        self._host = -1  # for __del__, should the next line fail
        self._host = own_fd() if own is None else os.dup(own)
        self._descriptors = dict(descriptors or {})

    def close(self) -> None:
        """Stacks that were opened stay usable."""
        if self._host >= 0:
            os.close(self._host)
            self._host = -1

    def __del__(self) -> None:
        self.close()

    def host(self) -> KernelStack:
        from cni_cnm.kernel.stack import KernelStack

        return KernelStack(os.dup(self._host), "")

    def open(self, path: str) -> KernelStack:
        """NamespaceGone if it is not there, InvalidNamespace if it is there and cannot be opened."""
        from cni_cnm.kernel.stack import KernelStack

        descriptor = self._descriptors.get(path)
        if descriptor is None:
            return KernelStack(open_namespace(path), path)
        _require_network(descriptor, path)
        return KernelStack(os.dup(descriptor), path)

    def is_host(self, path: str) -> bool:
        """Whether the namespace at a path is the host's. Errors as of `open`."""
        own = os.fstat(self._host).st_ino
        descriptor = self._descriptors.get(path)
        if descriptor is not None:
            return _require_network(descriptor, path) == own
        descriptor = open_namespace(path)
        try:
            return os.fstat(descriptor).st_ino == own
        finally:
            os.close(descriptor)

    def has_process(self, inode: int) -> bool:
        return any(_is_in(name, inode) for name in os.listdir("/proc") if name.isdigit())

    def holders(self, inode: int) -> Iterator[str] | None:
        from cni_cnm.kernel import namespace_holders

        return namespace_holders.paths(inode) if namespace_holders.sees_all_processes() else None


def _is_in(process: str, inode: int) -> bool:
    try:
        return os.stat(f"/proc/{process}/ns/net").st_ino == inode
    except PermissionError:
        return True  # without CAP_SYS_PTRACE it is not known where a process is
    except OSError:
        return False  # it has just ended


def open_namespace(path: str) -> int:
    """A descriptor of the network namespace at `path`, which the caller closes. Creates nothing."""
    if not path:
        raise NamespaceGone("no network namespace was given: the path is empty")
    try:
        # O_NONBLOCK: a FIFO or a device at that path must not block the call.
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


def _require_network(fd: int, path: str) -> int:
    """The namespace's inode number. NamespaceGone if the descriptor is of anything but a network namespace."""
    status = os.fstat(fd)
    if status.st_dev != os.stat("/proc/self/ns/net").st_dev:  # all namespaces are files of the one nsfs
        what = "plain file" if stat.S_ISREG(status.st_mode) else "file of another kind"
        raise NamespaceGone(
            f"there is no network namespace at {path}: it is a {what}",
            hint="a reboot or an unmount leaves an empty file behind" if what == "plain file" else "",
        )
    if ioctl(fd, _NS_GET_NSTYPE) != CLONE_NEWNET:
        raise NamespaceGone(f"there is no network namespace at {path}: it is a namespace of another type")
    return status.st_ino
