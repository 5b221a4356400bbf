"""One HTTP/1.1 connection to one server, on which each request has a time limit for the whole of it.

`http.client` knows only a limit for each single read: a server that sends a byte now and then would hold its caller
for ever. So it reads from a `_TimedSocket`, which knows when the request ends.
"""

from __future__ import annotations

import io
import select
import socket
from http.client import HTTPConnection, HTTPException
from time import monotonic

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from http.client import HTTPResponse
    from typing import Any

    from cni_cnm.cluster.http.endpoint import Endpoint
    from cni_cnm.cluster.http.tls import Tls

ANSWER_MAX = 64 << 20
"""Bytes of one answer."""
_PIECE = 1 << 16
_OK = 200
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""Seconds and probes: a peer that is gone without a word is noticed after 25 s, also while nothing is sent."""
_WRONG = (OSError, HTTPException, ValueError)


class NoAnswer(Exception):
    """A request has no answer. `sent`: the server may have got it, so what it did is not known."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class Answer(NamedTuple):
    """Of a server."""

    status: int
    """Of HTTP."""
    content: bytes
    retry_after: str
    """The header of that name; "" if there is none."""


class Connection:
    """A connection to a server. It is usable until a call raises NoAnswer, or until `fresh` is False."""

    def __init__(self, endpoint: Endpoint, tls: Tls, until: float) -> None:
        self._timed = _TimedSocket(_connected(endpoint, tls, until))
        self._http = HTTPConnection(endpoint.host, endpoint.port)
        self._http.auto_open = 0
        self._http.sock = self._timed

    def close(self) -> None:
        self._http.close()
        self._timed.end()

    def cut(self) -> None:
        """End a call that another thread makes: its read fails at once."""
        self._timed.cut()

    def fresh(self) -> bool:
        """False if the server has closed the connection."""
        return self._http.sock is not None and not self._timed.readable(0)

    def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], until: float) -> Answer:
        """The whole answer. `until`: on the clock `monotonic`."""
        answer = self.pieces(method, path, body, headers, until, ANSWER_MAX)
        return Answer(answer.status, b"".join(answer), answer.retry_after)

    def pieces(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], until: float, size_max: int
    ) -> Pieces:
        """An answer as it comes, of at most `size_max` bytes. All of it must be there by `until`."""
        return Pieces(self._request(method, path, body, headers, until), size_max)

    def stream(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], until: float) -> Stream:
        """The lines of an answer that does not end. `until` is when its head must be there.

        An answer with another status than 200 is read whole.
        """
        response = self._request(method, path, body, headers, until)
        content = b"" if response.status == _OK else b"".join(Pieces(response, ANSWER_MAX))
        return Stream(self._timed, response, content)

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], until: float
    ) -> HTTPResponse:
        self._timed.until = until
        try:
            self._http.request(method, path, body, dict(headers))
            return self._http.getresponse()
        except _WRONG as error:
            raise NoAnswer(_reason(error), sent=True) from error


class Pieces:
    """The content of an answer, in parts as they come. The connection is usable again when all were read."""

    def __init__(self, response: HTTPResponse, size_max: int) -> None:
        self.status = response.status
        self.retry_after = response.getheader("Retry-After") or ""
        self._response = response
        self._left = size_max
        self._size_max = size_max

    def __iter__(self) -> Iterator[bytes]:
        """NoAnswer if the answer is cut off, too long, or not there in time."""
        while True:
            try:
                piece = self._response.read1(_PIECE)
                if not piece and self._response.length:  # http.client reports no short read
                    raise HTTPException("the connection ended within the answer")
            except _WRONG as error:
                raise NoAnswer(_reason(error), sent=True) from error
            if not piece:
                self._response.close()
                return
            self._left -= len(piece)
            if self._left < 0:
                raise NoAnswer(f"its answer has more than {self._size_max >> 20} MiB", sent=True)
            yield piece


class Stream:
    """Lines of an answer. `status` is that of HTTP, `content` what was said with another status than 200.

    http.client cannot tell whether a further line has begun without waiting for one, so chunks are taken apart here.
    """

    def __init__(self, timed: _TimedSocket, response: HTTPResponse, content: bytes) -> None:
        self.status = response.status
        self.content = content
        self.retry_after = response.getheader("Retry-After") or ""
        self._timed = timed
        self._file: Any = response.fp
        chunked = response.getheader("Transfer-Encoding", "").lower() == "chunked"
        self._chunks = _Chunks(chunked, None if chunked else response.length)

    def line(self, wait_s: float, line_s: float) -> bytes | None:
        """The next line; b"" at the end of the answer; None if none begins within `wait_s`.

        NoAnswer if the connection ends within a line, or if a line is not complete within `line_s`.
        """
        text = self._chunks.text
        until, begun = monotonic() + wait_s, False
        try:
            while (end := text.find(b"\n") + 1) == 0:
                if len(text) > ANSWER_MAX:
                    raise HTTPException(f"a line has more than {ANSWER_MAX >> 20} MiB")
                if self._chunks.ended and text:
                    raise HTTPException("the connection ended within a line")
                if self._chunks.ended:
                    return b""
                if not begun and self._chunks.begun():
                    until, begun = monotonic() + line_s, True
                if not self._read(until):
                    if begun:
                        raise TimeoutError
                    return None
        except _WRONG as error:
            raise NoAnswer(_reason(error), sent=True) from error
        line = bytes(text[:end])
        del text[:end]
        return line

    def _read(self, until: float) -> bool:
        """Wait for more of the answer. False if nothing came."""
        while True:
            with self._timed.without_waiting():
                data = self._file.read1(1 << 16)
            if data or self._timed.ended:
                self._chunks.add(data or b"")
                self._chunks.ended |= self._timed.ended and not data
                return True
            if not self._timed.readable(until - monotonic()):
                return False


class _Chunks:
    """The text of an answer in HTTP's chunks (RFC 9112, 7.1), of a length, or to the connection's end."""

    def __init__(self, chunked: bool, length: int | None) -> None:
        self.text = bytearray()
        self.ended = length == 0
        self._chunked = chunked
        self._left = length
        self._raw = bytearray()

    def begun(self) -> bool:
        """A line or a chunk has begun."""
        return bool(self.text or self._raw)

    def add(self, data: bytes) -> None:
        """ValueError if a chunk has no right size."""
        if not self._chunked:
            self.text += data
            if self._left is not None:
                self._left -= len(data)
                self.ended = self._left <= 0
            return
        self._raw += data
        while not self.ended and (head := self._raw.find(b"\r\n")) >= 0:
            size = int(self._raw[:head].split(b";")[0], 16)
            if size < 0:
                raise ValueError("a chunk has a size below 0")
            last = head + 2 + size + 2
            if len(self._raw) < last:
                return
            self.text += self._raw[head + 2 : last - 2]
            del self._raw[:last]
            self.ended = not size


class _TimedSocket:
    """What http.client uses of a socket. Each read ends at `until`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.until = 0.0
        self.ended = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedFile(self), 1 << 16)

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._left())
        self._sock.sendall(data)

    def receive_into(self, buffer: Any) -> int | None:
        try:
            self._sock.settimeout(self._left())
            count = self._sock.recv_into(buffer)
        except (BlockingIOError, TimeoutError) as error:
            if self.until:
                raise TimeoutError("it did not answer in time") from error
            return None
        except OSError as error:
            if not self.until and type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError"):
                return None
            raise
        self.ended = self.ended or not count
        return count

    def readable(self, wait_s: float) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(max(0, wait_s * 1000)))

    def without_waiting(self) -> _WithoutWaiting:
        return _WithoutWaiting(self)

    def cut(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        """http.client closes it before it has read the last answer, which has the header `Connection: close`."""

    def end(self) -> None:
        self._sock.close()

    def _left(self) -> float:
        left = self.until - monotonic()
        if self.until and left <= 0:
            raise TimeoutError("it did not answer in time")
        return max(0.0, left)


class _WithoutWaiting:
    """Reads give what is there."""

    def __init__(self, timed: _TimedSocket) -> None:
        self._timed = timed

    def __enter__(self) -> None:
        self._before, self._timed.until = self._timed.until, 0.0

    def __exit__(self, *_: object) -> None:
        self._timed.until = self._before


class _TimedFile(io.RawIOBase):
    """The socket as http.client's response reads it. Closing it leaves the socket open, for the next request."""

    def __init__(self, timed: _TimedSocket) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        return self._timed.receive_into(buffer)


def _connected(endpoint: Endpoint, tls: Tls, until: float) -> socket.socket:
    context = tls.context() if endpoint.encrypted else None
    try:
        sock = socket.create_connection((endpoint.host, endpoint.port), _left(until))
    except OSError as error:
        raise NoAnswer(_reason(error), sent=False) from error
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        if context is not None:
            sock.settimeout(_left(until))
            sock = context.wrap_socket(sock, server_hostname=endpoint.host)
    except OSError as error:
        sock.close()
        raise NoAnswer(_reason(error), sent=False) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _left(until: float) -> float:
    return max(0.001, until - monotonic())


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    detail = getattr(error, "verify_message", None)
    if detail:
        return f"its certificate is not accepted: {detail}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
