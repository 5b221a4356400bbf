"""Rules of nftables tables: how many each chain has."""

from __future__ import annotations

from cni_cnm.kernel import nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.nfnetlink import Answer, Questions

_GET_RULE = 7
"""NFT_MSG_GETRULE."""
_CHAIN = 2


def count(questions: Questions, table: str) -> dict[str, int]:
    """How many rules each chain of `FAMILY TABLE` has. OSError (EINTR) if it changes all the time."""
    counts: dict[str, int] = {}
    for data, offset, end in _rules(questions, table):
        for kind, begin, stop in nfnetlink.attributes(data, offset, end):
            if kind == _CHAIN:
                chain = data[begin : stop - 1].decode()
                counts[chain] = counts.get(chain, 0) + 1
                break
    return counts


def _rules(questions: Questions, table: str) -> list[Answer]:
    """None of a table that does not exist."""
    family, name = table.split(" ")
    return questions.dump(_GET_RULE, family, nfnetlink.text(1, name))
