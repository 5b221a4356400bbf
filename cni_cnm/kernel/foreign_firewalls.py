"""The packet filters of other programs on this host: iptables in nf_tables and legacy, and firewalld.

Whether anything changed there is seen without starting a process (nft_handles.py, xtables.py); only what has changed is
read with the programs' own tools.
"""

from __future__ import annotations

from functools import partial

from cni_cnm.errors import KernelError
from cni_cnm.kernel import xtables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cni_cnm.kernel.contract.element import Handle
    from cni_cnm.kernel.contract.nft import Nft
    from cni_cnm.model import Json

_FORWARD = ("ip FORWARD", "ip6 FORWARD")
_FIREWALLD = "inet firewalld"
_FAMILIES = {"iptables": "ip", "ip6tables": "ip6"}


class KernelForeignFirewalls:
    """Of the calling thread's namespace, which is that of `nft`."""

    def __init__(self, nft: Callable[[], Nft]) -> None:
        self._nft = nft

    def stamp(self, chains: Sequence[str]) -> Json:
        names = [*_FORWARD, *(name for name in chains if name not in _FORWARD)]
        seen: Sequence[Handle | None]
        try:
            seen = self._nft().handles([_FIREWALLD, *(name.replace(" ", " filter ", 1) for name in names)])
        except KernelError:  # no nf_tables at all
            seen = [None] * (1 + len(names))
        legacy = xtables.stamps()
        if not any(seen) and not any(legacy):
            return []
        return [*(list(one) if one else None for one in seen), *legacy]

    def rewrite(self, change: Callable[[str, str], str]) -> None:
        from cni_cnm.kernel import iptables

        nft = self._nft().handles([f"{family} filter FORWARD" for family in _FAMILIES.values()])
        legacy = xtables.stamps()
        there = {family: (nft[number], legacy[number]) for number, family in enumerate(_FAMILIES)}
        for variant in iptables.variants():
            family = variant.removesuffix("-legacy")
            if any(there[family]):
                name = "" if variant != family or not there[family][0] else _FAMILIES[family]
                iptables.rewrite(variant, partial(change, name), "filter")

    def firewalld(self) -> bool:
        return self._nft().handles([_FIREWALLD])[0] is not None

    def trust(self, link: str, zone: str) -> None:
        from cni_cnm.kernel import firewalld

        firewalld.trust(link, zone or firewalld.TRUSTED)

    def trusts(self, link: str, zone: str) -> bool | None:
        from cni_cnm.kernel import firewalld

        return firewalld.trusts(link, zone or firewalld.TRUSTED)

    def forget(self, link: str, zone: str) -> None:
        from cni_cnm.kernel import firewalld

        firewalld.forget(link, zone or firewalld.TRUSTED)
