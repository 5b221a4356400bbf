"""`Nft` in dicts.

Of a declaration it reads `add set|map|chain FAMILY TABLE NAME …`, one command a line, and counts the rules of each
chain. What rules do to packets is tested in the kernel.
"""

from __future__ import annotations

import errno
from _thread import allocate_lock
from collections import Counter as Tally
from time import monotonic, sleep

from cni_cnm.errors import KernelError
from cni_cnm.kernel import Counter, ElementTaken, Handle
from cni_cnm.kernel.contract.element import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cni_cnm.kernel import Element, Rule, Stream, Transaction
    from cni_cnm.kernel.contract.filter_rules import BaseChain, Edit, FilterRule, FilterTable
    from cni_cnm.model import IPAddress


class MemoryNft:
    """`sets` maps (table, set) to {key: element}, `chains` holds (table, chain), `counts` how many rules each has."""

    def __init__(self) -> None:
        self.sets: dict[tuple[str, str], dict[str, Element]] = {}
        self.chains: set[tuple[str, str]] = set()
        self.counts: dict[tuple[str, str], int] = {}
        self.others: list[Rule] = []
        """Rules of other programs' tables."""
        self.forgotten: list[tuple[str, tuple[Stream, ...], frozenset[IPAddress]]] = []
        """The streams that were to be deleted. No packet flows here, so there are never any."""
        self.counted: dict[tuple[str, str], Counter] = {}
        """By table and name. No packet flows here, so a test sets what was counted."""
        self.declared = 0
        """How often a declaration was needed."""
        self._lock = allocate_lock()

    def require(self) -> None:
        """Rules can always be made here."""

    def commit(self, transaction: Transaction, *, declare: bool = False) -> None:
        put = (*transaction.claim, *transaction.put)
        with self._lock:
            sets = {place: dict(elements) for place, elements in self.sets.items()}
            chains = set(self.chains)
            try:
                self._take_down(transaction)
                if declare or any(self._lacks(element) for element in put):
                    self._declare(transaction.declare)
                self._check_claims(transaction.claim)
                for element in put:
                    self._put(element)
            except KernelError:
                self.sets, self.chains = sets, chains
                raise

    def find(self, elements: Sequence[Element]) -> Sequence[Element | None]:
        with self._lock:
            there = map(self._there, elements)
            return [one and one._replace(key=asked.key) for asked, one in zip(elements, there, strict=True)]

    def elements(self, table: str, name: str = "") -> Sequence[Element]:
        with self._lock:
            return [
                element._replace(key=plain(element.key), value=plain(element.value))
                for place, elements in self.sets.items()
                if place[0] == table and name in ("", place[1])
                for element in elements.values()
            ]

    def delete_table(self, table: str) -> None:
        with self._lock:
            self.sets = {place: elements for place, elements in self.sets.items() if place[0] != table}
            self.chains = {place for place in self.chains if place[0] != table}
            self.counted = {place: one for place, one in self.counted.items() if place[0] != table}
            self.counts = {place: count for place, count in self.counts.items() if place[0] != table}

    def handles(self, names: Sequence[str]) -> Sequence[Handle | None]:
        with self._lock:
            there = {f"{table} {chain}" for table, chain in self.chains}
            there |= {table for table, _ in (*self.chains, *self.sets)}
            return [Handle(1, 1) if name in there else None for name in names]

    def rules(self, table: str) -> dict[str, int]:
        with self._lock:
            return {chain: count for (home, chain), count in self.counts.items() if home == table and count}

    def counters(self, tables: Sequence[str]) -> Sequence[Counter]:
        with self._lock:
            return [one for place, one in self.counted.items() if place[0] in tables]

    def commented(self, tables: Sequence[str], words: Collection[str]) -> Sequence[Rule]:
        with self._lock:
            found = [rule for rule in self.others if rule.table in tables]
        return [rule for rule in found if any(word in rule.comment for word in words)]

    def remove_rules(self, rules: Sequence[Rule], chains: Sequence[str] = ()) -> None:
        with self._lock:
            self.others = [rule for rule in self.others if rule not in rules]
            self.chains -= {(chain.rpartition(" ")[0], chain.rpartition(" ")[2]) for chain in chains}

    def owners(self, tables: Sequence[str]) -> set[str]:
        return {element.owner for table in tables for element in self.elements(table) if element.comment}

    def remove_owned(self, tables: Sequence[str], owners: Collection[str]) -> Sequence[str]:
        with self._lock:
            gone = [
                (place, key, element.comment)
                for place, elements in self.sets.items()
                for key, element in elements.items()
                if place[0] in tables and element.owner in owners
            ]
            for place, key, _ in gone:
                del self.sets[place][key]
        return [comment for _, _, comment in gone]

    def tables(self) -> dict[str, int]:
        with self._lock:
            return dict.fromkeys((table for table, _ in (*self.chains, *self.sets)), 1)

    def base_chains(self) -> Sequence[BaseChain]:
        return ()

    def filter_rules(self, family: str, table: str, chain: str) -> Sequence[FilterRule]:
        return ()

    def edit_filter(self, family: str, change: Callable[[FilterTable], Sequence[Edit]]) -> None:
        """Other programs have no table here."""

    def removals(self, tables: Sequence[str]) -> MemoryRemovals:
        return MemoryRemovals(self, tables)

    def published(self, streams: Sequence[Stream], targets: Collection[IPAddress]) -> None:
        self.forgotten.append(("published", tuple(streams), frozenset(targets)))

    def unpublished(self, streams: Sequence[Stream], targets: Collection[IPAddress]) -> None:
        self.forgotten.append(("unpublished", tuple(streams), frozenset(targets)))

    def _check_claims(self, claim: Sequence[Element]) -> None:
        owners = {element.owner for element in claim}
        there = [there for element in claim if (there := self._there(element))]
        if taken := [element for element in there if element.owner not in owners]:
            raise ElementTaken(taken)

    def _put(self, element: Element) -> None:
        if lacking := self._lacks(element):
            raise KernelError(f"nftables refused the change: there is no {lacking}", errno.ENOENT)
        self.sets[element.table, element.set][plain(element.key)] = element

    def _take_down(self, transaction: Transaction) -> None:
        for element in (*transaction.remove, *transaction.release):
            there = self._there(element)
            theirs = there is not None and there.owner != element.owner and there.value != element.value
            if there is not None and (element in transaction.remove or not theirs):
                del self.sets[element.table, element.set][plain(element.key)]

    def _declare(self, script: str) -> None:
        self.declared += 1 if script else 0
        for line in script.splitlines():
            words = line.split()
            if words[:1] == ["add"] and len(words) > 4:
                table, name = f"{words[2]} {words[3]}", words[4]
                if words[1] in ("set", "map"):
                    self.sets.setdefault((table, name), {})
                elif words[1] == "chain":
                    self.chains.add((table, name))
                elif words[1] == "counter":
                    self.counted.setdefault((table, name), Counter(table, name, 0, 0))
                elif words[1] == "rule":
                    self.counts[table, name] = self.counts.get((table, name), 0) + 1
            elif words[:2] == ["flush", "chain"]:
                self.counts[f"{words[2]} {words[3]}", words[4]] = 0

    def _lacks(self, element: Element) -> str:
        """The set or chain that an element needs and that is absent; "" if it can be added."""
        if (element.table, element.set) not in self.sets:
            return f"set {element.set} in {element.table}"
        verb, _, chain = element.value.partition(" ")
        if verb in ("goto", "jump") and (element.table, chain) not in self.chains:
            return f"chain {chain} in {element.table}"
        return ""

    def _there(self, element: Element) -> Element | None:
        return self.sets.get((element.table, element.set), {}).get(plain(element.key))


class MemoryRemovals:
    """Looks every millisecond."""

    def __init__(self, nft: MemoryNft, tables: Sequence[str]) -> None:
        self._nft, self._tables = nft, tables
        self._before = self._count()

    def __enter__(self) -> MemoryRemovals:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, owner: str, timeout_s: float) -> None:
        deadline = monotonic() + timeout_s
        while self._before.get(owner, 0) <= self._count().get(owner, 0) and monotonic() < deadline:
            sleep(0.001)
        self._before = self._count()

    def _count(self) -> Tally[str]:
        return Tally(element.owner for table in self._tables for element in self._nft.elements(table))
