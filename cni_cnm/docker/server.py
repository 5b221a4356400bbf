"""HTTP/1.1 on the plugin socket, as much as Docker speaks and a little more.

A connection has a thread of its own and may be kept open (dockerd keeps some). What cannot be understood is answered
with the reason and closed; no request holds up another one, nor the service's pods. Only root is answered.

    POST /NetworkDriver.Join HTTP/1.1       any method, any headers, no Content-Type needed
    Content-Length: 123                     or chunked, or nothing: an empty body
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
from threading import Lock, Thread
from time import perf_counter
from typing import NamedTuple

from cni_cnm.docker.calls import Reply, answer
from cni_cnm.plugins import failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.docker.calls import Engine

    Note = Callable[[str, float], None]
    """A line about a call, and how long it took in milliseconds."""

CONTENT_TYPE = "application/vnd.docker.plugins.v1.2+json"
BODY_MAX = 1 << 20
_HEAD_MAX = 32 << 10
_CONNECTIONS_MAX = 256
_IDLE_S = 600.0
_PATIENCE_S = 10.0
"""For the rest of a request that has begun, and for an answer to be taken."""
_CREDENTIALS = struct.Struct("=iII")
_REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 408: "Request Timeout",
            413: "Content Too Large", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
            503: "Service Unavailable"}  # fmt: skip


class Refused(Exception):
    """This is no request to be answered with more than a reason; the connection is closed after it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Asked(NamedTuple):
    call: str
    body: bytes
    keep: bool
    """The connection stays open after the answer."""


class Server:
    """Accepts on `listener` in a thread of its own, from `start` to `stop`. `note` gets a line for each call."""

    def __init__(
        self, listener: socket.socket, engine: Engine, note: Callable[[str, float], None] | None = None
    ) -> None:
        self._listener = listener
        self._engine = engine
        self._note = note or _say
        self._lock = Lock()
        self._connections: dict[socket.socket, Thread] = {}
        self._idle: set[socket.socket] = set()
        self._stopping = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = Thread(target=self._accept, name="docker", daemon=True)

    def start(self) -> None:
        self._listener.setblocking(False)
        self._thread.start()

    def stop(self) -> None:
        """Nothing new is accepted, idle connections are closed, what is under way is finished."""
        with self._lock:
            self._stopping = True
            idle = list(self._idle)
            threads = list(self._connections.values())
        os.eventfd_write(self._wake, 1)  # the listener itself may be systemd's, for whoever comes next
        self._thread.join()
        os.close(self._wake)
        for connection in idle:
            _shut(connection)
        for thread in threads:
            thread.join()

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while self._wake not in {descriptor for descriptor, _ in poll.poll()}:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                self._note(f"docker: a connection cannot be accepted: {error.strerror}", 0.0)
                _pause()
                continue
            with self._lock:
                full = len(self._connections) >= _CONNECTIONS_MAX
                if not full and not self._stopping:
                    thread = Thread(target=self._serve, args=(connection,), name="docker-call", daemon=True)
                    self._connections[connection] = thread
                    thread.start()
                    continue
            _send(connection, _refusal(Refused(503, "too many connections")), keep=False)
            connection.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._talk(connection)
        except OSError:
            pass  # it went away; what it had asked for is done, and on record
        except Exception as error:  # noqa: BLE001 - a defect met by one connection ends that one
            self._note(f"docker: a connection failed: {type(error).__name__}: {error}", 0.0)
        finally:
            with self._lock:
                self._connections.pop(connection, None)
                self._idle.discard(connection)
            connection.close()

    def _talk(self, connection: socket.socket) -> None:
        _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        reader = Reader(connection)
        keep = True
        while keep:
            try:
                if not self._wait(connection, reader):
                    return
                _refuse_strangers(uid)
                asked = reader.request()
            except Refused as reason:
                reply, keep = _refusal(reason), False
                self._note(f"docker: refused: {reason}", 0.0)
            else:
                begun = perf_counter()
                reply, keep = answer(self._engine, asked.call, asked.body), asked.keep and not self._stopping
                self._note(f"docker: {reply.summary}", (perf_counter() - begun) * 1000)
            connection.settimeout(_PATIENCE_S)
            _send(connection, reply, keep=keep)

    def _wait(self, connection: socket.socket, reader: Reader) -> bool:
        """Until a request begins; False if none will."""
        with self._lock:
            if self._stopping:
                return False
            self._idle.add(connection)
        try:
            connection.settimeout(_IDLE_S)
            return reader.begun()
        finally:
            with self._lock:
                self._idle.discard(connection)
            connection.settimeout(_PATIENCE_S)


def _refuse_strangers(uid: int) -> None:
    if uid != 0:
        raise Refused(403, f"uid {uid} is not answered")


def _refusal(reason: Refused) -> Reply:
    return Reply(reason.status, json.dumps(failure(str(reason))).encode())


class Reader:
    """Requests of one connection. Bytes behind one belong to the next."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def begun(self) -> bool:
        """Wait for the first byte of a request; False if the other end closed, or has sent nothing for long."""
        if self._buffer:
            return True
        try:
            return self._more()
        except TimeoutError:
            return False

    def request(self) -> Asked:
        """Refused for what is no request; OSError if the connection breaks in the middle."""
        lines = self._until(b"\r\n\r\n", _HEAD_MAX, 431).decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise Refused(400, f"{lines[0][:80]!r} is no HTTP/1.1 request")
        headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise Refused(400, f"{line[:80]!r} is no header")
            headers[name.strip().lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunked = headers.get("transfer-encoding", "").lower()
        if chunked not in ("", "identity", "chunked"):
            raise Refused(400, f"the transfer encoding {chunked[:80]!r} is not known")
        body = self._chunks() if chunked == "chunked" else self._take(_length(headers.get("content-length", "0")))
        closes = headers.get("connection", "").lower() == "close" or words[2] == "HTTP/1.0"
        return Asked(words[1].partition("?")[0].lstrip("/"), body, not closes)

    def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            text = self._until(b"\r\n", 256, 400).split(b";")[0].decode("latin-1").strip()
            try:
                size = int(text, 16)
            except ValueError:
                raise Refused(400, f"{text[:80]!r} is no size of a chunk") from None
            if size < 0 or len(body) + size > BODY_MAX:
                raise Refused(413, f"the body is longer than {BODY_MAX} bytes")
            if size == 0:
                while self._until(b"\r\n", _HEAD_MAX, 431):
                    pass  # trailers
                return bytes(body)
            body += self._take(size)
            if self._take(2) != b"\r\n":
                raise Refused(400, "a chunk does not end where it says")

    def _until(self, end: bytes, limit: int, status: int) -> bytes:
        while (at := self._buffer.find(end)) < 0:
            if len(self._buffer) > limit:
                raise Refused(status, f"more than {limit} bytes before the end of the request's head")
            self._require_more()
        found = bytes(self._buffer[:at])
        del self._buffer[: at + len(end)]
        return found

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._require_more()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def _require_more(self) -> None:
        try:
            if self._more():
                return
        except TimeoutError:
            raise Refused(408, f"the rest of the request did not come in {_PATIENCE_S:g} s") from None
        raise ConnectionResetError("the other end closed in the middle of a request")

    def _more(self) -> bool:
        data = self._connection.recv(64 << 10)
        self._buffer += data
        return bool(data)


def _length(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise Refused(400, f"the Content-Length {text[:80]!r} is no number")
    if len(text) > 9 or int(text) > BODY_MAX:
        raise Refused(413, f"the body is longer than {BODY_MAX} bytes")
    return int(text)


def _send(connection: socket.socket, reply: Reply, *, keep: bool) -> None:
    head = (
        f"HTTP/1.1 {reply.status} {_REASONS[reply.status]}\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(reply.body)}\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    try:
        connection.sendall(head.encode() + reply.body)
    except OSError:
        pass  # it went away


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _pause() -> None:
    """No descriptor is left: the queue in the kernel keeps who waits."""
    from time import sleep

    sleep(0.1)


def _say(line: str, _: float) -> None:
    sys.stderr.write("".join(c if c.isprintable() else repr(c)[1:-1] for c in line) + "\n")
    sys.stderr.flush()
