"""Finds elements of nftables sets and maps by their keys: 20 µs each, however large the set is.

nft's own `get element` lists the whole table after any change, and stops at the first absent element. Here the kernel
is asked for the types of each set, which tell how a key's text becomes bytes, and then for each element. A range is
asked for by its first number, and found only if its last one is the same.
"""

from __future__ import annotations

import struct
from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from functools import lru_cache
from sys import byteorder

from cni_cnm.kernel.contract.element import Element, link_name
from cni_cnm.kernel.netlink.nlattr import each, number, pack, places, raw, text
from cni_cnm.kernel.nftables import nfnetlink
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cni_cnm.kernel.netlink.nlattr import Places
    from cni_cnm.kernel.nftables.nfnetlink import Questions

_GET_SET, _GET_ELEMENT = 10, 13
"""NFT_MSG_GETSET, NFT_MSG_GETSETELEM."""
_SET_FLAGS, _SET_KEY_TYPE, _SET_DATA_TYPE = 3, 4, 6
_VERDICT_TYPE = 0xFFFFFF00
_ELEMENTS = 3
_KEY, _DATA, _USERDATA, _KEY_END = 1, 2, 6, 10
_VALUE, _VERDICT = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
_VERDICTS = {0: "drop", 1: "accept", -3: "jump", -4: "goto", -5: "return"}
_CODES = {name: code for code, name in _VERDICTS.items()}
_TYPE_BITS = 6
_HEADERS = struct.Struct("=HHHH").pack


class Type(NamedTuple):
    """A type of nft (its `enum datatypes`): size in bytes, text to bytes, bytes to text."""

    size: int
    pack: Callable[[str], bytes]
    spell: Callable[[bytes], str]


class SetTypes(NamedTuple):
    """Types of a set's key and of its data; () for a verdict, for no data, and for types that are not used here."""

    key: tuple[Type, ...] = ()
    value: tuple[Type, ...] = ()
    verdicts: bool = False
    flags: int = 0
    """NFT_SET_…"""


def _pack_link(text: str) -> bytes:
    return struct.pack("16s", link_name(text).encode(errors="surrogateescape"))


def _spell_link(raw: bytes) -> str:
    name = raw.rstrip(b"\0").decode(errors="surrogateescape")
    return f'"{name}"'


PORT = Type(2, lambda text: int(text).to_bytes(2, "big"), lambda raw: str(int.from_bytes(raw, "big")))
_TYPES = {
    7: Type(4, lru_cache(64)(lambda text: inet_pton(AF_INET, text)), lambda raw: inet_ntop(AF_INET, raw)),
    8: Type(16, lru_cache(64)(lambda text: inet_pton(AF_INET6, text)), lambda raw: inet_ntop(AF_INET6, raw)),
    9: Type(6, lambda text: bytes.fromhex(text.replace(":", "")), lambda raw: raw.hex(":")),
    12: Type(1, lru_cache(16)(lambda text: int(text).to_bytes(1, "big")), lambda raw: str(raw[0])),
    13: PORT,
    35: Type(4, lambda text: int(text).to_bytes(4, byteorder), lambda raw: str(int.from_bytes(raw, byteorder))),
    41: Type(16, _pack_link, _spell_link),
}
"""ipv4_addr, ipv6_addr, ether_addr, inet_proto, inet_service, devgroup, ifname."""


def find(questions: Questions, elements: Sequence[Element]) -> list[Element | None]:
    """For each key the element in the kernel, with the value and comment it has there; None if absent."""
    types = types_of(questions, elements)
    asked = {}
    for index, element in enumerate(elements):
        if key := bounds(element.key, types.get((element.table, element.set), SetTypes()).key):
            asked[index] = key
    answers = questions.ask([_question(elements[index], *key) for index, key in asked.items()])
    found: list[Element | None] = [None] * len(elements)
    for (index, key), answer in zip(asked.items(), answers, strict=True):
        if answer:
            element = elements[index]
            found[index] = _read(element, key, types[element.table, element.set].value, *answer)
    return found


def types_of(questions: Questions, elements: Sequence[Element]) -> dict[tuple[str, str], SetTypes]:
    """Of the sets of these elements, by table and name. An absent one is left out."""
    return sets(questions, list(dict.fromkeys((element.table, element.set) for element in elements)))


def sets(questions: Questions, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], SetTypes]:
    """Of each set, by table and name, what it is made of. An absent one is left out.

    Each is asked for once: a set is made again only by a script, or with its table (see `Questions.sets`).
    """
    known: dict[tuple[str, str], SetTypes] = questions.sets
    found = {place: known[place] for place in places if place in known}
    if asked := [place for place in places if place not in found]:
        answers = questions.ask([(_GET_SET, *names(*place)) for place in asked])
        read = {place: set_types(*answer) for place, answer in zip(asked, answers, strict=True) if answer}
        known.update(read)
        found.update(read)
    return found


def names(table: str, name: str) -> tuple[str, bytes]:
    family, table = table.split(" ")
    return family, nfnetlink.text(1, table) + nfnetlink.text(2, name)


def set_types(data: bytes, offset: int, end: int) -> SetTypes:
    found = places(data, offset, end)
    kinds = (_SET_KEY_TYPE, _SET_DATA_TYPE, _SET_FLAGS)
    key, value, flags = (number(data, found.get(kind), "big") for kind in kinds)
    return SetTypes(_concatenated(key), _concatenated(value), value == _VERDICT_TYPE, flags)


def _concatenated(number: int) -> tuple[Type, ...]:
    parts = []
    while number:
        if (kind := _TYPES.get(number & (1 << _TYPE_BITS) - 1)) is None:
            return ()
        parts.append(kind)
        number >>= _TYPE_BITS
    return tuple(reversed(parts))


def bounds(key: str, types: Sequence[Type]) -> tuple[bytes, bytes] | None:
    """The first and the last key of an element; None if its text is no key of the set."""
    words = key.split(" . ")
    if not types or len(words) != len(types):
        return None
    try:
        if "-" not in key and "/" not in key:
            only = _pack(words, types)
            return only, only
        ends = [_ends(word, kind) for word, kind in zip(words, types, strict=True)]
        return _pack([end[0] for end in ends], types), _pack([end[1] for end in ends], types)
    except (ValueError, OverflowError, OSError):
        return None


def _ends(word: str, kind: Type) -> tuple[str, str]:
    """The first and the last value that a word stands for: a port or several, an address or a network."""
    if kind.size == 2:
        first, _, last = word.partition("-")
        return first, last or first
    address, slash, length = word.partition("/")
    if not slash:
        return word, word
    hosts = (1 << kind.size * 8 - int(length)) - 1
    end = int.from_bytes(kind.pack(address), "big") | hosts
    return address, kind.spell(end.to_bytes(kind.size, "big"))


def _pack(words: Sequence[str], types: Sequence[Type]) -> bytes:
    """The bytes of a key. Fields of a concatenation begin at multiples of four bytes."""
    if len(words) == 1:
        return types[0].pack(words[0])
    data = b""
    for word, kind in zip(words, types, strict=True):
        field = kind.pack(word)
        data += field if len(field) & 3 == 0 else field + bytes(-len(field) % 4)
    return data


def packed_data(text: str, types: Sequence[Type]) -> bytes:
    """The data of a map's element: a verdict, or what `types` say. LookupError if it is none."""
    if types:
        words = text.split(" . ")
        if len(words) != len(types):
            raise LookupError(text)
        return nested_value(_DATA, _pack(words, types))
    verdict, _, chain = text.partition(" ")
    code = pack(_VERDICT_CODE, _CODES[verdict].to_bytes(4, "big", signed=True))
    return _nested(_DATA, _nested(_VERDICT, code + (nfnetlink.text(_VERDICT_CHAIN, chain) if chain else b"")))


def nested_value(kind: int, value: bytes) -> bytes:
    """The attribute `kind` with the value as its only attribute: two headers at once, for thousands of elements."""
    length, padding = len(value), -len(value) & 3
    return _HEADERS(8 + length + padding, nfnetlink.NESTED | kind, 4 + length, _VALUE) + value + bytes(padding)


def _question(element: Element, first: bytes, last: bytes) -> tuple[int, str, bytes]:
    family, named = names(element.table, element.set)
    key = nested_value(_KEY, first)
    if first != last:
        key += nested_value(_KEY_END, last)
    return _GET_ELEMENT, family, named + _nested(_ELEMENTS, _nested(1, key))


def _nested(kind: int, value: bytes) -> bytes:
    return pack(nfnetlink.NESTED | kind, value)


def _read(
    asked: Element, key: tuple[bytes, bytes], types: Sequence[Type], data: bytes, offset: int, end: int
) -> Element | None:
    found = inside(data, inside(data, places(data, offset, end).get(_ELEMENTS)).get(1))
    first = raw(data, inside(data, found.get(_KEY)).get(_VALUE))
    last = raw(data, inside(data, found[_KEY_END]).get(_VALUE)) if _KEY_END in found else first
    if (first, last) != key:
        return None  # a range with another begin or end
    comment = nfnetlink.comment(raw(data, found.get(_USERDATA)))
    return asked._replace(value=value_of(data, found.get(_DATA), types), comment=comment)


def inside(data: bytes, place: tuple[int, int] | None) -> Places:
    return places(data, *place) if place is not None else {}


def value_of(data: bytes, place: tuple[int, int] | None, types: Sequence[Type]) -> str:
    """The text of an element's data: a verdict, or what `types` say; "" for none."""
    found = inside(data, place)
    if _VERDICT in found:
        parts = inside(data, found[_VERDICT])
        code = int.from_bytes(raw(data, parts.get(_VERDICT_CODE)), "big", signed=True)
        return f"{_VERDICTS.get(code, '?')} {text(data, parts.get(_VERDICT_CHAIN))}".strip()
    value = raw(data, found.get(_VALUE))
    return " . ".join(kind.spell(field) for kind, field in _fields(value, types)) if value else ""


def spelled_key(first: bytes, last: bytes, types: Sequence[Type]) -> str:
    """The text of a key, as nft has it: ranges of ports by two numbers, of addresses by a prefix if they are one."""
    if first == last:
        return " . ".join(kind.spell(field) for kind, field in _fields(first, types))
    both = zip(_fields(first, types), _fields(last, types), strict=True)
    return " . ".join(_spelled(kind, low, high) for (kind, low), (_, high) in both)


def _spelled(kind: Type, low: bytes, high: bytes) -> str:
    if low == high:
        return kind.spell(low)
    hosts = int.from_bytes(low, "big") ^ int.from_bytes(high, "big")
    is_prefix = kind.size > 2 and hosts & (hosts + 1) == 0 and int.from_bytes(low, "big") & hosts == 0
    if is_prefix:
        return f"{kind.spell(low)}/{kind.size * 8 - hosts.bit_length()}"
    return f"{kind.spell(low)}-{kind.spell(high)}"


def _fields(value: bytes, types: Sequence[Type]) -> Iterator[tuple[Type, bytes]]:
    """The parts of a key or a value. They begin at multiples of four bytes."""
    for kind in types:
        yield kind, value[: kind.size]
        value = value[(kind.size + 3) & ~3 :]


def listed(data: bytes, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the attributes of each element are, in a message whose own attributes are between two offsets."""
    for _, first, last in each(data, *places(data, begin, end).get(_ELEMENTS, (0, 0))):
        yield first, last
