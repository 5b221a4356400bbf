"""The host's stack for one request of the service: its socket is kept from one request of a thread to the next."""

from __future__ import annotations

from typing import TypeVar

from cni_cnm.kernel.netlink.netlink_socket import NetlinkSocket
from cni_cnm.kernel.rtnetlink.connection import Connection
from cni_cnm.kernel.stack import KernelStack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import _local
    from collections.abc import Callable, Sequence

    from cni_cnm.kernel.sysctl import Folders
    from cni_cnm.service.deletions import Deletions

T = TypeVar("T")
_NONE: Folders = {}


class HostStack(KernelStack):
    """Links are deleted by `deleter`, if there is one, together with those of other requests."""

    def __init__(self, fd: int, deleter: Deletions | None, kept: _local, folders: Folders = _NONE) -> None:
        super().__init__(fd, "", HostConnection(fd, kept, folders))
        self._deleter = deleter

    def delete_links(self, indexes: Sequence[int]) -> None:
        self.connection.flush()
        if self._deleter is None or not self._deleter.delete(indexes):
            super().delete_links(indexes)


class HostConnection(Connection):
    """The service's threads are in the host's namespace already. `kept` holds a thread's socket between requests."""

    def __init__(self, fd: int, kept: _local, folders: Folders) -> None:
        super().__init__(fd, "")
        self.folders = folders
        self._kept = kept

    def open_socket(self) -> NetlinkSocket:
        found: NetlinkSocket = getattr(self._kept, "socket", None) or NetlinkSocket()
        self._kept.socket = None
        return found

    def inside(self, action: Callable[[], T]) -> T:
        self.flush()
        return action()

    def close(self) -> None:
        if self._socket is not None and getattr(self._kept, "socket", None) is None:
            self._socket.reset()
            self._kept.socket, self._socket = self._socket, None
        super().close()
