"""Netlink attributes, packed and read where they are: for the few messages that every pod's way is full of.

pyroute2 makes an object of each attribute, 20 µs one, and a link has fifty, a bridge fifty more inside one of
them. Where only a few are wanted, and often, they are picked out of the datagram. All else pyroute2 decodes.
"""

from __future__ import annotations

import sys
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    Places: TypeAlias = "dict[int, tuple[int, int]]"
    """Attribute type to where its value begins and ends; of several of a type the last."""

HEADER = Struct("=HH")
_TYPE = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""


def pack(kind: int, value: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(value), kind) + value + bytes(-len(value) % 4)


def places(data: bytes, begin: int, end: int) -> Places:
    """The attributes between two places of a datagram. What is cut off, or shorter than its header, ends them."""
    found: Places = {}
    unpack, size = HEADER.unpack_from, HEADER.size
    while begin + size <= end:
        length, kind = unpack(data, begin)
        if length < size or begin + length > end:
            break
        found[kind & _TYPE] = begin + size, begin + length
        begin += (length + 3) & ~3
    return found


def raw(data: bytes, place: tuple[int, int] | None) -> bytes:
    """The value as it is; empty if there is none."""
    return data[place[0] : place[1]] if place is not None else b""


def number(data: bytes, place: tuple[int, int] | None, order: Literal["little", "big"] = sys.byteorder) -> int:
    """An unsigned integer of any size; 0 if there is none."""
    return int.from_bytes(raw(data, place), order)


def text(data: bytes, place: tuple[int, int] | None) -> str:
    """A string that ends in NUL; "" if there is none."""
    return raw(data, place).partition(b"\0")[0].decode(errors="replace")
