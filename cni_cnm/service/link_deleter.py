"""Deletes links for all requests of the service: simultaneous deletions share one kernel request.

The kernel removes a link within 1 ms and holds the lock of all link changes for that time. It acknowledges the request
15-20 ms later (kernel/rtnetlink/link_monitor.py). A thread of the deleter waits for the acknowledgement. The request
continues at the kernel's notification that the link is gone.

The first deletion is sent at once. Those that arrive meanwhile wait for it and are then sent as one, so that new pods
wait for the lock once, not once for each deleted link.
"""

from __future__ import annotations

import errno
import os
import select
from _thread import _local

from cni_cnm.errors import CnmError, KernelError
from cni_cnm.kernel.coalesce import Coalesce
from cni_cnm.kernel.rtnetlink.link_monitor import LinkMonitor
from cni_cnm.kernel.setns import entered
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.service.keyed_executor import KeyedExecutor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH = 32
"""Acknowledgements that may be awaited at once: as many deletions as begin during one."""


class _Deletion:
    """One caller's links."""

    def __init__(self, indexes: Sequence[int]) -> None:
        self.indexes = indexes
        self.error: CnmError | None = None


class _KernelRequest:
    """One request to the kernel, sent by a thread of the deleter. Callers may return before it is acknowledged."""

    def __init__(self) -> None:
        self.acknowledged = -1  # for __del__, should the next line fail
        self.acknowledged = os.eventfd(0, os.EFD_CLOEXEC)
        self.error: CnmError | None = None

    def __del__(self) -> None:
        if self.acknowledged >= 0:
            os.close(self.acknowledged)


class LinkDeleter:
    """Deletes links of the namespace of `fd` (owned). Safe to use from many threads."""

    def __init__(self, fd: int, stack: Callable[[int, str], KernelStack] = KernelStack) -> None:
        self._fd = fd
        self._stack = stack
        self._stacks: list[KernelStack] = []
        self._own = _local()
        self._executor = KeyedExecutor("deleter", WIDTH)
        self._coalesce: Coalesce[_Deletion] = Coalesce(self._delete)

    def delete(self, indexes: Sequence[int]) -> None:
        """Return when the links are gone. Raises as `KernelStack.delete_links` does."""
        mine = _Deletion(indexes)
        self._coalesce.do(mine)
        if mine.error is not None:
            raise mine.error

    def close(self) -> None:
        """Wait until everything is acknowledged."""
        self._executor.drain()
        for stack in self._stacks:
            stack.close()
        os.close(self._fd)

    def _delete(self, deletions: Sequence[_Deletion]) -> None:
        if self._delete_links([index for deletion in deletions for index in deletion.indexes]) is None:
            return
        for deletion in deletions:  # what can be deleted is deleted now: this finds whose link failed
            deletion.error = self._delete_links(deletion.indexes)

    def _delete_links(self, indexes: Sequence[int]) -> CnmError | None:
        """Return when the links are gone, or the kernel has answered."""
        try:
            return self._await(set(indexes), _KernelRequest(), entered(self._fd, LinkMonitor))
        except (CnmError, OSError, RuntimeError) as error:  # no descriptor, no thread
            return _failure(error)

    def _await(self, left: set[int], request: _KernelRequest, monitor: LinkMonitor) -> CnmError | None:
        indexes = list(left)
        try:
            self._executor.submit(None, lambda: self._send(indexes, request))
            poll = select.poll()
            poll.register(monitor, select.POLLIN)
            poll.register(request.acknowledged, select.POLLIN)
            while left:
                ready = {fd for fd, _ in poll.poll()}
                if request.acknowledged in ready:
                    return request.error
                left -= monitor.read()
            return None
        finally:
            monitor.close()

    def _send(self, indexes: Sequence[int], request: _KernelRequest) -> None:
        """Runs on a thread of the executor."""
        try:
            self._own_stack().delete_links(indexes)
        except Exception as error:  # noqa: BLE001 - whatever it is, no caller may take its links for deleted
            request.error = _failure(error)
        finally:
            os.eventfd_write(request.acknowledged, 1)

    def _own_stack(self) -> KernelStack:
        """The calling thread's. While it waits for an acknowledgement its socket cannot be used for anything else."""
        stack: KernelStack | None = getattr(self._own, "stack", None)
        if stack is None:
            stack = self._own.stack = self._stack(os.dup(self._fd), "")
            self._stacks.append(stack)
        return stack


def _failure(error: Exception) -> CnmError:
    if isinstance(error, CnmError):
        return error
    return KernelError(f"deleting links failed: {error}", getattr(error, "errno", None) or errno.EAGAIN)
