"""Reads the handles of tables and chains, which show whether one was made again. One send, 0.1 ms for all."""

from __future__ import annotations

from cni_cnm.kernel.contract.element import Handle
from cni_cnm.kernel.netlink.nlattr import number, places, text
from cni_cnm.kernel.nftables import nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.kernel.nftables.nfnetlink import Questions

_GET_TABLE, _GET_CHAIN = 1, 4
"""NFT_MSG_GETTABLE, NFT_MSG_GETCHAIN."""
_TABLE_NAME, _TABLE_FLAGS, _TABLE_HANDLE, _DORMANT = 1, 2, 4, 1
_CHAIN_HANDLE, _CHAIN_POLICY, _CHAIN_USE = 2, 5, 6


def handles(questions: Questions, names: Sequence[str]) -> list[Handle | None]:
    """The handle of each `FAMILY TABLE` or `FAMILY TABLE CHAIN`, None if absent."""
    answers = questions.ask(list(map(_question, names)))
    found = []
    for name, answer in zip(names, answers, strict=True):
        chain = name.count(" ") == 2
        found.append(_read(*answer, chain=chain) if answer else None)
        if not chain:
            _note_table(questions, name, found[-1])
    return found


def _note_table(questions: Questions, name: str, found: Handle | None) -> None:
    """A table that was made again has sets that are not known."""
    handle = found.handle if found else 0
    if questions.tables.get(name) != handle:
        questions.tables[name] = handle
        questions.sets.clear()


def tables(questions: Questions) -> dict[str, int]:
    """`FAMILY TABLE` and handle of every table that is not dormant."""
    found = {}
    for data, begin, end in questions.dump(_GET_TABLE, "unspec", b""):
        fields = places(data, begin, end)
        if not number(data, fields.get(_TABLE_FLAGS), "big") & _DORMANT:
            name = f"{nfnetlink.family(data, begin)} {text(data, fields.get(_TABLE_NAME))}"
            found[name] = number(data, fields.get(_TABLE_HANDLE), "big")
    return found


def _question(name: str) -> tuple[int, str, bytes]:
    family, table, *chain = name.split(" ")
    if chain:
        return _GET_CHAIN, family, nfnetlink.text(1, table) + nfnetlink.text(3, chain[0])
    return _GET_TABLE, family, nfnetlink.text(1, table)


def _read(data: bytes, offset: int, end: int, *, chain: bool) -> Handle:
    found = places(data, offset, end)
    if not chain:
        return Handle(number(data, found.get(_TABLE_HANDLE), "big"), 0, -1)
    policy = number(data, found[_CHAIN_POLICY], "big") if _CHAIN_POLICY in found else -1
    return Handle(number(data, found.get(_CHAIN_HANDLE), "big"), number(data, found.get(_CHAIN_USE), "big"), policy)
