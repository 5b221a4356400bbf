"""Lists the elements of nftables sets and maps: keys, values and comments as text, as they were put.

libnftables asks for all tables and sets before it lists one of them.
"""

from __future__ import annotations

from struct import Struct

from cni_cnm.kernel.contract.element import Element
from cni_cnm.kernel.netlink.nlattr import places, raw, text
from cni_cnm.kernel.nftables import nfnetlink
from cni_cnm.kernel.nftables.nft_elements import listed, names, set_types, sets, spelled_key, value_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.kernel.nftables.nfnetlink import Questions
    from cni_cnm.kernel.nftables.nft_elements import SetTypes

_GET_SET, _GET_ELEMENT = 10, 13
"""NFT_MSG_GETSET, NFT_MSG_GETSETELEM."""
_TABLE, _SET = 1, 2
_ANONYMOUS, _INTERVAL, _MAP, _CONCATENATED = 0x1, 0x4, 0x8, 0x80
_KEY, _DATA, _FLAGS, _USERDATA, _KEY_END = 1, 2, 3, 6, 10
_LENGTH = Struct("=H")
"""Of struct nlattr."""


def elements(questions: Questions, table: str, name: str = "") -> list[Element] | None:
    """Of one set, or of all of a table (`FAMILY TABLE`). None for a set of a form that is not written here."""
    if name:
        listed_sets = sets(questions, [(table, name)])
    else:
        family, in_family = table.split(" ")
        answers = questions.dump(_GET_SET, family, nfnetlink.text(_TABLE, in_family))
        listed_sets = {(table, text(answer[0], places(*answer).get(_SET))): set_types(*answer) for answer in answers}
    try:
        return [element for place, types in listed_sets.items() for element in _of_set(questions, *place, types)]
    except LookupError:
        return None


def _of_set(questions: Questions, table: str, name: str, types: SetTypes) -> Iterator[Element]:
    """LookupError for another form."""
    flags = types.flags
    if flags & _ANONYMOUS:
        return
    if not types.key or flags & (_INTERVAL | _CONCATENATED) == _INTERVAL:
        raise LookupError(name)
    if flags & _MAP and not types.value and not types.verdicts:
        raise LookupError(name)
    family, named = names(table, name)
    spell = types.key[0].spell if len(types.key) == 1 else None
    values: dict[bytes, str] = {b"": ""}
    comments: dict[bytes, str] = {b"": ""}
    for message in questions.dump(_GET_ELEMENT, family, named):
        data = message[0]
        for begin, end in listed(*message):
            fields = places(data, begin, end)
            if _FLAGS in fields:
                raise LookupError(name)
            first = _inner(data, fields[_KEY])
            last = _inner(data, fields[_KEY_END]) if _KEY_END in fields else first
            key = spell(first) if spell is not None and first == last else spelled_key(first, last, types.key)
            # Many elements of a set have the same verdict, and those of one owner in several sets the same comment.
            packed = raw(data, fields.get(_DATA))
            value = values.get(packed)
            if value is None:
                value = values[packed] = value_of(data, fields.get(_DATA), types.value)
            packed = raw(data, fields.get(_USERDATA))
            comment = comments.get(packed)
            if comment is None:
                comment = comments[packed] = nfnetlink.comment(packed)
            yield Element(table, name, key, value, comment)


def _inner(data: bytes, place: tuple[int, int]) -> bytes:
    """The value of NFTA_DATA_VALUE, which is the only attribute of a key."""
    begin = place[0]
    return data[begin + 4 : begin + _LENGTH.unpack_from(data, begin)[0]]
