"""Other programs' firewalls that may drop the VXLAN packets of other hosts. They are named, and never changed."""

from __future__ import annotations

from cni_cnm.firewall import foreign_drops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_cnm.kernel import ForeignFirewalls


def of_ports(firewalls: ForeignFirewalls, ports: Iterable[int]) -> list[str]:
    """A sentence for each chain of the hook `input` that drops by default what its rules do not accept."""
    read = foreign_drops.reader(firewalls)
    shown = " and ".join(map(str, sorted(set(ports))))
    return [
        f"the chain {chain.name} of the nftables table {chain.family} {chain.table} drops by default what its rules do "
        f"not accept, {'and they do not accept' if certain else 'and cni-cnm cannot tell whether they accept'} "
        f"UDP packets of other hosts to port {shown}"
        for chain, certain in (foreign_drops.of_input(firewalls.base_chains(), read) if shown else ())
    ]
