"""Reads the HTTP/1.1 requests of one connection, limited in bytes and in time.

    POST /NetworkDriver.Join HTTP/1.1       any method, any headers, no Content-Type needed
    Content-Length: 123                     or chunked, or nothing: an empty body

Anything else is `Refused`, with the status and the reason for the answer.
"""

from __future__ import annotations

from time import monotonic

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

BODY_MAX = 1 << 20
_HEAD_MAX = 32 << 10
REQUEST_LIMIT_S = 10.0
"""From the first byte of a request to its last."""
_FRAMING = ("content-length", "transfer-encoding")


class Refused(Exception):
    """A request that is refused: the answer has `status` and the reason, then the connection is closed."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class HttpRequest(NamedTuple):
    call: str
    body: bytes
    keep_open: bool
    """The connection stays open after the answer."""


class Reader:
    """The requests of one connection. Bytes after one request belong to the next."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._end = 0.0
        """When the present request must be complete (time.monotonic)."""

    def wait(self) -> bool:
        """Wait for the first byte of a request. False if the connection is closed, or nothing is sent in time."""
        if self._buffer:
            return True
        try:
            return self._more()
        except TimeoutError:
            return False

    def request(self) -> HttpRequest:
        """The next request. Refused if it is not valid; OSError if the connection ends within it."""
        self._end = monotonic() + REQUEST_LIMIT_S
        lines = self._until(b"\r\n\r\n", _HEAD_MAX, 431).decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise Refused(400, f"{lines[0][:80]!r} is not an HTTP/1.1 request")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise Refused(400, f"{line[:80]!r} is not a header")
            name, value = name.strip().lower(), value.strip()
            if name in _FRAMING and headers.get(name, value) != value:
                raise Refused(400, f"there are two different {name}")
            headers[name] = value
        if headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunked = headers.get("transfer-encoding", "").lower()
        if chunked not in ("", "identity", "chunked"):
            raise Refused(400, f"the transfer encoding {chunked[:80]!r} is not known")
        body = self._chunks() if chunked == "chunked" else self._take(_length(headers.get("content-length", "0")))
        closes = headers.get("connection", "").lower() == "close" or words[2] == "HTTP/1.0"
        return HttpRequest(words[1].partition("?")[0].lstrip("/"), body, not closes)

    def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            text = self._until(b"\r\n", 256, 400).split(b";")[0].decode("latin-1").strip()
            if not text or not all(c in "0123456789abcdefABCDEF" for c in text):
                raise Refused(400, f"{text[:80]!r} is not the size of a chunk")
            size = int(text, 16)
            if len(body) + size > BODY_MAX:
                raise Refused(413, f"the body is longer than {BODY_MAX} bytes")
            if size == 0:
                self._skip_trailers()
                return bytes(body)
            body += self._take(size)
            if self._take(2) != b"\r\n":
                raise Refused(400, "a chunk does not end where it says")

    def _skip_trailers(self) -> None:
        left = _HEAD_MAX
        while trailer := self._until(b"\r\n", left, 431):
            left -= len(trailer)

    def _until(self, end: bytes, limit: int, status: int) -> bytes:
        while (at := self._buffer.find(end)) < 0 and len(self._buffer) <= limit:
            self._require_more()
        if not 0 <= at <= limit:
            raise Refused(status, f"more than {limit} bytes before the end of the request's head")
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
        left = self._end - monotonic()
        if left > 0:
            self._connection.settimeout(left)
            try:
                if self._more():
                    return
            except TimeoutError:
                pass
            else:
                raise ConnectionResetError("the other end closed in the middle of a request")
        raise Refused(408, f"the request was not complete in {REQUEST_LIMIT_S:g} s")

    def _more(self) -> bool:
        try:
            data = self._connection.recv(64 << 10)
        except (TimeoutError, ConnectionError):
            raise
        except OSError as error:  # the host has run out of something
            raise Refused(503, f"the request cannot be read: {error.strerror}") from error
        self._buffer += data
        return bool(data)


def _length(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise Refused(400, f"the Content-Length {text[:80]!r} is not a number")
    if len(text) > 9 or int(text) > BODY_MAX:
        raise Refused(413, f"the body is longer than {BODY_MAX} bytes")
    return int(text)
