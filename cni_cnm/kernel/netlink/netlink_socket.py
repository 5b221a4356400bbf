"""rtnetlink over one blocking socket: batches of requests, acknowledgements by sequence, consistent dumps.

pyroute2's own sockets run an event loop a call; a batch of ours costs one send and one receive a request.
"""

from __future__ import annotations

import os
import socket
import struct
from errno import EINTR, EINVAL, ENODEV, EOPNOTSUPP, ETIMEDOUT
from functools import partial
from typing import Any, NamedTuple

from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.kernel.netlink import encoding
from cni_cnm.kernel.netlink.messages import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cni_cnm.kernel.netlink.messages import Message


REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
_ECHO = 0x8
"""Links are echoed from kernel 6.2 on."""
CREATE_NEW = 0x600
"""NLM_F_CREATE | NLM_F_EXCL."""
_DUMP_INTR = 0x10
_ERROR, _DONE = 0x2, 0x3

_SOL_NETLINK = 270
_CAP_ACK, _EXT_ACK, _GET_STRICT_CHK = 10, 11, 12
_SO_RCVBUFFORCE = 33

_HEADER = struct.Struct("=IHHII")
_INT = struct.Struct("=i")

SEND_BYTES = 32 * 1024
SEND_MESSAGES = 256
"""Acknowledgements take 768 bytes each of the receive buffer: so many fit an unraised one, too."""
RECEIVE_BUFFER = 1024 * 1024
RECEIVE_BYTES = 64 * 1024
"""The kernel fills a dump's datagrams up to 32 KiB."""
TIMEOUT_S = 20
DUMP_TRIES = 20


class _Request(NamedTuple):
    sequence: int
    data: bytes
    sentence: str
    feature: str


class NetlinkSocket:
    """One netlink socket, rtnetlink by default, bound to the namespace it was opened in for its whole life."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        for option in (_CAP_ACK, _EXT_ACK, _GET_STRICT_CHK):
            sock.setsockopt(_SOL_NETLINK, option, 1)
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:  # not the init user namespace's root: up to net.core.rmem_max then
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        # The kernel answers within the call that sends; the limit keeps a bug from hanging a pod for ever.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", TIMEOUT_S, 0))
        sock.connect((0, 0))  # only the kernel can send to a connected one
        self._sequence = 0
        self._queue: list[_Request] = []
        self._depth = 0

    def close(self) -> None:
        self._queue.clear()
        self._socket.close()

    def reset(self) -> None:
        """As if newly opened: whatever was queued, or is still to be answered, is forgotten."""
        self._queue.clear()
        self._depth = 0
        self._drain()

    def write(self, message: Message, kind: int, sentence: str, *, flags: int = 0, feature: str = "") -> None:
        """Send, or queue inside a batch. With `feature`, EOPNOTSUPP means that the kernel lacks it.

        `sentence` says what is tried on which object: "adding the address 10.0.0.2/24 to eth0".
        """
        self._queue.append(self._encode(message, kind, REQUEST | ACK | flags, sentence, feature))
        if not self._depth:
            self.flush()

    def begin(self) -> int:
        """Queue from now on; gives the number of requests that are waiting already."""
        self._depth += 1
        return len(self._queue)

    def end(self, keep: int | None) -> None:
        """The end of a batch: of a failed one only the first `keep` requests stay queued."""
        self._depth -= 1
        if keep is not None:
            del self._queue[keep:]
        if not self._depth:
            self.flush()

    def flush(self) -> None:
        """Send what is queued; the first failure is raised after the kernel has tried all of it."""
        if not self._queue:
            return
        queue, self._queue = self._queue, []
        failures: dict[int, Exception] = {}
        for chunk in _chunks(queue):
            waiting = {request.sequence: request for request in chunk}
            self._send(b"".join(request.data for request in chunk), chunk[0].sentence)
            while waiting:
                for data, offset, kind, _, sequence in self._receive(chunk[0].sentence):
                    request = waiting.pop(sequence, None)
                    if request is not None and kind == _ERROR:
                        failure = _failure(data, offset, request.sentence, request.feature)
                        if failure is not None:
                            failures[sequence] = failure
        if failures:
            raise failures[min(failures)]

    def get(self, message: Message, kind: int, sentence: str) -> Message | None:
        """The one object a request names; None if there is none (ENODEV)."""
        found = self.ask(message, kind, sentence)
        return None if found is None else _decode(type(message), *found)

    def ask(self, message: Message, kind: int, sentence: str) -> tuple[bytes, int] | None:
        """As `get`, but what the kernel answered as it is: a datagram and where in it the object begins."""
        self.flush()
        request = self._encode(message, kind, REQUEST, sentence)
        self._send(request.data, sentence)
        while True:
            for data, offset, answer, _, sequence in self._receive(sentence):
                if sequence != request.sequence:
                    continue
                if answer != _ERROR:
                    return data, offset
                if _errno(data, offset) == ENODEV:
                    return None
                failure = _failure(data, offset, sentence)
                raise failure or KernelError(f"{sentence} was answered with nothing", EINVAL)

    def make(
        self, message: Message, kind: int, sentence: str, *, flags: int = 0, feature: str = ""
    ) -> tuple[bytes, int] | None:
        """As `write`, and what was made, as the kernel echoes it; None in a batch, and where the kernel does not."""
        if self._depth:
            self.write(message, kind, sentence, flags=flags, feature=feature)
            return None
        self.flush()
        request = self._encode(message, kind, REQUEST | ACK | _ECHO | flags, sentence, feature)
        self._send(request.data, sentence)
        echo = None
        while True:
            for data, offset, answer, _, sequence in self._receive(sentence):
                if sequence != request.sequence:
                    continue
                if answer != _ERROR:
                    echo = data, offset
                    continue
                failure = _failure(data, offset, sentence, feature)
                if failure is not None:
                    raise failure
                return echo

    def dump(
        self, message: Message, kind: int, sentence: str, read: Callable[[bytes, int], Any] | None = None
    ) -> list[Any]:
        """All objects a filter lets through, from one consistent walk: an interrupted one is done again.

        `read` makes a value of each datagram and offset; without it they are messages of pyroute2's.
        """
        read = read or partial(_decode, type(message))
        self.flush()
        fields = {name: message[name] for name, _ in message.fields}
        attributes = list(message["attrs"])
        for _ in range(DUMP_TRIES):
            again = type(message)()
            again.update(fields, attrs=list(attributes))
            found = self._dump_once(again, kind, sentence, read)
            if found is not None:
                return found
        raise KernelError(f"{sentence} was interrupted by changes {DUMP_TRIES} times in a row", EINTR)

    def _dump_once(
        self, message: Message, kind: int, sentence: str, read: Callable[[bytes, int], Any]
    ) -> list[Any] | None:
        request = self._encode(message, kind, REQUEST | DUMP, sentence)
        self._send(request.data, sentence)
        found: list[Any] = []
        consistent = True
        while True:
            for data, offset, answer, flags, sequence in self._receive(sentence):
                if sequence != request.sequence:
                    continue
                if flags & _DUMP_INTR:
                    consistent = False
                if answer in (_DONE, _ERROR):
                    failure = _failure(data, offset, sentence)
                    if isinstance(failure, KernelError) and failure.errno == EINTR:
                        return None
                    if failure is not None:
                        raise failure
                    return found if consistent else None
                found.append(read(data, offset))

    def _encode(self, message: Message, kind: int, flags: int, sentence: str, feature: str = "") -> _Request:
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        try:
            data = encoding.request(message, kind, flags, self._sequence)
        except (ValueError, struct.error, OSError) as error:
            raise KernelError(f"{sentence} failed: a value cannot be encoded ({error})", EINVAL) from error
        return _Request(self._sequence, data, sentence, feature)

    def _send(self, data: bytes, sentence: str) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise KernelError(f"{sentence} could not be sent: {error.strerror}", error.errno or EINVAL) from error

    def _receive(self, sentence: str) -> Iterator[tuple[bytes, int, int, int, int]]:
        """The messages of one datagram: (datagram, offset, type, flags, sequence)."""
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError as error:
            raise KernelError(f"{sentence} was not answered within {TIMEOUT_S} s", ETIMEDOUT) from error
        except OSError as error:
            self._drain()
            raise KernelError(f"the answer to {sentence} was lost: {error.strerror}", error.errno or EINVAL) from error
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
            if not _HEADER.size <= length <= len(data) - offset:
                raise KernelError(f"the answer to {sentence} is cut off", EINVAL)
            yield data, offset, kind, flags, sequence
            offset += (length + 3) & ~3

    def _drain(self) -> None:
        # What is left of an overrun buffer would keep the next answer out of it.
        try:
            while True:
                self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
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


def _decode(cls: Any, data: bytes, offset: int) -> Message:
    message = cls(data, offset=offset)
    message.decode()
    return message


def _errno(data: bytes, offset: int) -> int:
    """Of an acknowledgement or the end of a dump: 0 for success."""
    length = _HEADER.unpack_from(data, offset)[0]
    return -int(_INT.unpack_from(data, offset + _HEADER.size)[0]) if length >= _HEADER.size + _INT.size else 0


def _failure(data: bytes, offset: int, sentence: str, feature: str = "") -> KernelError | KernelFeatureMissing | None:
    """The exception an acknowledgement (or the end of a dump) stands for, None for success."""
    number = _errno(data, offset)
    if not number:
        return None
    words = ""
    if _HEADER.unpack_from(data, offset)[0] > 2 * _HEADER.size + _INT.size:
        words = _decode(Refusal, data, offset).get_attr("NLMSGERR_ATTR_MSG") or ""
    cause = f"{os.strerror(number)} ({words})" if words else os.strerror(number)
    if feature and number == EOPNOTSUPP:
        return KernelFeatureMissing(f"{sentence} failed: this kernel has no {feature}", details=cause)
    return KernelError(f"{sentence} failed: {cause}", number)
