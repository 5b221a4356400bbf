"""Lists the elements of nftables sets and maps: keys, values and comments as text, as they were put.

libnftables asks for all tables and sets before it lists one of them.
"""

from __future__ import annotations

from cni_cnm.kernel.contract.element import Element
from cni_cnm.kernel.netlink.nlattr import number, places, raw, text
from cni_cnm.kernel.nftables import nfnetlink
from cni_cnm.kernel.nftables.nft_elements import inside, listed, names, set_types, spelled_key, value_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.kernel.nftables.nfnetlink import Answer, Questions

_GET_SET, _GET_ELEMENT = 10, 13
"""NFT_MSG_GETSET, NFT_MSG_GETSETELEM."""
_TABLE, _SET, _SET_FLAGS, _SET_DATA_TYPE = 1, 2, 3, 6
_ANONYMOUS, _INTERVAL, _MAP, _CONCATENATED = 0x1, 0x4, 0x8, 0x80
_VERDICT_TYPE = 0xFFFFFF00
_KEY, _DATA, _FLAGS, _USERDATA, _KEY_END, _VALUE = 1, 2, 3, 6, 10, 1


def elements(questions: Questions, table: str, name: str = "") -> list[Element] | None:
    """Of one set, or of all of a table (`FAMILY TABLE`). None for a set of a form that is not written here."""
    if name:
        sets = [answer for answer in questions.ask([(_GET_SET, *names(table, name))]) if answer]
    else:
        family, in_family = table.split(" ")
        sets = questions.dump(_GET_SET, family, nfnetlink.text(_TABLE, in_family))
    try:
        return [element for answer in sets for element in _of_set(questions, table, answer)]
    except LookupError:
        return None


def _of_set(questions: Questions, table: str, answer: Answer) -> Iterator[Element]:
    """LookupError for another form."""
    data = answer[0]
    found = places(*answer)
    name, flags = text(data, found.get(_SET)), number(data, found.get(_SET_FLAGS), "big")
    if flags & _ANONYMOUS:
        return
    types = set_types(*answer)
    verdicts = number(data, found.get(_SET_DATA_TYPE), "big") == _VERDICT_TYPE
    if not types.key or flags & (_INTERVAL | _CONCATENATED) == _INTERVAL:
        raise LookupError(name)
    if flags & _MAP and not types.value and not verdicts:
        raise LookupError(name)
    family, named = names(table, name)
    for message in questions.dump(_GET_ELEMENT, family, named):
        for begin, end in listed(*message):
            data = message[0]
            fields = places(data, begin, end)
            if _FLAGS in fields:
                raise LookupError(name)
            first = raw(data, inside(data, fields.get(_KEY)).get(_VALUE))
            last = raw(data, inside(data, fields[_KEY_END]).get(_VALUE)) if _KEY_END in fields else first
            value = value_of(data, fields.get(_DATA), types.value)
            comment = nfnetlink.comment(raw(data, fields.get(_USERDATA)))
            yield Element(table, name, spelled_key(first, last, types.key), value, comment)
