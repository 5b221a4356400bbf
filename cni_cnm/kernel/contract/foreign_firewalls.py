"""ForeignFirewalls: other programs' packet filters. The real one is kernel/foreign_firewalls.py."""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cni_cnm.kernel.contract.filter_rules import BaseChain, Edit, FilterRule, FilterTable
    from cni_cnm.model import Json


class ForeignFirewalls(Protocol):
    """What other programs keep in the packet filters of the host: nf_tables, iptables of both kinds, and firewalld."""

    def stamp(self, chains: Sequence[str]) -> Json:
        """A value that differs after a change of other programs' tables, FORWARD, `chains`, or legacy rules.

        A chain is `FAMILY TABLE CHAIN`. The value is a JSON list, `[]` if there is no other firewall. Takes 0.1 ms,
        with any number of rules.
        """

    def edit(self, change: Callable[[FilterTable], Sequence[Edit]]) -> Sequence[str]:
        """Call `change` with each table `filter` of iptables, and make the edits it returns: all of a table, or none.

        `change` is called again if the table was changed meanwhile. Returns a sentence for each table that cannot be
        read. KernelError or IoFailed where one cannot be edited.
        """

    def base_chains(self) -> Sequence[BaseChain]:
        """Other programs' chains that are called by a hook."""

    def rules(self, family: str, table: str, chain: str) -> Sequence[FilterRule]:
        """The rules of one chain of nf_tables, in order; none if it is absent."""

    def firewalld(self) -> bool:
        """Whether the host has the nftables table of firewalld."""

    def trust(self, link: str, zone: str) -> None:
        """Put a link into a zone of firewalld, "" for trusted. Does nothing where firewalld does not run."""

    def trusts(self, link: str, zone: str) -> bool | None:
        """Whether the link is in the zone; None where firewalld does not run."""

    def forget(self, link: str, zone: str) -> None:
        """Take the link out of the zone. No error if absent."""
