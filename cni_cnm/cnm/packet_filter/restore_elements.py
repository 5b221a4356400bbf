"""Elements and rules that another program removed: which are missing, and putting them back."""

from __future__ import annotations

from cni_cnm.cnm.packet_filter.endpoint_elements import redirect_streams
from cni_cnm.kernel import ElementTaken, Transaction
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.kernel import Element, Nft

_SHOWN = 5
"""Names in a sentence."""


def put_back(nft: Nft, transaction: Transaction, records: Sequence[EndpointRecord]) -> None:
    """Declare the rules and put the elements in again. A port that another endpoint has published since is left."""
    while True:
        try:
            nft.commit(transaction, declare=True)
            break
        except ElementTaken as taken:
            held = {(holder.table, holder.set, holder.key) for holder in taken.holders}
            kept = tuple(one for one in transaction.claim if (one.table, one.set, one.key) not in held)
            if len(kept) == len(transaction.claim):
                raise
            transaction = transaction._replace(claim=kept)
    redirect_streams(nft, records)


class Missing(NamedTuple):
    """What a transaction's tables lack of it."""

    transaction: Transaction = Transaction()
    """With the elements that are missing, or have another value, alone."""
    rules: tuple[tuple[str, str, int, int], ...] = ()
    """As `missing_rules` gives them."""

    @property
    def owners(self) -> set[str]:
        return {element.owner for element in (*self.transaction.put, *self.transaction.claim)}

    @property
    def sentence(self) -> str:
        """ "" if nothing is missing."""
        found = [
            f"{number} of {count} rules are missing from {chain} in {table}"
            for table, chain, number, count in self.rules
        ]
        elements = [*self.transaction.put, *self.transaction.claim]
        if elements:
            names = list(dict.fromkeys(element.comment.partition(" ")[2] or element.key for element in elements))
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            missing = f"{len(elements)} element{'s are' if len(elements) > 1 else ' is'} missing"
            found.append(f"{missing}, of {', '.join(names[:_SHOWN])}{more}")
        return ", ".join(found)


def find_missing(nft: Nft, transaction: Transaction) -> Missing:
    """Writes nothing. A port that another endpoint has published since is not missing."""
    if not (transaction.put or transaction.claim):
        return Missing()

    def lost(elements: Sequence[Element], *, others_stay: bool) -> tuple[Element, ...]:
        found = zip(elements, nft.find(elements), strict=True)
        return tuple(
            element
            for element, there in found
            if there is None or (there.value != element.value and not (others_stay and there.owner != element.owner))
        )

    put, claim = lost(transaction.put, others_stay=False), lost(transaction.claim, others_stay=True)
    gone = transaction._replace(put=put, claim=claim)
    return Missing(gone, tuple(missing_rules(nft, transaction.declare)))


def put_back_missing(nft: Nft, transaction: Transaction, records: Sequence[EndpointRecord]) -> str:
    """`put_back` for what is missing. Writes nothing where all is there. Returns what was missing, "" for nothing."""
    missing = find_missing(nft, transaction)
    if missing.sentence:
        put_back(nft, missing.transaction, [record for record in records if record.id[:12] in missing.owners])
    return missing.sentence


def missing_rules(nft: Nft, declare: str) -> Iterator[tuple[str, str, int, int]]:
    """The chains of a declaration that lack rules: table, chain, how many are missing, of how many."""
    declared = _rules(declare)
    there = {table: nft.rules(table) for table in dict.fromkeys(table for table, _ in declared)}
    for (table, chain), count in declared.items():
        if (number := count - there[table].get(chain, 0)) > 0:
            yield table, chain, number, count


def _rules(declare: str) -> dict[tuple[str, str], int]:
    """How many rules each chain of a declaration has."""
    counts: dict[tuple[str, str], int] = {}
    for words in map(str.split, declare.splitlines()):
        place = " ".join(words[2:4]), words[4] if len(words) > 4 else ""
        if words[:2] == ["flush", "chain"]:
            counts[place] = 0
        elif words[:2] == ["add", "rule"]:
            counts[place] = counts.get(place, 0) + 1
    return counts
