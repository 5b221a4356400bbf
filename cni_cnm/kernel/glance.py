"""A glance at nftables: are these tables and chains still what they were? One send, 0.1 ms for all.

A table that was deleted and made again has another handle; a chain that was flushed has no use. That is all that is
read, so the few attributes are packed here: with pyroute2's classes the same takes ten times as long, on every pod.

The socket stays open. When one of netfilter's is closed, the kernel first finishes what earlier transactions have
deleted (nft_rcv_nl_event), with the lock of all transactions held: 7 ms and more after every DEL.
"""

from __future__ import annotations

import socket
import struct
from _thread import allocate_lock
from errno import EINTR
from typing import TypeVar

from cni_cnm.kernel import Seen
from cni_cnm.kernel.attributes import HEADER, number, places, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

A = TypeVar("A")
T = TypeVar("T")

_NETLINK_NETFILTER = 12
_GET_TABLE, _GET_CHAIN, _GET_RULE = 0xA01, 0xA04, 0xA07
"""NFNL_SUBSYS_NFTABLES with NFT_MSG_GETTABLE, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE."""
_ANSWERS = {0xA00: "table", 0xA03: "chain"}
_ERROR, _DONE = 2, 3
_REQUEST, _DUMP, _INTERRUPTED = 0x1, 0x300, 0x10
_FAMILIES = {"inet": 1, "ip": 2, "arp": 3, "netdev": 5, "bridge": 7, "ip6": 10}
_HEADER = struct.Struct("=IHHIIBBH")
"""struct nlmsghdr, struct nfgenmsg."""
_TABLE_HANDLE, _RULE_CHAIN = 4, 2
_CHAIN_HANDLE, _CHAIN_POLICY, _CHAIN_USE = 2, 5, 6
_BATCH = 64
_TIMEOUT_S = 5
_TRIES = 20
_BYTES = 65536


class Glance:
    """At the nftables of the namespace that the first question is asked in. Safe to use from many threads."""

    def __init__(self) -> None:
        self._wire: socket.socket | None = None  # first, for __del__
        self._lock = allocate_lock()

    def seen(self, names: Sequence[str]) -> list[Seen | None]:
        """Of each `FAMILY TABLE` or `FAMILY TABLE CHAIN` what there is; None: nothing.

        OSError where nftables cannot be asked at all.
        """
        found: list[Seen | None] = []
        with self._lock:
            for start in range(0, len(names), _BATCH):
                found += self._asked(_ask, names[start : start + _BATCH])
        return found

    def rules(self, table: str) -> dict[str, int]:
        """How many rules each chain of `FAMILY TABLE` has. OSError (EINTR) if it changes all the time."""
        with self._lock:
            for _ in range(_TRIES - 1):
                try:
                    return self._asked(_rules, table)
                except InterruptedError:
                    pass
            return self._asked(_rules, table)

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


def _rules(wire: socket.socket, table: str) -> dict[str, int]:
    family, name = table.split(" ")
    body = _text(1, name)
    wire.send(_HEADER.pack(_HEADER.size + len(body), _GET_RULE, _REQUEST | _DUMP, 1, 0, _FAMILIES[family], 0, 0) + body)
    found: dict[str, int] = {}
    while True:
        data = wire.recv(_BYTES)
        offset = 0
        while offset + 16 <= len(data):
            length, kind, flags, _ = struct.unpack_from("=IHHI", data, offset)
            if flags & _INTERRUPTED:
                raise InterruptedError(EINTR, f"the rules of {table} were changed {_TRIES} times while they were read")
            if kind in (_DONE, _ERROR):
                return found
            chain = text(data, places(data, offset + _HEADER.size, offset + length).get(_RULE_CHAIN))
            found[chain] = found.get(chain, 0) + 1
            offset += (length + 3) & ~3


def _ask(wire: socket.socket, names: Sequence[str]) -> list[Seen | None]:
    wire.send(b"".join(_request(name, number) for number, name in enumerate(names)))
    found: list[Seen | None] = [None] * len(names)
    left = len(names)
    while left:
        data = wire.recv(_BYTES)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, _, number = struct.unpack_from("=IHHI", data, offset)
            if kind in _ANSWERS and number < len(found):
                found[number] = _read(data, offset, length, _ANSWERS[kind])
                left -= 1
            elif kind == _ERROR:
                left -= 1
                code = -struct.unpack_from("=i", data, offset + 16)[0]
                if code == EINTR:
                    raise InterruptedError(code, "the ruleset changed meanwhile")
            offset += (length + 3) & ~3
    return found


def _request(name: str, number: int) -> bytes:
    family, table, *chain = name.split(" ")
    body = _text(1, table) + (_text(3, chain[0]) if chain else b"")
    kind = _GET_CHAIN if chain else _GET_TABLE
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST, number, 0, _FAMILIES[family], 0, 0) + body


def _text(kind: int, value: str) -> bytes:
    raw = value.encode() + b"\0"
    return HEADER.pack(HEADER.size + len(raw), kind) + raw + b"\0" * (-len(raw) % 4)


def _read(data: bytes, offset: int, length: int, what: str) -> Seen:
    found = places(data, offset + _HEADER.size, offset + length)
    if what == "table":
        return Seen(number(data, found.get(_TABLE_HANDLE), "big"), 0, -1)
    policy = number(data, found[_CHAIN_POLICY], "big") if _CHAIN_POLICY in found else -1
    handle, use = (number(data, found.get(kind), "big") for kind in (_CHAIN_HANDLE, _CHAIN_USE))
    return Seen(handle, use, policy)
