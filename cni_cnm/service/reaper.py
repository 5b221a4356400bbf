"""Deletions gathered: links that are to go at the same time go in one kernel request.

Deleting a link is 15-25 ms of waiting in the kernel, with the lock held that every other change of links
needs; deleting a whole link group is one such wait. Whoever comes first deletes at once; those who come
meanwhile queue, and the next of them puts all that are queued into the reserved group and deletes the
group for everybody. Alone, a deletion is what it always was.
"""

from __future__ import annotations

from threading import Lock

from cni_cnm.errors import KernelError
from cni_cnm.kernel.stack import KernelStack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GROUP = 0x636E6D
"""Reserved: a link in this group is about to be deleted."""


class _Deletion:
    def __init__(self, index: int) -> None:
        self.index = index
        self.done = False
        self.error: KernelError | None = None


class Reaper:
    """Deletes links of the namespace `stack` stands for, for any number of threads. Owns the stack."""

    def __init__(self, stack: KernelStack) -> None:
        self._stack = stack
        self._queued: list[_Deletion] = []
        self._queue = Lock()
        self._kernel = Lock()

    def delete(self, index: int) -> None:
        """Returns when the link is gone. Raises as `Stack.delete_link` does."""
        mine = _Deletion(index)
        with self._queue:
            self._queued.append(mine)
        with self._kernel:
            if not mine.done:
                with self._queue:
                    gathered, self._queued = self._queued, []
                self._delete(gathered)
        if mine.error is not None:
            raise mine.error

    def _delete(self, gathered: Sequence[_Deletion]) -> None:
        for deletion in gathered:
            deletion.done = True
        if len(gathered) > 1:
            marked = [deletion for deletion in gathered if self._attempt(deletion, self._mark)]
            try:
                if marked:
                    self._stack.delete_group(GROUP)
                return
            except KernelError:  # one among them cannot be deleted at all: each for itself then, with its own error
                for deletion in marked:
                    self._attempt(deletion, self._unmark)
                gathered = [deletion for deletion in marked if deletion.error is None]
        for deletion in gathered:
            self._attempt(deletion, self._stack.delete_link)

    def _mark(self, index: int) -> None:
        self._stack.set_link(index, group=GROUP)

    def _unmark(self, index: int) -> None:
        self._stack.set_link(index, group=0)

    @staticmethod
    def _attempt(deletion: _Deletion, action: Callable[[int], None]) -> bool:
        try:
            action(deletion.index)
        except KernelError as error:
            deletion.error = error
            return False
        return True


class ReapedStack(KernelStack):
    """The host's stack of one request, whose deletions are gathered with those of other requests."""

    def __init__(self, fd: int, reaper: Reaper) -> None:
        super().__init__(fd, "")
        self._reaper = reaper

    def delete_link(self, index: int) -> None:
        self._settle()
        self._reaper.delete(index)
