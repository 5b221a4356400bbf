"""Deletes links for all workers of the service: simultaneous deletions share one kernel request.

The kernel removes a link within 1 ms and holds the lock of all link changes for that time. It acknowledges the request
15-20 ms later (kernel/rtnetlink/link_monitor.py). A thread waits for the acknowledgement. The worker is answered at the
kernel's notification that the links are gone.

The first deletion is sent at once. Those that arrive meanwhile wait for it and are then sent as one, so that new pods
wait for the lock once, not once for each deleted link.
"""

from __future__ import annotations

import os
import select
import socket
from _thread import allocate_lock
from array import array
from queue import SimpleQueue
from threading import Thread

from cni_cnm.errors import CnmError
from cni_cnm.kernel.rtnetlink.link_monitor import LinkMonitor
from cni_cnm.kernel.setns import entered
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.service.deletions import FAILED, GONE, REQUEST_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH = 32
"""Acknowledgements that may be awaited at once: as many deletions as begin during one."""
_BATCH_MAX = 64
_POISON = None


class _Deletion:
    """The links of one request of a worker, and the pipe for its answer."""

    def __init__(self, indexes: Sequence[int], pipe: int) -> None:
        self.indexes = indexes
        self._pipe = pipe

    def answer(self, *, gone: bool) -> None:
        try:
            os.write(self._pipe, GONE if gone else FAILED)
        except OSError:
            pass  # the worker has ended
        os.close(self._pipe)


class _KernelRequest:
    """One request to the kernel, sent by a thread. Its deletions may be answered before it is acknowledged."""

    def __init__(self, indexes: Sequence[int]) -> None:
        self.indexes = indexes
        self.acknowledged = -1  # for __del__, should the next line fail
        self.acknowledged = os.eventfd(0, os.EFD_CLOEXEC)
        self.failed = False

    def __del__(self) -> None:
        if self.acknowledged >= 0:
            os.close(self.acknowledged)


class LinkDeleter:
    """Deletes links of the network namespace of `fd`, for requests that come on `requests`."""

    def __init__(
        self, fd: int, requests: socket.socket, stack: Callable[[int, str], KernelStack] = KernelStack
    ) -> None:
        self._fd = fd
        self._requests = requests
        self._stack = stack
        self._queue: SimpleQueue[_KernelRequest | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._lock = allocate_lock()
        self._unacknowledged = 0

    def serve(self, stop: int) -> None:
        """Until the descriptor `stop` is readable and every request is answered and acknowledged."""
        poll = select.poll()
        poll.register(self._requests, select.POLLIN)
        poll.register(stop, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._requests.fileno() in ready:
                self._delete(self._take())
            elif stop in ready:
                break
        for _ in self._threads:
            self._queue.put(_POISON)
        for thread in self._threads:
            thread.join()

    def _take(self) -> list[_Deletion]:
        """All requests that have come."""
        taken: list[_Deletion] = []
        while len(taken) < _BATCH_MAX:
            try:
                data, ancillary, _, _ = self._requests.recvmsg(
                    REQUEST_MAX, socket.CMSG_LEN(4), socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                break
            for _, _, pipe in ancillary:
                taken.append(_Deletion(array("i", data), array("i", pipe)[0]))
        return taken

    def _delete(self, deletions: Sequence[_Deletion]) -> None:
        everything = [index for deletion in deletions for index in deletion.indexes]
        if self._delete_links(everything):
            for deletion in deletions:
                deletion.answer(gone=True)
            return
        for deletion in deletions:  # this finds whose links cannot be deleted
            deletion.answer(gone=self._delete_links(deletion.indexes))

    def _delete_links(self, indexes: Sequence[int]) -> bool:
        """Return when the links are gone, or the kernel has answered."""
        try:
            return self._await(set(indexes), _KernelRequest(indexes), entered(self._fd, LinkMonitor))
        except (CnmError, OSError, RuntimeError):  # no descriptor, no thread
            return False

    def _await(self, left: set[int], request: _KernelRequest, monitor: LinkMonitor) -> bool:
        try:
            self._submit(request)
            poll = select.poll()
            poll.register(monitor, select.POLLIN)
            poll.register(request.acknowledged, select.POLLIN)
            while left:
                ready = {fd for fd, _ in poll.poll()}
                if request.acknowledged in ready:
                    return not request.failed
                left -= monitor.read()
            return True
        finally:
            monitor.close()

    def _submit(self, request: _KernelRequest) -> None:
        """RuntimeError if there is no thread and none can be started."""
        if self._unacknowledged >= len(self._threads) < WIDTH:
            thread = Thread(target=self._work, name=f"deleter-{len(self._threads)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # pids.max of a control group, or no memory
                if not self._threads:
                    raise
            else:
                self._threads.append(thread)
        with self._lock:
            self._unacknowledged += 1
        self._queue.put(request)

    def _work(self) -> None:
        """Runs on a thread. It has a stack of its own, whose socket is in use while the kernel has not acknowledged."""
        stack: KernelStack | None = None
        while (request := self._queue.get()) is not _POISON:
            try:
                stack = stack or self._stack(os.dup(self._fd), "")
                stack.delete_links(request.indexes)
            except Exception:  # noqa: BLE001 - whatever it is, no worker may take its links for deleted
                request.failed = True
            finally:
                with self._lock:
                    self._unacknowledged -= 1
                os.eventfd_write(request.acknowledged, 1)
                del request  # its descriptor is closed now, not with the next request
        if stack is not None:
            stack.close()
