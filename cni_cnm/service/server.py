"""One worker: accepts connections of relays, reads their requests, answers them.

Several workers accept from one listening socket. A thread waits in accept(2) itself, reads the request and answers it,
so no request is handed from one thread to another. places.py says how many threads do so at once. STATUS and VERSION
are answered also while every thread has a request that waits.

On `stop` connections are closed as they come (their relays execute the full program), and requests in progress are
finished.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from threading import current_thread
from time import perf_counter, sleep

from cni_cnm import waiting
from cni_cnm.frontend.stderr import say
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.service.places import PLACES, THREADS_MAX, Ended, Places
from cni_cnm.service.protocol import Incoming, OtherVersion, Refused, Request, encode_reply
from cni_cnm.service.slow_requests import SlowRequests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_BYTES_MS = 5
"""A relay sends its request directly after it has connected."""
_SEND_TIMEOUT_S = 5.0
_PAUSE_S = 0.1
"""Without free descriptors, the connection in the kernel's queue would wake the thread again at once."""
_CREDENTIALS = struct.Struct("=iII")
_NEVER_WAIT = ("STATUS", "VERSION")
"""Verbs that are answered also while all threads are busy. VERSION is a probe: relays answer it themselves."""


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
    after: Callable[[], None] = lambda: None
    """What is left to do when the answer is sent: closing, and the line of the log."""


class Server:
    """`answer` is called on many threads. If it raises Refused, the relay executes the full program."""

    def __init__(
        self, listener: socket.socket, answer: Callable[[Call], Answer], *,
        places: int = PLACES, threads: int = THREADS_MAX, trace: bool = False,
    ) -> None:  # fmt: skip
        self._listener = listener
        self._answer = answer
        self._trace = trace
        self._places = Places(self._next, self._next_status, places, threads)
        self._slow = SlowRequests(lambda *request: self._places.submit(lambda: self._serve(*request)), self._refuse)
        self._stopping = False
        self.other_version: Callable[[], None] = lambda: None
        """Called when a relay of another version has connected."""

    def serve(self, stop: int) -> None:
        """Serve until the descriptor `stop` is readable, then finish the requests in progress."""
        self._listener.setblocking(True)
        self._places.start()
        select.select([stop], [], [])
        self._stopping = True
        self._places.drain()

    def _next(self) -> Callable[[], None]:
        incoming, request = self._receive()
        return lambda: self._serve(incoming, request)

    def _next_status(self) -> Callable[[], None]:
        """Answers one request, if it waits for nothing. Another one is left for the first thread that has time."""
        incoming, request = self._receive()

        def serve() -> None:
            self._serve(incoming, request)

        return serve if request.environ.get("CNI_COMMAND") in _NEVER_WAIT else lambda: self._places.submit(serve)

    def _receive(self) -> tuple[Incoming, Request]:
        """The next connection with a request."""
        while True:
            incoming = self._accept()
            if incoming is None:
                continue
            try:
                request = incoming.receive()
                if request is None and _ready(incoming.connection, _FIRST_BYTES_MS):
                    request = incoming.receive()
                if request is not None:
                    return incoming, request
                self._slow.add(incoming)
            except Refused as reason:
                self._refuse(incoming, reason)

    def _accept(self) -> Incoming | None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:  # the relay has closed it, or no descriptor is free
            if self._stopping:
                raise Ended from error  # the listener may be closed
            say(f"a connection cannot be accepted: {error.strerror}")
            sleep(_PAUSE_S)
            return None
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(credentials)
        if uid != 0 or self._stopping:
            if uid:
                say(f"a connection of uid {uid} is refused")
            connection.close()
            return None
        return Incoming(connection, pid)

    def _refuse(self, incoming: Incoming, reason: Refused) -> None:
        incoming.close()
        if isinstance(reason, OtherVersion):
            self.other_version()
        if self._trace:
            say(f"refused: {reason}")

    def _serve(self, incoming: Incoming, request: Request) -> None:
        """Answer one request. Never raises: without an answer the relay executes the full program."""
        started = perf_counter()
        connection = incoming.connection
        answer = None
        try:
            if not _wanted(connection):
                say(f"{_title(request)}: the relay has closed the connection; the request is not run")
                return
            waiting.use(_Place(self._places, connection))
            answer = self._answer(Call(request, tuple(incoming.descriptors), incoming.pid))
            answered = perf_counter()
            incoming.close_descriptors()  # as RequestNamespaces.close_containers
            _send(connection, encode_reply(answer.code, answer.out, answer.err))
            sent = perf_counter()
            if self._trace:
                steps = (*answer.steps, ("send", sent - answered))
                times = " ".join(f"{name}={seconds * 1000:.2f}" for name, seconds in steps)
                where = f"{os.getpid()}/{current_thread().name}"
                say(f"{_title(request)} code={answer.code} total={(sent - started) * 1000:.2f} ms: {times} {where}")
        except Refused as reason:
            if self._trace:
                say(f"{_title(request)}: declined: {reason}")
        except OSError as error:
            say(f"{_title(request)}: the answer could not be sent to the relay: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - a defect in one request must not end the thread
            say(f"{_title(request)}: {type(error).__name__}: {error}")
        finally:
            waiting.use(None)
            try:
                if answer is not None:
                    answer.after()
            finally:
                incoming.close()


class _Place:
    """Of the thread that serves a connection (cni_cnm/waiting.py)."""

    def __init__(self, places: Places, connection: socket.socket) -> None:
        self.leave = places.leave
        self.enter = places.enter
        self._connection = connection

    def wanted(self) -> bool:
        return _wanted(self._connection)


def _wanted(connection: socket.socket) -> bool:
    """False if the relay has closed the connection: its time ran out, or the runtime killed it."""
    poll = select.poll()
    poll.register(connection, select.POLLHUP)
    return not poll.poll(0)


def _ready(connection: socket.socket, limit_ms: int) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(limit_ms))


def _send(connection: socket.socket, reply: bytes) -> None:
    """In one system call, if the socket has room for it."""
    try:
        sent = connection.send(reply, socket.MSG_DONTWAIT)
    except BlockingIOError:
        sent = 0
    if sent < len(reply):
        connection.settimeout(_SEND_TIMEOUT_S)
        connection.sendall(memoryview(reply)[sent:])


def _title(request: Request) -> str:
    environ = request.environ
    return " ".join(filter(None, (environ.get(f"CNI_{name}") for name in ("COMMAND", "CONTAINERID", "IFNAME"))))
