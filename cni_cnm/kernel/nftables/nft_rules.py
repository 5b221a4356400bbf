"""Rules of nftables tables: their number in each chain, and those with a given word in their comments."""

from __future__ import annotations

from errno import EAFNOSUPPORT, EPROTONOSUPPORT

from cni_cnm.kernel.contract.element import Rule
from cni_cnm.kernel.netlink.nlattr import number, places, raw, text
from cni_cnm.kernel.nftables import nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cni_cnm.kernel.nftables.nfnetlink import Answer, Questions

_GET_RULE = 7
"""NFT_MSG_GETRULE."""
_CHAIN, _HANDLE, _EXPRESSIONS, _USERDATA = 2, 3, 4, 7


def count(questions: Questions, table: str) -> dict[str, int]:
    """Number of rules in each chain of `FAMILY TABLE`. OSError (EINTR) if the ruleset changes each time."""
    counts: dict[str, int] = {}
    for data, offset, end in _rules(questions, table):
        chain = text(data, places(data, offset, end).get(_CHAIN))
        counts[chain] = counts.get(chain, 0) + 1
    return counts


def commented(questions: Questions, tables: Sequence[str], words: Collection[str]) -> list[Rule]:
    """The rules with one of these words in their comments. Only those are decoded. OSError as for `count`.

    None on a kernel without nfnetlink.
    """
    sought = [word.encode(errors="surrogateescape") for word in words]
    found = []
    try:
        for table in tables:
            for data, offset, end in _rules(questions, table):
                if any(data.find(word, offset, end) >= 0 for word in sought):
                    found.append(_decode(table, data, offset, end))
    except OSError as error:
        if error.errno not in (EPROTONOSUPPORT, EAFNOSUPPORT):
            raise
    return [rule for rule in found if any(word in rule.comment for word in words)]


def _decode(table: str, data: bytes, offset: int, end: int) -> Rule:
    found = places(data, offset, end)
    return Rule(
        table,
        text(data, found[_CHAIN]),
        number(data, found[_HANDLE], "big"),
        nfnetlink.comment(raw(data, found.get(_USERDATA))),
        raw(data, found.get(_EXPRESSIONS)),
    )


def _rules(questions: Questions, table: str) -> list[Answer]:
    """An absent table has none."""
    family, name = table.split(" ")
    return questions.dump(_GET_RULE, family, nfnetlink.text(1, name))
