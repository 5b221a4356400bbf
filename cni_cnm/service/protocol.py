"""The messages between a relay and the service: one request and one reply for each connection.

    request   magic 8 | version 32 | environ, argv, stdin, descriptors: 4 each
              environ bytes | argv bytes (every string ends in NUL) | stdin verbatim
              with the first byte, as SCM_RIGHTS: the relay's network namespace [, what CNI_NETNS names]
    reply     magic 8 | exit code, stdout, stderr, 0: 4 each
              stdout bytes | stderr bytes

Numbers are unsigned and in host order: both ends are on one machine. The magic contains the protocol's version,
`version` is the program's: a relay and a service of different installations never work together. To decline a request
the service closes the connection without a reply, and the relay executes the full program. The other end is
build/relay.c: change both, and the magic with them.
"""

from __future__ import annotations

import os
import socket
from struct import Struct

from cni_cnm import __version__
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAGIC = b"CNICNM1\0"
REQUEST = Struct("=8s32sIIII")
REPLY = Struct("=8sIIII")
TEXT_MAX = 2 << 20
STDIN_MAX = 4 << 20
REPLY_MAX = 4 << 20
_DESCRIPTORS_MAX = 2
_ANCILLARY_BYTES = socket.CMSG_SPACE(_DESCRIPTORS_MAX * 4)
_CHUNK_BYTES = 64 << 10


class Refused(Exception):
    """The service declines the request: its connection is closed without a reply. The text is the reason."""


class OtherVersion(Refused):
    """The relay is of another version: another program is installed meanwhile, or was."""


class Request(NamedTuple):
    """A CNI call as its relay received it."""

    environ: Mapping[str, str]
    argv: Sequence[str]
    stdin: bytes


class Incoming:
    """A connection whose request is being received. Owns the descriptors that came with it until `close`."""

    def __init__(self, connection: socket.socket, pid: int = 0) -> None:
        """`pid`: of the relay; 0 if it is not known."""
        self.connection = connection
        self.pid = pid
        self.descriptors: list[int] = []
        self._bytes = bytearray()
        self._lengths: tuple[int, int, int] = (0, 0, 0)
        self._size = 0

    def close(self) -> None:
        self.connection.close()
        self.close_descriptors()

    def close_descriptors(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.pop())

    def receive(self) -> Request | None:
        """Read what has arrived. Returns the request, None while it is incomplete. Refused if it is not valid."""
        try:
            data, ancillary, flags, _ = self.connection.recvmsg(
                _CHUNK_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
            )
        except BlockingIOError:
            return None
        except OSError as error:
            raise Refused(f"the relay's connection broke: {error.strerror}") from error
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self.descriptors += memoryview(content)[: len(content) // 4 * 4].cast("i")
        if not data:
            raise Refused("the relay closed the connection")
        if flags & socket.MSG_CTRUNC or len(self.descriptors) > _DESCRIPTORS_MAX:
            raise Refused("more descriptors arrived than a request may have")
        self._bytes += data
        if not self._size and len(self._bytes) >= REQUEST.size:
            self._read_header()
        if not self._size or len(self._bytes) < self._size:
            return None
        return self._decode()

    def _read_header(self) -> None:
        magic, version, environ, argv, stdin, descriptors = REQUEST.unpack_from(self._bytes)
        if magic != MAGIC:
            raise Refused("the relay uses another protocol")
        if version.rstrip(b"\0") != __version__.encode():
            raise OtherVersion(f"the relay is of version {version.rstrip(bytes(1)).decode(errors='replace')}")
        if environ + argv > TEXT_MAX or stdin > STDIN_MAX:
            raise Refused("the request is too large")
        if descriptors != len(self.descriptors) or not descriptors:
            raise Refused(f"{len(self.descriptors)} descriptors came where {descriptors} were announced")
        self._lengths = environ, argv, stdin
        self._size = REQUEST.size + environ + argv + stdin

    def _decode(self) -> Request:
        if len(self._bytes) != self._size:
            raise Refused("bytes follow the end of the request")
        environ_end = REQUEST.size + self._lengths[0]
        argv_end = environ_end + self._lengths[1]
        pairs = (text.partition("=") for text in _strings(self._bytes[REQUEST.size : environ_end]))
        return Request(
            environ={key: value for key, separator, value in pairs if separator},
            argv=_strings(self._bytes[environ_end:argv_end]),
            stdin=bytes(self._bytes[argv_end:]),
        )


def encode_request(request: Request, descriptors: int, *, version: str = __version__) -> bytes:
    """The bytes a relay sends (without the descriptors)."""
    environ = _packed([f"{key}={value}" for key, value in request.environ.items()])
    argv = _packed(request.argv)
    head = REQUEST.pack(MAGIC, version.encode(), len(environ), len(argv), len(request.stdin), descriptors)
    return head + environ + argv + request.stdin


def encode_reply(code: int, out: bytes, err: bytes) -> bytes:
    """The bytes of an answer. stderr is cut to the size that a relay accepts."""
    err = err[: max(0, REPLY_MAX - len(out))]
    return REPLY.pack(MAGIC, code, len(out), len(err), 0) + out + err


def decode_reply(data: bytes) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr; Refused if the reply is cut off or of another protocol."""
    if len(data) < REPLY.size:
        raise Refused("the reply is cut off")
    magic, code, out, err, _ = REPLY.unpack_from(data)
    if magic != MAGIC or len(data) != REPLY.size + out + err:
        raise Refused("the reply is incomplete or of another protocol")
    return code, data[REPLY.size : REPLY.size + out], data[REPLY.size + out :]


def _packed(strings: Sequence[str]) -> bytes:
    return b"".join(os.fsencode(text) + b"\0" for text in strings)


def _strings(packed: bytearray) -> list[str]:
    if packed and packed[-1]:
        raise Refused("a list of strings does not end in NUL")
    return [os.fsdecode(bytes(text)) for text in packed.split(b"\0")[:-1]]
