"""Questions to nf_tables by netlink, packed by hand: sent many at a time, answered by their number.

pyroute2's classes take ten times as long for the few attributes that are asked for here, on every pod.
"""

from __future__ import annotations

import socket
import struct
from _thread import allocate_lock
from errno import EINTR
from typing import TypeVar

from cni_cnm.kernel.netlink import nlattr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Answer = tuple[bytes, int, int]
    """A datagram, and where in it the attributes of a message begin and end."""

A = TypeVar("A")
T = TypeVar("T")

NESTED = 0x8000
FAMILIES = {"inet": 1, "ip": 2, "arp": 3, "netdev": 5, "bridge": 7, "ip6": 10}
_HEADER = struct.Struct("=IHHIIBBH")
"""struct nlmsghdr, struct nfgenmsg."""
_REQUEST, _DUMP, _INTERRUPTED = 0x1, 0x300, 0x10
_ERROR, _DONE = 2, 3
_NETLINK_NETFILTER = 12
_SUBSYSTEM = 0xA00
_COMMENT = 0
"""NFTNL_UDATA_SET_ELEM_COMMENT, NFTNL_UDATA_RULE_COMMENT."""
_BATCH = 64
_TIMEOUT_S = 5
_TRIES = 20
_BYTES = 65536


class Questions:
    """To the nftables of the namespace that the first one is asked in. Safe to use from many threads.

    The socket stays open. When one of netfilter's is closed, the kernel first finishes what earlier transactions have
    deleted (nft_rcv_nl_event), with the lock of all transactions held: 7 ms and more after every DEL.
    OSError where nftables cannot be asked at all.
    """

    def __init__(self) -> None:
        self._wire: socket.socket | None = None  # first, for __del__
        self._lock = allocate_lock()

    def ask(self, questions: Sequence[tuple[int, str, bytes]]) -> list[Answer | None]:
        """The one answer to each (`NFT_MSG_GET…`, family, attributes). None: there is no such thing."""
        found: list[Answer | None] = []
        with self._lock:
            for start in range(0, len(questions), _BATCH):
                found += self._asked(_ask, questions[start : start + _BATCH])
        return found

    def dump(self, kind: int, family: str, body: bytes) -> list[Answer]:
        """All answers to one question, from one consistent walk. InterruptedError if there is none for long."""
        with self._lock:
            for _ in range(_TRIES - 1):
                try:
                    return self._asked(_dump, (kind, family, body))
                except InterruptedError:
                    pass
            return self._asked(_dump, (kind, family, body))

    def _asked(self, question: Callable[[socket.socket, A], T], about: A) -> T:
        if self._wire is None:
            self._wire = _open()
        try:
            return question(self._wire, about)
        except BaseException:
            self._close()  # answers to what failed may still be queued on this one
            raise

    def _close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    __del__ = _close


def _open() -> socket.socket:
    wire = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    try:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _TIMEOUT_S, 0))
        wire.connect((0, 0))
    except BaseException:
        wire.close()
        raise
    return wire


def _ask(wire: socket.socket, questions: Sequence[tuple[int, str, bytes]]) -> list[Answer | None]:
    wire.send(b"".join(_packed(*question, _REQUEST, number) for number, question in enumerate(questions)))
    found: list[Answer | None] = [None] * len(questions)
    left = len(questions)
    while left:
        data = wire.recv(_BYTES)
        for kind, _, number, _, begin, end in messages(data):
            left -= 1
            if kind != _ERROR:
                found[number] = data, begin, end
            elif struct.unpack_from("=i", data, begin - 4)[0] == -EINTR:
                raise InterruptedError(EINTR, "the ruleset changed meanwhile")
    return found


def _dump(wire: socket.socket, question: tuple[int, str, bytes]) -> list[Answer]:
    wire.send(_packed(*question, _REQUEST | _DUMP, 1))
    found: list[Answer] = []
    while True:
        data = wire.recv(_BYTES)
        for kind, flags, _, _, begin, end in messages(data):
            if flags & _INTERRUPTED:
                raise InterruptedError(EINTR, f"the ruleset was changed {_TRIES} times while it was read")
            if kind in (_DONE, _ERROR):
                return found
            found.append((data, begin, end))


def _packed(kind: int, family: str, body: bytes, flags: int, number: int) -> bytes:
    size = _HEADER.size + len(body)
    return _HEADER.pack(size, _SUBSYSTEM + kind, flags, number, 0, FAMILIES[family], 0, 0) + body


def messages(data: bytes) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Of each message of a datagram: type, flags, number, family, begin and end of its attributes."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, number, _, family, _, _ = _HEADER.unpack_from(data, offset)
        yield kind, flags, number, family, offset + _HEADER.size, offset + length
        offset += (max(length, _HEADER.size) + 3) & ~3


def text(kind: int, value: str) -> bytes:
    return nlattr.pack(kind, value.encode() + b"\0")


def comment(raw: bytes) -> str:
    """Of libnftables' user data of an element or a rule: type, length and value, each of the first two one byte."""
    while len(raw) > 2:
        kind, length = raw[0], raw[1]
        if kind == _COMMENT:
            return raw[2 : 2 + length].rstrip(b"\0").decode(errors="replace")
        raw = raw[2 + length :]
    return ""
