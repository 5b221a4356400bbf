"""Rules of nftables tables: how many each chain has, and which ones have a comment that somebody is named in."""

from __future__ import annotations

from errno import EAFNOSUPPORT, EPROTONOSUPPORT

from cni_cnm.kernel import Rule, nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cni_cnm.kernel.nfnetlink import Answer, Questions

_GET_RULE = 7
"""NFT_MSG_GETRULE."""
_CHAIN, _HANDLE, _EXPRESSIONS, _USERDATA = 2, 3, 4, 7


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


def commented(questions: Questions, tables: Sequence[str], words: Collection[str]) -> list[Rule]:
    """The rules that have one of these words in their comments. Only those are decoded. OSError as above.

    A kernel without nfnetlink has none.
    """
    sought = [word.encode() for word in words]
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
    values = {kind: data[begin:stop] for kind, begin, stop in nfnetlink.attributes(data, offset, end)}
    return Rule(
        table,
        values[_CHAIN][:-1].decode(),
        int.from_bytes(values[_HANDLE], "big"),
        nfnetlink.comment(values.get(_USERDATA, b"")),
        values.get(_EXPRESSIONS, b""),
    )


def _rules(questions: Questions, table: str) -> list[Answer]:
    """None of a table that does not exist."""
    family, name = table.split(" ")
    return questions.dump(_GET_RULE, family, nfnetlink.text(1, name))
