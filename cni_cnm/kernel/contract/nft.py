"""Nft: the packet filter of one namespace. The real one is kernel/nft.py."""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cni_cnm.kernel.contract.element import Counter, Element, Handle, Rule, Transaction
    from cni_cnm.kernel.contract.filter_rules import BaseChain, Edit, FilterRule, FilterTable
    from cni_cnm.model import IPAddress

    Stream = tuple[int, range]
    """Protocol number (6, 17) and ports of the host."""


class Removals(Protocol):
    """Reports of removed elements. A context manager that ends them."""

    def __enter__(self) -> Removals: ...

    def __exit__(self, *_: object) -> None: ...

    def wait(self, owner: str, timeout_s: float) -> None:
        """Until an element of this owner, or a whole set, is removed. At most `timeout_s` seconds."""


class Nft(Protocol):
    """Our nftables tables in the host's namespace, and what connection tracking keeps of published ports."""

    def require(self) -> None:
        """KernelFeatureMissing if no rule can be made here: without nf_tables, or without libnftables and nft.

        Nothing is listed, so the cost does not depend on what there is.
        """

    def commit(self, transaction: Transaction, *, declare: bool = False) -> None:
        """Apply all of it or nothing. KernelError with nft's own message; KernelFeatureMissing without nf_tables.

        With `declare` the declaration always runs, which puts flushed rules back.
        """

    def find(self, elements: Sequence[Element]) -> Sequence[Element | None]:
        """For each key the element in the kernel, with the value and comment it has there; None if absent. 20 µs each.

        A range is found only by the same two ends. No set is listed, so the cost does not depend on its size.
        """

    def elements(self, table: str, name: str = "") -> Sequence[Element]:
        """The elements of a set or map, or of all sets of the table; none if it is absent."""

    def delete_table(self, table: str) -> None:
        """Delete a whole table. No error if absent."""

    def handles(self, names: Sequence[str]) -> Sequence[Handle | None]:
        """The handle of each `FAMILY TABLE` or `FAMILY TABLE CHAIN`, None if absent. 0.1 ms for ten."""

    def rules(self, table: str) -> dict[str, int]:
        """Number of rules of each chain of a table, without chains that have none."""

    def counters(self, tables: Sequence[str]) -> Sequence[Counter]:
        """The named counters of these tables; none of an absent one."""

    def commented(self, tables: Sequence[str], words: Collection[str]) -> Sequence[Rule]:
        """Rules of these tables, other programs' too, with one of the words in their comments.

        An absent table has none: four of those take 0.1 ms.
        """

    def remove_rules(self, rules: Sequence[Rule], chains: Sequence[str] = ()) -> None:
        """Remove these rules, then these chains (`FAMILY TABLE CHAIN`) if they are empty. No error if absent."""

    def owners(self, tables: Sequence[str]) -> set[str]:
        """The owners of all elements of these tables; elements without a comment have none. 10 ms per 1,000."""

    def remove_owned(self, tables: Sequence[str], owners: Collection[str]) -> Sequence[str]:
        """Remove all elements of these owners. Gives their comments.

        An element that has another owner by then stays, also if it was put in this moment.
        """

    def tables(self) -> dict[str, int]:
        """`FAMILY TABLE` and handle of every table, other programs' too, that is not dormant."""

    def base_chains(self) -> Sequence[BaseChain]:
        """The chains of these tables that are called by a hook."""

    def filter_rules(self, family: str, table: str, chain: str) -> Sequence[FilterRule]:
        """The rules of one chain, in order; none if it is absent."""

    def edit_filter(self, family: str, change: Callable[[FilterTable], Sequence[Edit]]) -> None:
        """Let `change` say what to edit of iptables' table `filter` of a family. All edits are made, or none.

        `change` is called again if the table was changed meanwhile, and not at all if it is absent.
        """

    def removals(self, tables: Sequence[str]) -> Removals:
        """What is removed from these tables from now on, by any program."""

    def published(self, streams: Sequence[Stream], targets: Collection[IPAddress]) -> None:
        """Delete tracked UDP streams to these host ports that do not go to `targets`, where the ports lead now.

        10 ms, with more than 500 tracked connections for each family, in a table of 262,144 buckets.
        """

    def unpublished(self, streams: Sequence[Stream], targets: Collection[IPAddress]) -> None:
        """Delete tracked streams from these host ports to `targets`, where the ports no longer lead.

        0.1 ms for each port of an IPv4 target, up to 16, from Linux 6.11 on. Otherwise as long as `published`.
        """
