"""One blocking netlink socket: batches of requests, acknowledgements by sequence number, consistent dumps.

Requests and answers are bytes: `body` is what follows the header of a message. A batch costs one send and one receive:
the kernel handles requests in order, and answers those that fail and the last one. The module `_socket` is what
`socket` is made of; it loads in 0.2 ms instead of 5.
"""

from __future__ import annotations

import _socket
import os
import struct
import sys
from errno import EINTR, EINVAL, ENODEV, EOPNOTSUPP, ETIMEDOUT

from cni_cnm.bases import TypeVar
from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.kernel.netlink.header import (
    ACK,
    DONE,
    DUMP,
    ECHO,
    ERROR,
    HEADER,
    INTERRUPTED,
    RECEIVE_BYTES,
    REQUEST,
    messages,
)
from cni_cnm.kernel.netlink.nlattr import find, text
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SOL_NETLINK = 270
_CAP_ACK, _EXT_ACK, _GET_STRICT_CHK = 10, 11, 12
_SO_RCVBUFFORCE, _SO_NETNS_COOKIE = 33, 71

_INT = struct.Struct("=i")
_MESSAGE = 1
"""NLMSGERR_ATTR_MSG."""

T = TypeVar("T")

SEND_BYTES = 32 * 1024
SEND_MESSAGES = 256
"""Each acknowledgement takes 768 bytes of the receive buffer. So many also fit a buffer of the default size."""
RECEIVE_BUFFER = 1024 * 1024
TIMEOUT_S = 20
DUMP_TRIES = 20


class Later:
    """A sentence that is put together only for an error."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make

    def __str__(self) -> str:
        return self._make()


class _Request(NamedTuple):
    sequence: int
    data: bytes
    sentence: str | Later
    feature: str


class NetlinkSocket:
    """A socket of the namespace it is opened in, of rtnetlink by default. Used by one thread at a time."""

    def __init__(self, protocol: int = _socket.NETLINK_ROUTE) -> None:
        self._socket = sock = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, protocol)
        for option in (_CAP_ACK, _EXT_ACK, _GET_STRICT_CHK):
            sock.setsockopt(_SOL_NETLINK, option, 1)
        try:
            sock.setsockopt(_socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:  # not root of the init user namespace: at most net.core.rmem_max
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, RECEIVE_BUFFER)
        # The kernel answers within the call that sends. The limit is for defects: no pod may hang for ever.
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, struct.pack("ll", TIMEOUT_S, 0))
        sock.connect((0, 0))  # only the kernel can send to a connected socket
        self._sequence = 0
        self._queue: list[_Request] = []
        self._depth = 0
        self.failures: list[Exception] | None = None
        """Where failures of queued requests go; None: the first one is raised."""

    @property
    def port(self) -> int:
        """By which the kernel tells, in notifications, whose request was the cause."""
        return int(self._socket.getsockname()[0])

    def fileno(self) -> int:
        return self._socket.fileno()

    def namespace_cookie(self) -> int:
        """Of the namespace the socket is bound to; 0 where the kernel has none (before 5.14)."""
        try:
            return int.from_bytes(self._socket.getsockopt(_socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)
        except OSError:
            return 0

    def close(self) -> None:
        self._queue.clear()
        self._socket.close()

    def reset(self) -> None:
        """Make it as newly opened: drop what is queued, and answers that were not read."""
        self._queue.clear()
        self._depth = 0
        self._drain()

    def write(self, body: bytes, kind: int, sentence: str | Later, *, flags: int = 0, feature: str = "") -> None:
        """Send, or queue inside a batch. With `feature`, EOPNOTSUPP becomes KernelFeatureMissing.

        `sentence` names the action and its object: "adding the address 10.0.0.2/24 to eth0".
        """
        self._queue.append(self._encode(body, kind, REQUEST | flags, sentence, feature))
        if not self._depth:
            self.flush()

    def begin(self) -> int:
        """Begin a batch. Gives the number of requests that are queued already."""
        self._depth += 1
        return len(self._queue)

    def end(self, keep: int | None) -> None:
        """End a batch. Of a failed one only the first `keep` requests stay queued."""
        self._depth -= 1
        if keep is not None:
            del self._queue[keep:]
        if not self._depth:
            self.flush()

    def flush(self) -> None:
        """Send what is queued. The kernel tries all of it, then the first failure is raised, or `failures` gets all."""
        if not self._queue:
            return
        queue, self._queue = self._queue, []
        failures: list[Exception] = []
        for chunk in _chunks(queue):
            last = chunk[-1] = _acknowledged(chunk[-1])
            self._send(b"".join([request.data for request in chunk]), last.sentence)
            ended = False
            while not ended:
                data = self._receive(last.sentence)
                for offset, _, kind, _, sequence in messages(data):
                    ended = ended or sequence == last.sequence
                    request = next((one for one in chunk if one.sequence == sequence), None)
                    if request is None or kind != ERROR:
                        continue
                    failure = _failure(data, offset, request.sentence, request.feature)
                    if failure is not None:
                        failures.append(failure)
        if failures and self.failures is not None:
            self.failures += failures
        elif failures:
            raise failures[0]

    def ask(self, body: bytes, kind: int, sentence: str) -> tuple[bytes, int] | None:
        """The one object that a request names: a datagram, and the offset in it. None if there is none (ENODEV)."""
        self.flush()
        request = self._encode(body, kind, REQUEST, sentence)
        self._send(request.data, sentence)
        while True:
            data = self._receive(sentence)
            for offset, _, answer, _, sequence in messages(data):
                if sequence != request.sequence:
                    continue
                if answer != ERROR:
                    return data, offset
                if _errno(data, offset) == ENODEV:
                    return None
                failure = _failure(data, offset, sentence)
                raise failure or KernelError(f"{sentence} was answered with nothing", EINVAL)

    def make(
        self, body: bytes, kind: int, sentence: str, *, flags: int = 0, feature: str = ""
    ) -> tuple[bytes, int] | None:
        """As `write`. Gives the created object as the kernel echoes it: a datagram and an offset.

        None in a batch, and where the kernel does not echo (links: before 6.2).
        """
        if self._depth:
            self.write(body, kind, sentence, flags=flags, feature=feature)
            return None
        return self.echo(body, kind, sentence, flags=flags, feature=feature)

    def echo(
        self, body: bytes, kind: int, sentence: str, *, flags: int = 0, feature: str = ""
    ) -> tuple[bytes, int] | None:
        """Send at once, after what is queued. Gives the object that the kernel echoes before it acknowledges."""
        self.flush()
        request = self._encode(body, kind, REQUEST | ACK | ECHO | flags, sentence, feature)
        self._send(request.data, sentence)
        echo = None
        while True:
            data = self._receive(sentence)
            for offset, _, answer, _, sequence in messages(data):
                if sequence != request.sequence:
                    continue
                if answer != ERROR:
                    echo = data, offset
                    continue
                failure = _failure(data, offset, sentence, feature)
                if failure is not None:
                    raise failure
                return echo

    def dump(self, body: bytes, kind: int, sentence: str, read: Callable[[bytes, int], T]) -> list[T]:
        """All objects that match, from one consistent walk: an interrupted one is repeated.

        `read` makes a value of each datagram and offset.
        """
        self.flush()
        for _ in range(DUMP_TRIES):
            found = self._dump_once(body, kind, sentence, read)
            if found is not None:
                return found
        raise KernelError(f"{sentence} was interrupted by changes {DUMP_TRIES} times in a row", EINTR)

    def _dump_once(self, body: bytes, kind: int, sentence: str, read: Callable[[bytes, int], T]) -> list[T] | None:
        request = self._encode(body, kind, REQUEST | DUMP, sentence)
        self._send(request.data, sentence)
        found: list[T] = []
        consistent = True
        while True:
            data = self._receive(sentence)
            for offset, _, answer, flags, sequence in messages(data):
                if sequence != request.sequence:
                    continue
                if flags & INTERRUPTED:
                    consistent = False
                if answer in (DONE, ERROR):
                    failure = _failure(data, offset, sentence)
                    if isinstance(failure, KernelError) and failure.errno == EINTR:
                        return None
                    if failure is not None:
                        raise failure
                    return found if consistent else None
                found.append(read(data, offset))

    def _encode(self, body: bytes, kind: int, flags: int, sentence: str | Later, feature: str = "") -> _Request:
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        data = HEADER.pack(HEADER.size + len(body), kind, flags, self._sequence, 0) + body
        return _Request(self._sequence, data, sentence, feature)

    def _send(self, data: bytes, sentence: str | Later) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise KernelError(f"{sentence} could not be sent: {error.strerror}", error.errno or EINVAL) from error

    def _receive(self, sentence: str | Later) -> bytes:
        """The next datagram."""
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError as error:
            raise KernelError(f"{sentence} was not answered within {TIMEOUT_S} s", ETIMEDOUT) from error
        except OSError as error:
            self._drain()
            raise KernelError(f"the answer to {sentence} was lost: {error.strerror}", error.errno or EINVAL) from error

    def _drain(self) -> None:
        # The rest of an overrun buffer would leave no room for the next answer.
        try:
            while True:
                self._socket.recv(RECEIVE_BYTES, _socket.MSG_DONTWAIT)
        except OSError:
            pass


def _chunks(queue: Sequence[_Request]) -> Iterator[list[_Request]]:
    chunk: list[_Request] = []
    size = 0
    for request in queue:
        if chunk and (size + len(request.data) > SEND_BYTES or len(chunk) == SEND_MESSAGES):
            yield chunk
            chunk, size = [], 0
        chunk.append(request)
        size += len(request.data)
    yield chunk


def _errno(data: bytes, offset: int) -> int:
    """The errno of an acknowledgement or of the end of a dump, 0 for success."""
    length = HEADER.unpack_from(data, offset)[0]
    return -int(_INT.unpack_from(data, offset + HEADER.size)[0]) if length >= HEADER.size + _INT.size else 0


def _acknowledged(request: _Request) -> _Request:
    """The same, answered also if it succeeds."""
    length, kind, flags, sequence, port = HEADER.unpack_from(request.data)
    header = HEADER.pack(length, kind, flags | ACK, sequence, port)
    return request._replace(data=header + request.data[HEADER.size :])


def _failure(
    data: bytes, offset: int, sentence: str | Later, feature: str = ""
) -> KernelError | KernelFeatureMissing | None:
    """The exception for an acknowledgement or the end of a dump, None for success."""
    number = _errno(data, offset)
    if not number:
        return None
    said = _said(data, offset)
    cause = f"{os.strerror(number)} ({said})" if said else os.strerror(number)
    if feature and number == EOPNOTSUPP:
        return KernelFeatureMissing(f"{sentence} failed: this kernel has no {feature}", details=cause)
    return KernelError(f"{sentence} failed: {cause}", number)


def _said(data: bytes, offset: int) -> str:
    """The kernel's own words in a refusal under NETLINK_CAP_ACK: they follow the errno and the request's header."""
    end = offset + HEADER.unpack_from(data, offset)[0]
    return text(data, find(data, offset + 2 * HEADER.size + _INT.size, end, _MESSAGE))
