"""HTTP/1.1 on the plugin socket.

Each connection has its own thread and may be kept open (dockerd keeps some). A request that is not valid HTTP is
answered with the reason, and its connection closed. No request delays another one, or the service's pods. Only root is
answered.

Docker waits for an answer without a limit, so no connection is refused. If there are too many, the one that is idle
longest is closed. If none is idle, a new one waits in the kernel's queue until one ends. That is soon: a request
must be complete 10 s after its first byte.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
from contextlib import contextmanager
from threading import Condition, Thread
from time import monotonic, perf_counter

from cni_cnm.docker_protocol.body import failure
from cni_cnm.docker_server.calls import Reply, answer
from cni_cnm.docker_server.docker_watch import DockerWatch
from cni_cnm.docker_server.port_holder import PortHolder
from cni_cnm.docker_server.request import Reader, Refused
from cni_cnm.frontend.one_line import one_line
from cni_cnm.frontend.stderr import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.docker_server.calls import Engine
    from cni_cnm.frontend.reply import Subject

    class Note(Protocol):
        """Logs a line about a call, and its duration in milliseconds."""

        def __call__(
            self, line: str, duration_ms: float, /, *, subject: Subject | None = None, code: int = 0
        ) -> None: ...


CONTENT_TYPE = "application/vnd.docker.plugins.v1.2+json"
_CONNECTIONS_MAX = 256
_IDLE_S = 600.0
_GRACE_S = 1.0
"""A connection that is idle for less is not closed: a request is likely to follow."""
_SEND_LIMIT_S = 10.0
"""For the other end to receive an answer."""
_LINGER_S = 1.0
_LINGER_MAX = 4 << 20
"""Seconds and bytes of a refused request that are still received."""
_CREDENTIALS = struct.Struct("=iII")
_REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 408: "Request Timeout",
            413: "Content Too Large", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
            503: "Service Unavailable"}  # fmt: skip


class Server:
    """Accepts connections on `listener` in its own thread, from `start` to `stop`. `note` logs a line for each call.

    Beside it a DockerWatch looks for what no call says.
    """

    def __init__(self, listener: socket.socket, engine: Engine, note: Note | None = None) -> None:
        self._listener = listener
        self._engine = engine
        self._say = note or _to_stderr
        self._changed = Condition()
        """Guards the following."""
        self._connections: dict[socket.socket, Thread] = {}
        self._idle: dict[socket.socket, float] = {}
        """Connections that wait for a request, and since when; the longest first."""
        self._ended: set[socket.socket] = set()
        """Connections that were idle too long and are being closed."""
        self._stopping = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = Thread(target=self._accept, name="docker", daemon=True)
        self._holder: PortHolder | None = None
        self._watch = DockerWatch(self._holding, self._note)

    def start(self) -> None:
        """Ports are held before the first request is answered. The calling process must have no other thread yet."""
        self._listener.setblocking(False)
        with self._engine() as controller:
            if controller.host.settings.hold_ports == "docker":
                self._holder = PortHolder(self._note)
                self._holder.start(controller.host)
        self._thread.start()
        self._watch.start()

    def stop(self) -> None:
        """Accept no more connections, close the idle ones, and answer the requests that have arrived."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            idle = list(self._idle)
            threads = list(self._connections.values())
        os.eventfd_write(self._wake, 1)  # the listener stays open: it may be systemd's, for the next service
        self._thread.join()
        os.close(self._wake)
        for connection in idle:
            _end(connection)
        for thread in threads:
            thread.join()
        self._watch.stop()
        if self._holder is not None:
            self._holder.close()

    @contextmanager
    def _holding(self) -> Iterator[Controller]:
        """A controller whose published ports are held."""
        with self._engine() as controller:
            controller.host.held_ports = self._holder
            yield controller

    def _note(self, line: str, duration_ms: float = 0.0, *, subject: Subject | None = None, code: int = 0) -> None:
        """Log one line. What the request has is escaped."""
        self._say(one_line(line), duration_ms, subject=subject, code=code)

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._woken(poll) and self._make_room():
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                self._note(f"docker: a connection cannot be accepted: {error.strerror}")
                _pause()
                continue
            with self._changed:
                if not self._stopping:
                    thread = Thread(target=self._serve, args=(connection,), name="docker-call", daemon=True)
                    self._connections[connection] = thread
                    try:
                        thread.start()
                    except RuntimeError as error:
                        self._note(f"docker: a connection cannot be served: {error}")
                        del self._connections[connection]
                    else:
                        continue
            _send(connection, _refusal(Refused(503, "the service is stopping, or out of threads")), keep=False)
            connection.close()

    def _woken(self, poll: select.poll) -> bool:
        """Wait for a connection. True if the server is to stop."""
        try:
            return self._wake in {descriptor for descriptor, _ in poll.poll()}
        except OSError as error:
            self._note(f"docker: connections cannot be waited for: {error.strerror}")
            _pause()
            return False

    def _make_room(self) -> bool:
        """Wait until one more connection may be accepted. False once the server stops."""
        with self._changed:
            while not self._stopping and len(self._connections) - len(self._ended) >= _CONNECTIONS_MAX:
                timeout_s = None
                if self._idle:
                    oldest, since = next(iter(self._idle.items()))
                    timeout_s = since + _GRACE_S - monotonic()
                    if timeout_s <= 0:
                        del self._idle[oldest]
                        self._ended.add(oldest)
                        _end(oldest)
                        continue
                self._changed.wait(timeout_s)
            return not self._stopping

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._talk(connection)
        except OSError:
            pass  # the other end closed the connection; what it requested is done and recorded
        except Exception as error:  # noqa: BLE001 - a defect ends one connection, not the server
            self._note(f"docker: a connection failed: {type(error).__name__}: {error}")
        finally:
            connection.close()
            with self._changed:
                self._connections.pop(connection, None)
                self._ended.discard(connection)
                self._changed.notify_all()

    def _talk(self, connection: socket.socket) -> None:
        reader = Reader(connection)
        try:
            _refuse_strangers(connection)
            while self._wait(connection, reader):
                request = reader.request()
                started = perf_counter()
                reply = answer(self._holding, request.call, request.body)
                if reply.joined:
                    self._watch.joined(reply.joined)
                keep = request.keep_open and not self._stopping
                subject = self._watch.with_container(reply.subject)
                duration_ms = (perf_counter() - started) * 1000
                self._note(f"docker: {reply.summary}", duration_ms, subject=subject, code=reply.error)
                _send(connection, reply, keep=keep)
                if not keep:
                    return
        except Refused as reason:
            self._note(f"docker: refused: {reason}")
            _send(connection, _refusal(reason), keep=False)
            _linger(connection)

    def _wait(self, connection: socket.socket, reader: Reader) -> bool:
        """Wait until a request begins. False if none will."""
        with self._changed:
            if self._stopping:
                _end(connection)
            self._idle[connection] = monotonic()
            self._changed.notify_all()
        try:
            connection.settimeout(_IDLE_S)
            return reader.wait()
        finally:
            with self._changed:
                self._idle.pop(connection, None)


def _refuse_strangers(connection: socket.socket) -> None:
    _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid != 0:
        raise Refused(403, f"uid {uid} is refused: only root is answered")


def _refusal(reason: Refused) -> Reply:
    return Reply(reason.status, json.dumps(failure(str(reason))).encode())


def _send(connection: socket.socket, reply: Reply, *, keep: bool) -> None:
    head = (
        f"HTTP/1.1 {reply.status} {_REASONS[reply.status]}\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(reply.body)}\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    try:
        connection.settimeout(_SEND_LIMIT_S)
        connection.sendall(head.encode() + reply.body)
    except OSError:
        pass  # the other end closed the connection


def _linger(connection: socket.socket) -> None:
    """Receive the rest of a refused request: a sender that meets a closed socket does not read the answer."""
    connection.shutdown(socket.SHUT_WR)
    end, left = monotonic() + _LINGER_S, _LINGER_MAX
    while left > 0 and (timeout_s := end - monotonic()) > 0:
        connection.settimeout(timeout_s)
        taken = len(connection.recv(64 << 10))
        if not taken:
            return
        left -= taken


def _end(connection: socket.socket) -> None:
    """Receive no more requests. One that has arrived is still answered."""
    try:
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        pass


def _pause() -> None:
    """Wait while no descriptor is free. New connections stay in the kernel's queue."""
    from time import sleep

    sleep(0.1)


def _to_stderr(line: str, duration_ms: float, *, subject: Subject | None = None, code: int = 0) -> None:  # noqa: ARG001
    say(line)
