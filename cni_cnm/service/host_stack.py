"""The host's stack as one request of the service has it: what every request would open anew is kept.

The service's threads are in the host's namespace, so nothing has to be entered.
"""

from __future__ import annotations

from typing import TypeVar

from cni_cnm.kernel.netlink_socket import NetlinkSocket
from cni_cnm.kernel.stack import KernelStack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import _local
    from collections.abc import Callable, Sequence

    from cni_cnm.service.link_deleter import LinkDeleter

T = TypeVar("T")


class HostStack(KernelStack):
    """Deletes through the reaper. `kept` is where the thread keeps a socket from one request to the next."""

    def __init__(self, fd: int, reaper: LinkDeleter, kept: _local) -> None:
        super().__init__(fd, "")
        self._reaper = reaper
        self._kept = kept

    def close(self) -> None:
        if self._opened is not None and getattr(self._kept, "wire", None) is None:
            self._opened.reset()
            self._kept.wire, self._opened = self._opened, None
        super().close()

    def _inside(self, action: Callable[[], T]) -> T:
        return action()

    @property
    def _wire(self) -> NetlinkSocket:
        if self._opened is None:
            self._opened, self._kept.wire = getattr(self._kept, "wire", None) or NetlinkSocket(), None
        return self._opened

    def delete_links(self, indexes: Sequence[int]) -> None:
        self._settle()
        self._reaper.delete(indexes)
