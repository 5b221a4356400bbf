"""Encodes requests. Attributes that pyroute2 has encoded before are taken from a cache.

pyroute2 creates an object for each attribute and takes 30 to 60 µs for it, a quarter of a pod's time. Most attributes
repeat: the bridge's name, `eth0`, flags, the default route. The cache has their bytes by message class, family, name
and value.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_pton
from struct import Struct
from typing import Any

from cni_cnm.kernel.netlink.header import HEADER
from cni_cnm.kernel.netlink.messages import Message, ifaddrmsg, ifinfmsg, rtmsg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

_ATTRIBUTE = Struct("=HH")
_NUMBER = Struct("=I")
_MAC = Struct("6B")
_CACHE_MAX = 1024
"""Entries, together a third of a MiB. Names and addresses of pods fill the cache; then it is emptied."""


class Tail(dict[str, Any]):
    """Attributes of the message's own kind at the end of a nested one (a veth's peer), as `{"attrs": […]}`.

    Each of them has its own place in the cache; the nested attribute around them is cached without them.
    """


class _Frame:
    """A nested attribute without its tail: its bytes, and the offsets of the lengths that include the tail."""

    def __init__(self, data: bytes, depth: int) -> None:
        self._data = data
        self._places = [0]
        while len(self._places) < depth:
            at = self._places[-1] + _ATTRIBUTE.size
            while (beyond := at + (_ATTRIBUTE.unpack_from(data, at)[0] + 3 & ~3)) < len(data):
                at = beyond
            self._places.append(at)

    def around(self, tail: bytes) -> bytes:
        result = bytearray(self._data)
        for at in self._places:
            length, kind = _ATTRIBUTE.unpack_from(result, at)
            _ATTRIBUTE.pack_into(result, at, length + len(tail), kind)
        return bytes(result + tail)


def _fixed(cls: Any) -> tuple[tuple[str, ...], Struct]:
    """Names of the header fields of a message class that have a value, and the structure of all of them."""
    names = tuple(name for name, form in cls.fields if form != "x")
    return names, Struct("=" + "".join(form for _, form in cls.fields))


_FIXED = {cls: _fixed(cls) for cls in (ifinfmsg, ifaddrmsg, rtmsg)}
"""Classes whose attributes depend on nothing else in the message but the family: each is cached by itself."""
_cached_whole: set[Any] = set()
"""Classes whose attributes depend on each other: those of a message are cached as one."""

_cache: dict[Hashable, bytes] = {}
_frames: dict[Hashable, _Frame] = {}
_tables: dict[Any, Mapping[str, tuple[int, str]]] = {}


def cached_whole(cls: Any) -> Any:
    """A decorator for classes whose attributes depend on each other."""
    _FIXED[cls] = _fixed(cls)
    _cached_whole.add(cls)
    return cls


def request(message: Message, kind: int, flags: int, sequence: int) -> bytes:
    """The bytes of a message. ValueError, struct.error or OSError for a value that cannot be encoded."""
    cls = type(message)
    if cls not in _FIXED:
        message["header"] = {"type": kind, "flags": flags, "sequence_number": sequence, "pid": 0}
        message.encode()
        return bytes(message.data)
    names, fixed = _FIXED[cls]
    # dict.get, because the message's own get() and [] search its attributes first.
    head = fixed.pack(*[dict.get(message, name) or 0 for name in names])
    attributes = dict.__getitem__(message, "attrs")
    family = dict.get(message, "family") or 0
    body = _together(cls, attributes) if cls in _cached_whole else _attributes(cls, family, attributes)
    return HEADER.pack(HEADER.size + len(head) + len(body), kind, flags, sequence, 0) + head + body


def _together(cls: Any, attributes: Sequence[tuple[str, Any]]) -> bytes:
    return _cached((cls, _key(attributes)), lambda: _encode_all(cls, 0, attributes))


def _attributes(cls: Any, family: int, attributes: Sequence[tuple[str, Any]]) -> bytes:
    return b"".join([_attribute(cls, family, name, value) for name, value in attributes])


def _attribute(cls: Any, family: int, name: str, value: Any) -> bytes:
    nested = isinstance(value, dict)
    if nested and (split := _split_tail(value)) is not None:
        shell, tail, depth = split
        key = cls, family, name, _key(shell)
        frame = _frames.get(key)
        if frame is None:
            frame = _frames[key] = _Frame(_encode(cls, family, name, shell), depth)
        return frame.around(_attributes(cls, 0, tail))
    key = cls, family, name, _key(value) if nested or isinstance(value, list) else value
    return _cached(key, lambda: _encode(cls, family, name, value))


def _cached(key: Hashable, make: Callable[[], bytes]) -> bytes:
    data = _cache.get(key)
    if data is None:
        if len(_cache) >= _CACHE_MAX:
            _cache.clear()
        data = _cache[key] = make()
    return data


def _encode(cls: Any, family: int, name: str, value: Any) -> bytes:
    number, kind = _kinds(cls).get(name, (0, ""))
    if kind in _PLAIN:
        data = _PLAIN[kind](value)
        return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), number) + data + bytes(-len(data) % 4)
    return _encode_all(cls, family, [(name, value)])


def _encode_all(cls: Any, family: int, attributes: Sequence[tuple[str, Any]]) -> bytes:
    alone = cls()
    alone["family"] = family
    alone["attrs"] = list(attributes)
    alone.encode()
    return bytes(alone.data[HEADER.size + _FIXED[cls][1].size :])


_PLAIN: Mapping[str, Callable[[Any], bytes]] = {
    "asciiz": lambda value: value.encode(errors="surrogateescape") + b"\0",
    "l2addr": lambda value: _MAC.pack(*bytes.fromhex(value.replace(":", ""))),
    "ipaddr": lambda value: inet_pton(AF_INET6 if ":" in value else AF_INET, value),
    "uint32": _NUMBER.pack,
}
"""Kinds of a pod's own attributes (names, MACs, addresses), by pyroute2's names: encoded without pyroute2."""


def _kinds(cls: Any) -> Mapping[str, tuple[int, str]]:
    """Number and kind of each attribute, from pyroute2's table."""
    found = _tables.get(cls)
    if found is None:
        rows = [row if isinstance(row[0], int) else (number, *row) for number, row in enumerate(cls.nla_map)]
        found = _tables[cls] = {row[1]: (row[0], row[2]) for row in rows}
    return found


def _split_tail(value: dict[str, Any]) -> tuple[dict[str, Any], Sequence[tuple[str, Any]], int] | None:
    """A nested value without its tail, the tail's attributes and their depth; None if it has no tail."""
    attributes = value.get("attrs", ())
    if isinstance(value, Tail):
        return {"attrs": []}, attributes, 1
    if not attributes or not isinstance(attributes[-1][1], dict):
        return None
    *others, (name, last) = attributes
    split = _split_tail(last)
    if split is None:
        return None
    shell, tail, depth = split
    return {**value, "attrs": [*others, (name, shell)]}, tail, depth + 1


def _key(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple((name, _key(inside)) for name, inside in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(_key, value))
    return value  # type: ignore[no-any-return]
