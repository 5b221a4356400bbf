"""Attributes of a netlink message that nobody reads, left out before pyroute2 decodes the rest.

A link carries some fifty attributes and a bridge fifty more inside one of them; a `Link` needs ten. pyroute2 decodes,
this only copies attributes whole: an answer means the same with and without it (tests/contract).
"""

from __future__ import annotations

from struct import Struct
from typing import TypeAlias

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

Wanted: TypeAlias = "Mapping[int, Wanted | None]"
"""Attribute type to what is wanted inside it; None: all of it."""

_HEADER = Struct("=IHHII")
_ATTRIBUTE = Struct("=HH")
_TYPE = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""


def message(data: bytes, offset: int, fixed: int, wanted: Wanted) -> bytes:
    """The message at `offset` with the wanted attributes only; `fixed` is the length of its family's own header."""
    length, *rest = _HEADER.unpack_from(data, offset)
    start = offset + _HEADER.size + fixed
    kept = _attributes(data, start, offset + length, wanted)
    return _HEADER.pack(_HEADER.size + fixed + len(kept), *rest) + data[offset + _HEADER.size : start] + kept


def _attributes(data: bytes, at: int, end: int, wanted: Wanted) -> bytes:
    kept = []
    while at + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        padded = (length + 3) & ~3
        if kind & _TYPE in wanted:
            inside = wanted[kind & _TYPE]
            if inside is None:
                kept.append(data[at : at + length].ljust(padded, b"\0"))
            else:
                content = _attributes(data, at + _ATTRIBUTE.size, at + length, inside)
                kept.append(_ATTRIBUTE.pack(_ATTRIBUTE.size + len(content), kind) + content)
        at += padded
    return b"".join(kept)
