"""Other programs' firewalls that may drop the VXLAN packets of other hosts. They are named, and never changed."""

from __future__ import annotations

from cni_cnm.firewall import foreign_drops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni_cnm.kernel import ForeignFirewalls
    from cni_cnm.kernel.contract.filter_rules import BaseChain, FilterRule


def of_ports(firewalls: ForeignFirewalls, ports: Iterable[int]) -> list[str]:
    """A sentence for each chain of the hook `input` that drops by default what its rules do not accept."""
    known: dict[tuple[str, str, str], Sequence[FilterRule]] = {}

    def rules_of(base: BaseChain, name: str) -> Sequence[FilterRule]:
        place = (base.family, base.table, name)
        if place not in known:
            known[place] = firewalls.rules(*place)
        return known[place]

    shown = " and ".join(map(str, sorted(set(ports))))
    return [
        f"the chain {chain.name} of the nftables table {chain.family} {chain.table} drops by default what its rules do "
        f"not accept, {'and they do not accept' if certain else 'and cni-cnm cannot tell whether they accept'} "
        f"UDP packets of other hosts to port {shown}"
        for chain, certain in (foreign_drops.of_input(firewalls.base_chains(), rules_of) if shown else ())
    ]
