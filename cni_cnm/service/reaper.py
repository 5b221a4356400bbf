"""Deletions gathered: links that are to go at the same time go in one kernel request, whoever asked for them.

Deleting a link is 15-25 ms of waiting in the kernel, part of it with the lock held that every other change of links
needs; deleting a whole link group is one such wait. Whoever comes first deletes at once; those who come
meanwhile queue, and the next of them deletes for everybody. Alone, a deletion is what it always was.

Sixteen threads that delete for themselves are a quarter faster where nothing else goes on; but pods that come while
others go (a rollout, a node's drain) then take twice as long, since each deletion holds that lock on its own.
"""

from __future__ import annotations

from threading import Lock

from cni_cnm.errors import KernelError
from cni_cnm.kernel.stack import KernelStack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class _Deletion:
    def __init__(self, indexes: Sequence[int]) -> None:
        self.indexes = indexes
        self.done = False
        self.error: KernelError | None = None


class Reaper:
    """Deletes links of the namespace `stack` stands for, for any number of threads. Owns the stack."""

    def __init__(self, stack: KernelStack) -> None:
        self._stack = stack
        self._queued: list[_Deletion] = []
        self._queue = Lock()
        self._kernel = Lock()

    def delete(self, indexes: Sequence[int]) -> None:
        """Returns when the links are gone. Raises as `KernelStack.delete_links` does."""
        mine = _Deletion(indexes)
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
        try:
            self._stack.delete_links([index for deletion in gathered for index in deletion.indexes])
        except KernelError:  # everything that could go is gone: whose was it that could not?
            for deletion in gathered:
                try:
                    self._stack.delete_links(deletion.indexes)
                except KernelError as error:
                    deletion.error = error


class ReapedStack(KernelStack):
    """The host's stack of one request, whose deletions are gathered with those of other requests."""

    def __init__(self, fd: int, reaper: Reaper) -> None:
        super().__init__(fd, "")
        self._reaper = reaper

    def delete_links(self, indexes: Sequence[int]) -> None:
        self._settle()
        self._reaper.delete(indexes)
