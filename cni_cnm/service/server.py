"""Accepts connections of relays, reads their requests, runs them on threads, sends the answers.

One thread waits in epoll for connections and requests. A request gets a thread when it is complete, so a slow runtime
occupies none (a relay connects before it reads its stdin). Two threads serve STATUS only: it must be answered while
all others are busy with ADDs.

On `stop` nothing new is accepted, connections without a complete request are closed (their relays execute the full
program), and requests in progress are finished.
"""

from __future__ import annotations

import os
import select
import selectors
import socket
import struct
import sys
from threading import current_thread
from time import perf_counter, sleep

from cni_cnm.frontend.one_line import one_line
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.service.keyed_executor import KeyedExecutor
from cni_cnm.service.protocol import Incoming, Refused, Request, encode_reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.service.activation import Listener

WIDTH = 16
"""Threads for requests other than STATUS."""
_STATUS_WIDTH = 2
_CONNECTIONS_MAX = 1024
_SEND_TIMEOUT_S = 5.0
_PAUSE_S = 0.1
"""Without free descriptors, the connection in the kernel's queue would wake the thread again at once."""
_CREDENTIALS = struct.Struct("=iII")


class Call(NamedTuple):
    """A complete request and its descriptors: the caller's namespace, then the container's if any."""

    request: Request
    descriptors: tuple[int, ...]
    pid: int
    """Of the relay; 0 when it is in another pid namespace."""


class Answer(NamedTuple):
    code: int
    out: bytes = b""
    err: bytes = b""
    steps: tuple[tuple[str, float], ...] = ()
    """Names and seconds, for --trace."""


class Server:
    """`answer` is called on many threads. If it raises Refused, the relay executes the full program."""

    def __init__(
        self, listener: Listener, answer: Callable[[Call], Answer], *, width: int = WIDTH, trace: bool = False
    ) -> None:
        self._listener = listener
        self._answer = answer
        self._trace = trace
        self._executor = KeyedExecutor("request", width)
        self._status_executor = KeyedExecutor("status", _STATUS_WIDTH)
        self._selector = selectors.DefaultSelector()
        self._incoming: set[Incoming] = set()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def stop(self) -> None:
        """Make `serve` return; from any thread or signal handler."""
        os.eventfd_write(self._wake, 1)

    def serve(self) -> None:
        """Serve until `stop`, then finish the requests in progress."""
        self._selector.register(self._listener.socket, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        stopping = False
        while not stopping:
            for key, _ in self._selector.select():
                if isinstance(key.data, Incoming):
                    self._receive(key.data)
                elif key.fd == self._wake:
                    stopping = True
                else:
                    self._accept()
        self._selector.close()
        self._listener.close()
        for incoming in self._incoming:
            incoming.close()
        self._executor.drain()
        self._status_executor.drain()
        os.close(self._wake)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.socket.accept()
        except OSError as error:  # the relay has closed it, or no descriptor is free
            if not isinstance(error, BlockingIOError):
                _say(f"a connection cannot be accepted: {error.strerror}")
                sleep(_PAUSE_S)
            return
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(credentials)
        if uid != 0 or len(self._incoming) >= _CONNECTIONS_MAX:
            _say(f"a connection of uid {uid} is refused" if uid else "too many connections without a complete request")
            connection.close()
            return
        incoming = Incoming(connection)
        self._incoming.add(incoming)
        self._selector.register(connection, selectors.EVENT_READ, incoming)

    def _receive(self, incoming: Incoming) -> None:
        try:
            request = incoming.receive()
        except Refused as reason:
            self._release(incoming)
            incoming.close()
            if self._trace:
                _say(f"refused: {reason}")
            return
        if request is None:
            return
        self._release(incoming)
        environ = request.environ
        arrived = perf_counter()
        executor = self._status_executor if environ.get("CNI_COMMAND") == "STATUS" else self._executor
        try:
            executor.submit(_order_key(request), lambda: self._serve(incoming, request, arrived))
        except RuntimeError as error:  # no thread: the relay executes the full program
            _say(f"a request cannot be served: {error}")
            incoming.close()

    def _release(self, incoming: Incoming) -> None:
        self._selector.unregister(incoming.connection)
        self._incoming.discard(incoming)

    def _serve(self, incoming: Incoming, request: Request, arrived: float) -> None:
        """Answer one request. Never raises: without an answer the relay executes the full program."""
        started = perf_counter()
        connection = incoming.connection
        try:
            if _closed(connection):
                _say(f"{_title(request)}: the relay has closed the connection; the request is not run")
                return
            pid, _, _ = _CREDENTIALS.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            answer = self._answer(Call(request, tuple(incoming.descriptors), pid))
            answered = perf_counter()
            connection.settimeout(_SEND_TIMEOUT_S)
            connection.sendall(encode_reply(answer.code, answer.out, answer.err))
            if self._trace:
                steps = (("queue", started - arrived), *answer.steps, ("send", perf_counter() - answered))
                total = (perf_counter() - arrived) * 1000
                times = " ".join(f"{name}={seconds * 1000:.2f}" for name, seconds in steps)
                where = current_thread().name
                _say(f"{_title(request)} code={answer.code} total={total:.2f} ms: {times} {where}")
        except Refused as reason:
            if self._trace:
                _say(f"{_title(request)}: declined: {reason}")
        except OSError as error:
            _say(f"{_title(request)}: the answer could not be sent to the relay: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - a defect in one request must not end the thread
            _say(f"{_title(request)}: {type(error).__name__}: {error}")
        finally:
            incoming.close()


def _order_key(request: Request) -> object:
    """The key of calls that must run in order: container and interface. None: no order is needed."""
    environ = request.environ
    container = environ.get("CNI_CONTAINERID")
    return (container, environ.get("CNI_IFNAME")) if container else None


def _closed(connection: socket.socket) -> bool:
    """Whether the relay has closed the connection: its time ran out, or the runtime killed it."""
    poll = select.poll()
    poll.register(connection, select.POLLHUP)
    return bool(poll.poll(0))


def _title(request: Request) -> str:
    environ = request.environ
    return " ".join(filter(None, (environ.get(f"CNI_{name}") for name in ("COMMAND", "CONTAINERID", "IFNAME"))))


def _say(line: str) -> None:
    """Write one line to the journal. Control characters of a caller's text are escaped."""
    sys.stderr.write(f"{one_line(line)}\n")
    sys.stderr.flush()
