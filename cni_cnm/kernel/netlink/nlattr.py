"""Netlink attributes (struct nlattr): packed, and read in place in a datagram.

A number or a text that does not fit raises KernelError with EINVAL, which names the value.
"""

from __future__ import annotations

import sys
from errno import EINVAL
from struct import Struct
from struct import error as StructError  # noqa: N812 - a class

from cni_cnm.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal, TypeAlias

    Places: TypeAlias = "dict[int, tuple[int, int]]"
    """Attribute type to the begin and end of its value; of several of one type the last."""

HEADER = Struct("=HH")
_HEADER = HEADER.pack
_NUMBERS = {1: Struct("=HHBxxx"), 2: Struct("=HHHxx"), 4: Struct("=HHI"), 8: Struct("=HHQ")}
"""An attribute with a number, by the number's size in bytes."""
_U32 = _NUMBERS[4].pack
_U32_BYTES = HEADER.size + 4
_TYPE = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""


def pack(kind: int, value: bytes) -> bytes:
    length = len(value)
    packed = _HEADER(4 + length, kind) + value
    return packed + bytes(-length & 3) if length & 3 else packed


def pack_number(kind: int, value: int, size: int = 4) -> bytes:
    """An unsigned number of `size` bytes in the host's order."""
    try:
        return _U32(_U32_BYTES, kind, value) if size == 4 else _NUMBERS[size].pack(HEADER.size + size, kind, value)
    except StructError:
        raise KernelError(f"{value} is no number of {size * 8} bits", EINVAL) from None


def pack_text(kind: int, value: str) -> bytes:
    """A string that ends in NUL. Bytes that are no UTF-8 stay as they are (PEP 383)."""
    try:
        return pack(kind, value.encode(errors="surrogateescape") + b"\0")
    except UnicodeEncodeError:
        raise KernelError(f"{value!a} is no text for the kernel", EINVAL) from None


def pack_mac(kind: int, value: str) -> bytes:
    return pack(kind, octets(value))


def octets(mac: str) -> bytes:
    """Of six pairs of hexadecimal digits."""
    try:
        found = bytes.fromhex(mac.replace(":", ""))
    except ValueError:
        found = b""
    if len(found) != 6:
        raise KernelError(f"{mac!a} is no MAC", EINVAL)
    return found


def places(data: bytes, begin: int, end: int) -> Places:
    """The attributes between two offsets. An attribute that is cut off ends them."""
    found: Places = {}
    unpack = HEADER.unpack_from
    while begin + 4 <= end:
        length, kind = unpack(data, begin)
        if length < 4 or begin + length > end:
            break
        found[kind & _TYPE] = begin + 4, begin + length
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
    unpack = HEADER.unpack_from
    while begin + 4 <= end:
        length, kind = unpack(data, begin)
        if length < 4 or begin + length > end:
            break
        if kind & _TYPE == wanted:
            return begin + 4, begin + length
        begin += (length + 3) & ~3
    return None


def raw(data: bytes, place: tuple[int, int] | None) -> bytes:
    """The bytes of the value; empty if there is none."""
    return data[place[0] : place[1]] if place is not None else b""


def number(data: bytes, place: tuple[int, int] | None, order: Literal["little", "big"] = sys.byteorder) -> int:
    """The value as an unsigned integer of any size; 0 if there is none."""
    return int.from_bytes(data[place[0] : place[1]], order) if place is not None else 0


def text(data: bytes, place: tuple[int, int] | None) -> str:
    """The value as a string that ends in NUL; "" if there is none. Names of links may be no UTF-8 (PEP 383)."""
    return data[place[0] : place[1]].partition(b"\0")[0].decode(errors="surrogateescape") if place is not None else ""
