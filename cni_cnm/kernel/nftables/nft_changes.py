"""Puts elements into nftables sets and takes them out, by netlink messages of our own in one transaction.

libnftables parses a script, lists what there is, and sends the same messages: 0.2 ms for one element, 20 ms for a
thousand. It is still asked where tables, sets or rules are declared.
"""

from __future__ import annotations

from functools import lru_cache

from cni_cnm.kernel.netlink.nlattr import pack
from cni_cnm.kernel.nftables import nfnetlink
from cni_cnm.kernel.nftables.nft_elements import PORT, SetTypes, bounds, names, nested_value, packed_data, types_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cni_cnm.kernel.contract.element import Element, Transaction
    from cni_cnm.kernel.nftables.nfnetlink import Change, Questions
    from cni_cnm.kernel.nftables.nft_elements import Type

_NEW_ELEMENT, _DELETE_ELEMENT = 12, 14
"""NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM."""
_CREATE, _EXCLUSIVE = 0x400, 0x200
_ELEMENTS, _LIST_ELEMENT = 3, 1
_KEY, _USERDATA, _KEY_END = 1, 6, 10
_HEADER = 4
_MANY = 8
"""Elements of one set, such as scattered published ports: from here on it is worth looking for what they share."""
_LIST_BYTES = 32 * 1024
"""Of the elements in one message. The length of an attribute has 16 bits."""


def commit(questions: Questions, transaction: Transaction) -> bool:
    """Make all changes of the transaction, in its order, or none. OSError with the kernel's errno.

    False if nothing was tried: a set is absent, or an element has a form that only libnftables writes.
    """
    put, claim, remove, release = transaction.put, transaction.claim, transaction.remove, transaction.release
    types = types_of(questions, (*put, *claim, *remove, *release))
    try:
        added = [*_changes(_NEW_ELEMENT, _CREATE, put, types)]
        changes = [
            *_changes(_DELETE_ELEMENT, 0, remove, types),
            # adding an element before its release changes nothing, or fails if it has another value
            *_changes(_NEW_ELEMENT, _CREATE, release, types),
            *_changes(_DELETE_ELEMENT, 0, release, types),
            *_changes(_NEW_ELEMENT, _CREATE | _EXCLUSIVE, claim, types),
            # the first one makes the deletion safe, the last one sets the new comment
            *added,
            *_changes(_DELETE_ELEMENT, 0, put, types),
            *added,
        ]
    except LookupError:
        return False
    if changes:
        questions.commit(changes)
    return True


def _changes(
    kind: int, flags: int, elements: Sequence[Element], types: dict[tuple[str, str], SetTypes]
) -> Iterator[Change]:
    """As few messages as elements of one set fit into. LookupError for a set or an element that is not known."""
    groups: dict[tuple[str, str], list[Element]] = {}
    for element in elements:
        groups.setdefault((element.table, element.set), []).append(element)
    for place, group in groups.items():
        family, named = names(*place)
        for listed in _chunks(_packed_group(group, types[place], whole=kind == _NEW_ELEMENT)):
            yield kind, family, flags, named + _nested(_ELEMENTS, listed)


def _chunks(packed: Iterable[bytes]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    size = 0
    for one in packed:
        if size + len(one) > _LIST_BYTES:
            yield b"".join(chunk)
            chunk, size = [], 0
        chunk.append(one)
        size += len(one)
    yield b"".join(chunk)


def _packed_group(group: Sequence[Element], types: SetTypes, *, whole: bool) -> Iterable[bytes]:
    """As `_packed` for each. Elements that differ only in the ports at their ends are made from one's bytes."""
    if len(group) < _MANY or not _ends_in_port(types.key) or (whole and not _ends_in_port(types.value)):
        return [_packed(element, types, whole=whole) for element in group]
    packed = []
    around: dict[tuple[str, str, str], tuple[bytes, bytes, bytes]] = {}
    for element in group:
        key, _, port = element.key.rpartition(" . ")
        value, _, target = element.value.rpartition(" . ")
        like = (key, value, element.comment) if whole else (key, "", "")
        known = around.get(like)
        try:
            if known is None or not port.isdecimal():
                one = _packed(element, types, whole=whole)
                if port.isdecimal() and "-" not in key and "/" not in key:
                    around[like] = _around_ports(one, types, whole=whole)
            elif whole:
                before, between, after = known
                one = b"".join((before, int(port).to_bytes(2, "big"), between, int(target).to_bytes(2, "big"), after))
            else:
                one = b"".join((known[0], int(port).to_bytes(2, "big"), known[2]))
        except (ValueError, OverflowError):
            raise LookupError(element.key) from None
        packed.append(one)
    return packed


def _ends_in_port(types: Sequence[Type]) -> bool:
    return len(types) > 1 and types[-1] is PORT


def _around_ports(packed: bytes, types: SetTypes, *, whole: bool) -> tuple[bytes, bytes, bytes]:
    """An element's bytes before its key's port, from there to its value's port, and behind that.

    A port is two bytes, and two of padding.
    """
    key_end = _HEADER + 2 * _HEADER + _size(types.key)
    before, rest = packed[: key_end - 4], packed[key_end - 2 :]
    if not whole:
        return before, b"", rest
    between = 2 + 2 * _HEADER + _size(types.value) - 4
    return before, rest[:between], rest[between + 2 :]


def _size(types: Sequence[Type]) -> int:
    return sum((kind.size + 3) & ~3 for kind in types)


def _packed(element: Element, types: SetTypes, *, whole: bool) -> bytes:
    """`whole`: with value and comment, which an element that is deleted needs not."""
    ends = bounds(element.key, types.key)
    if ends is None:
        raise LookupError(element.key)
    first, last = ends
    inside = nested_value(_KEY, first)
    if first != last:
        inside += nested_value(_KEY_END, last)
    if whole and element.value:
        inside += packed_data(element.value, types.value)
    if whole and element.comment:
        inside += _userdata(element.comment)
    return _nested(_LIST_ELEMENT, inside)


@lru_cache(16)
def _userdata(comment: str) -> bytes:
    """All elements of an endpoint have one comment."""
    return pack(_USERDATA, nfnetlink.packed_comment(comment))


def _nested(kind: int, value: bytes) -> bytes:
    return pack(nfnetlink.NESTED | kind, value)
