"""Elements and rules that another program removed: which are missing, and putting them back."""

from __future__ import annotations

from cni_cnm.cnm.packet_filter.endpoint_elements import redirect_streams
from cni_cnm.kernel import ElementTaken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.kernel import Element, Nft, Transaction


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


def put_back_missing(nft: Nft, transaction: Transaction, records: Sequence[EndpointRecord]) -> None:
    """`put_back` for elements that are missing or have another value. Writes nothing where all is there."""

    def lost(elements: Sequence[Element]) -> tuple[Element, ...]:
        found = zip(elements, nft.find(elements), strict=True)
        return tuple(element for element, there in found if there is None or there.value != element.value)

    if not (transaction.put or transaction.claim):
        return
    gone = transaction._replace(put=lost(transaction.put), claim=lost(transaction.claim))
    if gone.put or gone.claim or any(missing_rules(nft, transaction.declare)):
        owners = {element.owner for element in (*gone.put, *gone.claim)}
        put_back(nft, gone, [record for record in records if record.id[:12] in owners])


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
