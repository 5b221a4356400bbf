"""ForeignFirewalls: other programs' packet filters. The real one is kernel/foreign_firewalls.py."""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cni_cnm.model import Json


class ForeignFirewalls(Protocol):
    """What other programs keep in the packet filters of the host: iptables of both kinds, and firewalld."""

    def stamp(self, chains: Sequence[str]) -> Json:
        """Changes with FORWARD, these chains (`ip CHAIN`, `ip6 CHAIN`), legacy rules, and firewalld's start.

        A list of JSON; `[]` where no other firewall is, so that nothing has to be accepted. 0.1 ms.
        """

    def rewrite(self, change: Callable[[str, str], str]) -> None:
        """Let `change(family, saved)` write a script for each filter table, from its `iptables-save`.

        `family` is ip or ip6, "" for a legacy table; an empty script is not run. IoFailed with iptables' message.
        """

    def firewalld(self) -> bool:
        """Whether firewalld filters here, by nftables."""

    def trust(self, link: str, zone: str) -> None:
        """Put a link into a zone of firewalld, "" for trusted. Does nothing where firewalld does not run."""

    def trusts(self, link: str, zone: str) -> bool | None:
        """Whether the link is in the zone; None where firewalld does not run."""

    def forget(self, link: str, zone: str) -> None:
        """Take the link out of the zone. No error if absent."""
