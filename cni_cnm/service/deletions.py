"""Has links deleted by the service's link deleter (link_deleter.py), which gathers the deletions of all workers.

request   SEQPACKET: the links' indexes, 4 bytes each; as SCM_RIGHTS the write end of a pipe
answer    on the pipe: GONE, or FAILED. If the link deleter ends before, the pipe ends without an answer
"""

from __future__ import annotations

import os
import select
import socket
from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

GONE, FAILED = b"+", b"-"
REQUEST_MAX = 4096
_LIMIT_MS = 5000
"""For a link deleter that hangs."""


class Deletions:
    """Sends to the link deleter by `requests`. Safe to use from many threads and processes."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests

    def delete(self, indexes: Sequence[int]) -> bool:
        """Return when the links are gone. False if they may not be: the caller deletes them itself, and finds why."""
        try:
            answer, sent = os.pipe2(os.O_CLOEXEC)
        except OSError:
            return False
        try:
            try:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [sent]))]
                self._requests.sendmsg([array("i", indexes)], rights, socket.MSG_DONTWAIT)
            except OSError:  # its queue is full, or there are too many links for one message
                return False
            finally:
                os.close(sent)
            poll = select.poll()
            poll.register(answer, select.POLLIN)
            return bool(poll.poll(_LIMIT_MS)) and os.read(answer, 1) == GONE
        finally:
            os.close(answer)
