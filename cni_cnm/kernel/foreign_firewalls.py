"""The packet filters of other programs on this host: nf_tables, iptables in it and legacy, and firewalld.

Whether anything changed there is seen without starting a process (nftables/nft_handles.py, xtables.py). What has
changed is read from the kernel (nftables/nft_chains.py); only legacy tables take the programs that made them.
"""

from __future__ import annotations

import os

from cni_cnm.errors import IoFailed, KernelError
from cni_cnm.kernel import xtables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cni_cnm.kernel.contract.filter_rules import BaseChain, Edit, FilterRule, FilterTable
    from cni_cnm.kernel.contract.nft import Nft
    from cni_cnm.model import Json

_FAMILIES = ("ip", "ip6")
_FORWARD = tuple(f"{family} filter FORWARD" for family in _FAMILIES)
_FIREWALLD = "inet firewalld"


class KernelForeignFirewalls:
    """Of the calling thread's namespace, which is that of `nft`. `ours`: our tables, as `FAMILY TABLE`."""

    def __init__(self, nft: Callable[[], Nft], ours: Collection[str]) -> None:
        self._nft = nft
        self._ours = ours

    def stamp(self, chains: Sequence[str]) -> Json:
        legacy = xtables.stamps()
        tables = self._tables()
        if not tables and not any(legacy):
            return []
        names = [*_FORWARD, *(name for name in chains if name not in _FORWARD)]
        seen = self._nft().handles([name for name in names if name.rpartition(" ")[0] in tables])
        return [sorted(tables.items()), *(list(one) if one else None for one in seen), *legacy]

    def edit(self, change: Callable[[FilterTable], Sequence[Edit]]) -> list[str]:
        unread = []
        for family, legacy in zip(_FAMILIES, xtables.stamps(), strict=True):
            if f"{family} filter" in self._tables():
                self._edit(family, change)
            if legacy:
                from cni_cnm.kernel import iptables_legacy

                try:
                    table = iptables_legacy.read(family)
                except IoFailed as error:
                    unread.append(str(error))
                    continue
                if edits := change(table):
                    iptables_legacy.edit(table, edits)
        return unread

    def _edit(self, family: str, change: Callable[[FilterTable], Sequence[Edit]]) -> None:
        try:
            self._nft().edit_filter(family, change)
        except KernelError as error:
            raise KernelError(
                f"the nftables table {family} filter cannot be changed: {os.strerror(error.errno)}", error.errno
            ) from error

    def base_chains(self) -> Sequence[BaseChain]:
        try:
            found = self._nft().base_chains()
        except KernelError:  # no nf_tables at all
            return ()
        return [chain for chain in found if f"{chain.family} {chain.table}" not in self._ours]

    def rules(self, family: str, table: str, chain: str) -> Sequence[FilterRule]:
        return self._nft().filter_rules(family, table, chain)

    def _tables(self) -> dict[str, int]:
        try:
            found = self._nft().tables()
        except KernelError:  # no nf_tables at all
            return {}
        return {name: handle for name, handle in found.items() if name not in self._ours}

    def firewalld(self) -> bool:
        return _FIREWALLD in self._tables()

    def trust(self, link: str, zone: str) -> None:
        from cni_cnm.kernel import firewalld

        firewalld.trust(link, zone or firewalld.TRUSTED)

    def trusts(self, link: str, zone: str) -> bool | None:
        from cni_cnm.kernel import firewalld

        return firewalld.trusts(link, zone or firewalld.TRUSTED)

    def forget(self, link: str, zone: str) -> None:
        from cni_cnm.kernel import firewalld

        firewalld.forget(link, zone or firewalld.TRUSTED)
