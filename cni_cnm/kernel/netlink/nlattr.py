"""Netlink attributes (struct nlattr), packed and read in place: for the messages that every pod needs.

pyroute2 creates an object for each attribute (20 µs). A link has fifty of them, a bridge fifty more. Where a few are
needed often, they are read from the datagram; pyroute2 decodes everything else.
"""

from __future__ import annotations

import sys
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal, TypeAlias

    Places: TypeAlias = "dict[int, tuple[int, int]]"
    """Attribute type to the begin and end of its value; of several of one type the last."""

HEADER = Struct("=HH")
_TYPE = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""


def pack(kind: int, value: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(value), kind) + value + bytes(-len(value) % 4)


def places(data: bytes, begin: int, end: int) -> Places:
    """The attributes between two offsets. An attribute that is cut off ends them."""
    found: Places = {}
    unpack, size = HEADER.unpack_from, HEADER.size
    while begin + size <= end:
        length, kind = unpack(data, begin)
        if length < size or begin + length > end:
            break
        found[kind & _TYPE] = begin + size, begin + length
        begin += (length + 3) & ~3
    return found


def each(data: bytes, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Type, begin and end of every attribute, in order: for lists, whose attributes are all of one type."""
    while begin + HEADER.size <= end:
        length, kind = HEADER.unpack_from(data, begin)
        if length < HEADER.size or begin + length > end:
            return
        yield kind & _TYPE, begin + HEADER.size, begin + length
        begin += (length + 3) & ~3


def find(data: bytes, begin: int, end: int, wanted: int) -> tuple[int, int] | None:
    """The first attribute of one type, for a long list of which nothing else is needed."""
    unpack, size = HEADER.unpack_from, HEADER.size
    while begin + size <= end:
        length, kind = unpack(data, begin)
        if length < size or begin + length > end:
            break
        if kind & _TYPE == wanted:
            return begin + size, begin + length
        begin += (length + 3) & ~3
    return None


def raw(data: bytes, place: tuple[int, int] | None) -> bytes:
    """The bytes of the value; empty if there is none."""
    return data[place[0] : place[1]] if place is not None else b""


def number(data: bytes, place: tuple[int, int] | None, order: Literal["little", "big"] = sys.byteorder) -> int:
    """The value as an unsigned integer of any size; 0 if there is none."""
    return int.from_bytes(raw(data, place), order)


def text(data: bytes, place: tuple[int, int] | None) -> str:
    """The value as a string that ends in NUL; "" if there is none. Names of links may be no UTF-8 (PEP 383)."""
    return raw(data, place).partition(b"\0")[0].decode(errors="surrogateescape")
