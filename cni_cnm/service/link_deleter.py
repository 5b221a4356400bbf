"""Deletions gathered: links that are to go at the same time go in one kernel request, whoever asked for them, and
nobody waits longer than until they are gone.

The kernel takes 1 ms to take a link away, with the lock held that every other change of links needs, and 15-20 ms
more until it acknowledges that (kernel/link_monitor.py). A thread of its own waits for the acknowledgement; who has
asked goes on at the kernel's notification. Whoever comes first deletes at once; those who come meanwhile queue, and
the next of them deletes for everybody, so that pods that come while others go need not wait for that lock behind each
of them.
"""

from __future__ import annotations

import errno
import os
import select
from _thread import _local

from cni_cnm.errors import CnmError, KernelError
from cni_cnm.kernel.coalesce import Coalesce
from cni_cnm.kernel.link_monitor import LinkMonitor
from cni_cnm.kernel.netns import entered
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.service.keyed_executor import Lane

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH = 32
"""Acknowledgements waited for at once; as many deletions as begin in the time of one."""


class _Deletion:
    def __init__(self, indexes: Sequence[int]) -> None:
        self.indexes = indexes
        self.error: CnmError | None = None


class _Request:
    """One request to the kernel, made by a thread of the reaper's. Who asked may be gone when it is acknowledged."""

    def __init__(self) -> None:
        self.acknowledged = -1  # for __del__, should the next line fail
        self.acknowledged = os.eventfd(0, os.EFD_CLOEXEC)
        self.error: CnmError | None = None

    def __del__(self) -> None:
        if self.acknowledged >= 0:
            os.close(self.acknowledged)


class LinkDeleter:
    """Deletes links of the namespace of `fd` (owned), for any number of threads."""

    def __init__(self, fd: int, stack: Callable[[int, str], KernelStack] = KernelStack) -> None:
        self._fd = fd
        self._stack = stack
        self._stacks: list[KernelStack] = []
        self._own = _local()
        self._lane = Lane("reaper", WIDTH)
        self._together: Coalesce[_Deletion] = Coalesce(self._delete)

    def delete(self, indexes: Sequence[int]) -> None:
        """Returns when the links are gone. Raises as `KernelStack.delete_links` does."""
        mine = _Deletion(indexes)
        self._together.do(mine)
        if mine.error is not None:
            raise mine.error

    def close(self) -> None:
        """When everything is acknowledged."""
        self._lane.drain()
        for stack in self._stacks:
            stack.close()
        os.close(self._fd)

    def _delete(self, gathered: Sequence[_Deletion]) -> None:
        if self._take_away([index for deletion in gathered for index in deletion.indexes]) is None:
            return
        for deletion in gathered:  # everything that could go is gone: whose was it that could not?
            deletion.error = self._take_away(deletion.indexes)

    def _take_away(self, indexes: Sequence[int]) -> CnmError | None:
        """Until the links are gone, or the kernel has answered."""
        try:
            return self._await(set(indexes), _Request(), entered(self._fd, LinkMonitor))
        except (OSError, RuntimeError) as error:  # no descriptor, no thread
            return _failure(error)

    def _await(self, left: set[int], request: _Request, departures: LinkMonitor) -> CnmError | None:
        indexes = list(left)
        try:
            self._lane.submit(None, lambda: self._ask(indexes, request))
            poll = select.poll()
            poll.register(departures, select.POLLIN)
            poll.register(request.acknowledged, select.POLLIN)
            while left:
                ready = {fd for fd, _ in poll.poll()}
                if request.acknowledged in ready:
                    return request.error
                left -= departures.read()
            return None
        finally:
            departures.close()

    def _ask(self, indexes: Sequence[int], request: _Request) -> None:
        """On a thread of the lane's."""
        try:
            self._own_stack().delete_links(indexes)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may take the links for gone
            request.error = _failure(error)
        finally:
            os.eventfd_write(request.acknowledged, 1)

    def _own_stack(self) -> KernelStack:
        """The calling thread's: one that waits for an acknowledgement cannot be used for anything else."""
        stack: KernelStack | None = getattr(self._own, "stack", None)
        if stack is None:
            stack = self._own.stack = self._stack(os.dup(self._fd), "")
            self._stacks.append(stack)
        return stack


def _failure(error: Exception) -> CnmError:
    if isinstance(error, CnmError):
        return error
    return KernelError(f"deleting links failed: {error}", getattr(error, "errno", None) or errno.EAGAIN)
