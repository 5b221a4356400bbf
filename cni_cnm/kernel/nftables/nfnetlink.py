"""Questions to nf_tables by netlink, packed by hand: sent many at a time, answered by sequence number."""

from __future__ import annotations

import _socket
import os
import struct
from _thread import allocate_lock
from errno import EINTR, EPERM

from cni_cnm.bases import TypeVar
from cni_cnm.kernel.netlink import nlattr
from cni_cnm.kernel.netlink.header import (
    ACK,
    DONE,
    DUMP,
    ERROR,
    HEADER,
    INTERRUPTED,
    NETLINK_NETFILTER,
    RECEIVE_BYTES,
    REQUEST,
    messages,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Question = tuple[int, str, bytes]
    """Type (`NFT_MSG_GET…`), family and attributes of a request."""
    Change = tuple[int, str, int, bytes]
    """Type (`NFT_MSG_NEW…`, `NFT_MSG_DEL…`), family, flags and attributes of a request."""
    Answer = tuple[bytes, int, int]
    """A datagram, and where in it the attributes of a message begin and end."""

A = TypeVar("A")
T = TypeVar("T")

NESTED = 0x8000
FAMILIES = {"unspec": 0, "inet": 1, "ip": 2, "arp": 3, "netdev": 5, "bridge": 7, "ip6": 10}
_NAMES = {number: name for name, number in FAMILIES.items()}
_NFGENMSG = struct.Struct("=BBH")
"""Family, version, resource id."""
_ATTRIBUTES = HEADER.size + _NFGENMSG.size
"""Offset of a message's first attribute."""
_ERRNO = struct.Struct("=i")
_SUBSYSTEM = 0xA00
"""NFNL_SUBSYS_NFTABLES."""
_BATCH_BEGIN, _BATCH_END, _RESOURCE = 0x10, 0x11, _socket.htons(_SUBSYSTEM >> 8)
_GET_GENERATION, _GENERATION = 16, 1
"""NFT_MSG_GETGEN; NFTA_GEN_ID and NFNL_BATCH_GENID."""
_COMMENT = 0
"""NFTNL_UDATA_SET_ELEM_COMMENT, NFTNL_UDATA_RULE_COMMENT."""
_NOT_ABSENT = {EINTR: "the ruleset was changed meanwhile", EPERM: os.strerror(EPERM)}
"""Refusals that do not say that there is no such object. EPERM answers all questions that were sent together."""
_QUESTIONS_MAX = 64
"""Sent at once: their answers fit the receive buffer."""
_SEND_BYTES = 64 * 1024
"""Less than the least default of net.core.wmem_default."""
_SO_SNDBUFFORCE = 32
_TIMEOUT_S = 5
_TRIES = 20


class Questions:
    """To the nftables of the namespace that the first question is asked in. Safe to use from many threads.

    The socket stays open. When a netfilter socket is closed, the kernel first finishes what earlier transactions have
    deleted (nft_rcv_nl_event) and holds the lock of all transactions: 7 ms and more after every DEL. OSError where
    nftables cannot be asked.
    """

    def __init__(self) -> None:
        self._socket: _socket.socket | None = None  # first, for __del__
        self._lock = allocate_lock()
        self.sets: dict[tuple[str, str], Any] = {}
        """By table and name, as `nft_elements.sets` read them (SetTypes). Forgotten when a table is another
        one, when a script has run, and when a request has failed."""
        self.tables: dict[str, int] = {}
        """The tables' handles, as `nft_handles.handles` read them."""

    def ask(self, questions: Sequence[Question]) -> list[Answer | None]:
        """The answer to each question; None if there is no such object."""
        found: list[Answer | None] = []
        with self._lock:
            for start in range(0, len(questions), _QUESTIONS_MAX):
                found += self._asked(_ask, questions[start : start + _QUESTIONS_MAX])
        return found

    def dump(self, kind: int, family: str, body: bytes) -> list[Answer]:
        """All answers to one question, from one consistent walk. InterruptedError if the ruleset changes each time."""
        with self._lock:
            for _ in range(_TRIES - 1):
                try:
                    return self._asked(_dump, (kind, family, body))
                except InterruptedError:
                    pass
            return self._asked(_dump, (kind, family, body))

    def generation(self) -> int:
        """The number of the ruleset, which every change by any program raises. Never 0, except without nf_tables."""
        (answer,) = self.ask([(_GET_GENERATION, "unspec", b"")])
        return nlattr.number(answer[0], nlattr.places(*answer).get(_GENERATION), "big") if answer else 0

    def commit(self, changes: Sequence[Change], generation: int = 0) -> None:
        """Make all changes or none. OSError with the kernel's errno.

        ERESTART if the ruleset is not of that `generation` any more; 0: whatever it is of.
        """
        with self._lock:
            self._asked(_commit, (changes, generation))

    def _asked(self, ask: Callable[[_socket.socket, A], T], about: A) -> T:
        if self._socket is None:
            self._socket = _open()
        try:
            return ask(self._socket, about)
        except BaseException:
            self.close()  # answers to the failed question may still be queued in it
            raise

    def close(self) -> None:
        self.sets.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    __del__ = close


def _open() -> _socket.socket:
    opened = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    try:
        opened.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, struct.pack("ll", _TIMEOUT_S, 0))
        opened.connect((0, 0))
    except BaseException:
        opened.close()
        raise
    return opened


def _ask(sock: _socket.socket, questions: Sequence[Question]) -> list[Answer | None]:
    sock.send(b"".join(_packed(*question, REQUEST, number) for number, question in enumerate(questions)))
    found: list[Answer | None] = [None] * len(questions)
    left = len(questions)
    while left:
        data = sock.recv(RECEIVE_BYTES)
        for offset, end, kind, _, number in messages(data):
            left -= 1
            if kind != ERROR:
                found[number] = data, offset + _ATTRIBUTES, end
            elif (refused := -_ERRNO.unpack_from(data, offset + HEADER.size)[0]) in _NOT_ABSENT:
                raise OSError(refused, _NOT_ABSENT[refused])
    return found


def _dump(sock: _socket.socket, question: Question) -> list[Answer]:
    sock.send(_packed(*question, REQUEST | DUMP, 1))
    found: list[Answer] = []
    while True:
        data = sock.recv(RECEIVE_BYTES)
        for offset, end, kind, flags, _ in messages(data):
            if flags & INTERRUPTED:
                raise InterruptedError(EINTR, f"the ruleset was changed {_TRIES} times while it was read")
            if kind == ERROR and -_ERRNO.unpack_from(data, offset + HEADER.size)[0] == EPERM:
                raise PermissionError(EPERM, _NOT_ABSENT[EPERM])
            if kind in (DONE, ERROR):  # the table is absent, or the kernel has no such objects
                return found
            found.append((data, offset + _ATTRIBUTES, end))


def _commit(sock: _socket.socket, batch: tuple[Sequence[Change], int]) -> None:
    """Only the last change is acknowledged: answers come in order, so every refusal comes before that."""
    changes, generation = batch
    based = nlattr.pack(_GENERATION, generation.to_bytes(4, "big")) if generation else b""
    parts = [_frame(_BATCH_BEGIN, based)]
    for number, (kind, family, flags, body) in enumerate(changes, 1):
        acknowledged = ACK if number == len(changes) else 0
        parts.append(_packed(kind, family, body, REQUEST | flags | acknowledged, number))
    batch_bytes = b"".join((*parts, _frame(_BATCH_END, b"")))
    if len(batch_bytes) > _SEND_BYTES:  # a thousand elements and more: what is sent at once must fit the buffer
        sock.setsockopt(_socket.SOL_SOCKET, _SO_SNDBUFFORCE, len(batch_bytes))
    sock.send(batch_bytes)
    refused = 0
    while True:
        data = sock.recv(RECEIVE_BYTES)
        for offset, _, kind, _, number in messages(data):
            if kind != ERROR:
                continue
            refused = refused or -_ERRNO.unpack_from(data, offset + HEADER.size)[0]
            if number not in (0, len(changes)):  # 0 is the batch itself
                continue
            if refused:
                raise OSError(refused, os.strerror(refused))
            return


def _frame(kind: int, body: bytes) -> bytes:
    head = HEADER.pack(_ATTRIBUTES + len(body), kind, REQUEST, 0, 0)
    return head + _NFGENMSG.pack(0, 0, _RESOURCE) + body


def _packed(kind: int, family: str, body: bytes, flags: int, number: int) -> bytes:
    head = HEADER.pack(_ATTRIBUTES + len(body), _SUBSYSTEM + kind, flags, number, 0)
    return head + _NFGENMSG.pack(FAMILIES[family], 0, 0) + body


def nft_messages(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Of each message of a datagram: type (`NFT_MSG_…`), family, begin and end of its attributes."""
    for offset, end, kind, _, _ in messages(data):
        yield kind - _SUBSYSTEM, data[offset + HEADER.size], offset + _ATTRIBUTES, end


def family(data: bytes, begin: int) -> str:
    """Of the message whose attributes begin there."""
    return _NAMES.get(data[begin - _NFGENMSG.size], "?")


def text(kind: int, value: str) -> bytes:
    return nlattr.pack(kind, value.encode(errors="surrogateescape") + b"\0")


def packed_comment(text: str) -> bytes:
    """A comment as libnftables' user data; `comment` is the reverse."""
    value = text.encode(errors="surrogateescape") + b"\0"
    return bytes((_COMMENT, len(value))) + value


def comment(raw: bytes) -> str:
    """The comment in libnftables' user data of an element or a rule: type, length (one byte each) and value."""
    while len(raw) > 2:
        kind, length = raw[0], raw[1]
        if kind == _COMMENT:
            return raw[2 : 2 + length].rstrip(b"\0").decode(errors="replace")
        raw = raw[2 + length :]
    return ""
