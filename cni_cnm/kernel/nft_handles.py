"""A glance at nftables: are these tables and chains still what they were? One send, 0.1 ms for all.

A table that was deleted and made again has another handle; a chain that was flushed has no use. That is all that is
read.
"""

from __future__ import annotations

from cni_cnm.kernel import Seen, nfnetlink
from cni_cnm.kernel.nlattr import number, places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.kernel.nfnetlink import Questions

_GET_TABLE, _GET_CHAIN = 1, 4
"""NFT_MSG_GETTABLE, NFT_MSG_GETCHAIN."""
_TABLE_HANDLE = 4
_CHAIN_HANDLE, _CHAIN_POLICY, _CHAIN_USE = 2, 5, 6


def seen(questions: Questions, names: Sequence[str]) -> list[Seen | None]:
    """Of each `FAMILY TABLE` or `FAMILY TABLE CHAIN` what there is; None: nothing."""
    answers = questions.ask(list(map(_question, names)))
    pairs = zip(names, answers, strict=True)
    return [_read(*answer, chain=name.count(" ") == 2) if answer else None for name, answer in pairs]


def _question(name: str) -> tuple[int, str, bytes]:
    family, table, *chain = name.split(" ")
    if chain:
        return _GET_CHAIN, family, nfnetlink.text(1, table) + nfnetlink.text(3, chain[0])
    return _GET_TABLE, family, nfnetlink.text(1, table)


def _read(data: bytes, offset: int, end: int, *, chain: bool) -> Seen:
    found = places(data, offset, end)
    if not chain:
        return Seen(number(data, found.get(_TABLE_HANDLE), "big"), 0, -1)
    policy = number(data, found[_CHAIN_POLICY], "big") if _CHAIN_POLICY in found else -1
    return Seen(number(data, found.get(_CHAIN_HANDLE), "big"), number(data, found.get(_CHAIN_USE), "big"), policy)
