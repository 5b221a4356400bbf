"""The owners that elements of nftables sets name in their comments, and removing what they own.

An element goes only while its owner is still that one: another program, or another call, may put one of its own under
the same key at any time. The kernel is told which generation of the ruleset was looked at.
"""

from __future__ import annotations

from errno import ENOENT, ERESTART

from cni_cnm.kernel.netlink.nlattr import pack, places, raw, text
from cni_cnm.kernel.nftables import nfnetlink
from cni_cnm.kernel.nftables.nft_elements import listed
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from cni_cnm.kernel.nftables.nfnetlink import Questions

_GET_SET, _GET_ELEMENT, _DELETE_ELEMENT = 10, 13, 14
_TABLE, _SET, _ELEMENTS, _LIST_ELEMENT = 1, 2, 3, 1
_KEY, _USERDATA, _KEY_END = 1, 6, 10
_TRIES = 20
_CHANGES_MAX = 200
"""Elements in one transaction."""


class _Owned(NamedTuple):
    family: str
    place: bytes
    """Attributes that name the table and the set."""
    key: bytes
    """Attributes of the element's key, as the kernel has them."""
    comment: str

    @property
    def owner(self) -> str:
        return self.comment.partition(" ")[0]

    @property
    def named(self) -> bytes:
        """Attributes that name the element."""
        return self.place + _nested(_ELEMENTS, _nested(_LIST_ELEMENT, self.key))


def owners(questions: Questions, tables: Sequence[str]) -> set[str]:
    """Of all elements of the tables (`FAMILY TABLE`) that have a comment."""
    return {element.owner for table in tables for element in _elements(questions, table)}


def remove(questions: Questions, tables: Sequence[str], gone: Collection[str]) -> list[str]:
    """Remove the elements of these owners. Gives the comments of those that were removed."""
    found = [element for table in tables for element in _elements(questions, table) if element.owner in gone]
    removed: list[str] = []
    for start in range(0, len(found), _CHANGES_MAX):
        removed += _remove(questions, found[start : start + _CHANGES_MAX])
    return removed


def _remove(questions: Questions, elements: Sequence[_Owned]) -> list[str]:
    for attempt in range(_TRIES):
        generation = questions.generation()
        answers = questions.ask([(_GET_ELEMENT, element.family, element.named) for element in elements])
        pairs = zip(elements, answers, strict=True)
        elements = [element for element, answer in pairs if answer and _comment(*answer) == element.comment]
        if not elements:
            return []
        try:
            changes = [(_DELETE_ELEMENT, element.family, 0, element.named) for element in elements]
            questions.commit(changes, generation)
            return [element.comment for element in elements]
        except OSError as error:
            if error.errno not in (ERESTART, ENOENT) or attempt == _TRIES - 1:
                raise
    return []


def _elements(questions: Questions, table: str) -> Iterator[_Owned]:
    family, name = table.split(" ")
    in_table = nfnetlink.text(_TABLE, name)
    for data, begin, end in questions.dump(_GET_SET, family, in_table):
        place = in_table + nfnetlink.text(_SET, text(data, places(data, begin, end).get(_SET)))
        for answer in questions.dump(_GET_ELEMENT, family, place):
            for inner in listed(*answer):
                fields = places(answer[0], *inner)
                comment = nfnetlink.comment(raw(answer[0], fields.get(_USERDATA)))
                if comment:
                    keys = [_nested(kind, raw(answer[0], fields[kind])) for kind in (_KEY, _KEY_END) if kind in fields]
                    yield _Owned(family, place, b"".join(keys), comment)


def _comment(data: bytes, begin: int, end: int) -> str:
    for inner in listed(data, begin, end):
        return nfnetlink.comment(raw(data, places(data, *inner).get(_USERDATA)))
    return ""


def _nested(kind: int, value: bytes) -> bytes:
    return pack(nfnetlink.NESTED | kind, value)
