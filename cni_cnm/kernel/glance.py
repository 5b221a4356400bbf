"""A glance at nftables: are these tables and chains still what they were? One send, 0.1 ms for all.

A table that was deleted and made again has another handle; a chain that was flushed has no use. That is all that is
read.
"""

from __future__ import annotations

from cni_cnm.kernel import Seen, nfnetlink

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
    handle, use, policy = 0, 0, -1
    for kind, begin, stop in nfnetlink.attributes(data, offset, end):
        if not chain:
            handle = int.from_bytes(data[begin:stop], "big") if kind == _TABLE_HANDLE else handle
        elif kind == _CHAIN_HANDLE:
            handle = int.from_bytes(data[begin:stop], "big")
        elif kind == _CHAIN_USE:
            use = int.from_bytes(data[begin:stop], "big")
        elif kind == _CHAIN_POLICY:
            policy = int.from_bytes(data[begin:stop], "big")
    return Seen(handle, use, policy)
