"""Which known word a misspelled one stands for. Only messages use it, so no call loads it that succeeds."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHORT = 4
"""Letters: of a word that is no longer, one letter may be wrong; of a longer one, two."""


def meant(word: str, known: Iterable[str]) -> str:
    """The known word that is nearest to `word`; "" if none is near.

    Upper and lower case are the same, and so are `_` and `-`. A known word with dots is also found by what follows
    its last dot: `mtu` for `com.docker.network.driver.mtu`.
    """
    wanted = _plain(word)
    best, most = "", 1 if len(wanted) <= SHORT else 2
    for one in known:
        plain = _plain(one)
        if wanted and plain.endswith(f".{wanted}"):
            return one
        if abs(len(plain) - len(wanted)) > most:
            continue
        edits = _edits(wanted, plain)
        if edits < most or (edits == most and not best):
            best, most = one, edits
    return best


def hint(word: str, known: Sequence[str]) -> str:
    """The hint for a word that is not known: the one that was probably meant, or else all that are known."""
    near = meant(word, known)
    return f"did you mean {near}?" if near else f"known: {', '.join(known)}"


def _plain(word: str) -> str:
    return word.lower().replace("_", "-")


def _edits(one: str, other: str) -> int:
    """How many letters were left out, added, replaced, or exchanged with their neighbour."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one):
        before, above, row = row, before, [at + 1]
        for to, goal in enumerate(other):
            edits = min(before[to] + (letter != goal), before[to + 1] + 1, row[to] + 1)
            if at and to and letter == other[to - 1] and one[at - 1] == goal:
                edits = min(edits, above[to - 1] + 1)
            row.append(edits)
    return row[-1]
