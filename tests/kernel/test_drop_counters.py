"""Rules that drop count, with real packets, and keep the number when they are written again."""

from __future__ import annotations

from cni_cnm.firewall import INET, isolation
from cni_cnm.kernel import Transaction, merge
from cni_cnm.kernel.nft import KernelNft
from tests.kernel.lab import Lab, lab

__all__ = ["lab"]


def test_isolation_counts_what_it_drops(lab: Lab) -> None:
    """Two isolated bridges: one ping is one packet, and the number stays when the rules are written again."""
    nft = KernelNft(lab.host.fd)
    lab.bridge("br1", "10.1.0.1/24")
    lab.bridge("br2", "10.2.0.1/24")
    one = lab.pod("br1", "veth1", "10.1.0.2/24", gateways=("10.1.0.1",))
    lab.pod("br2", "veth2", "10.2.0.2/24", gateways=("10.2.0.1",))
    networks = merge(*(isolation.add_network(f"{n}", f"net{n}", f"br{n}", isolation.SAME_BRIDGE) for n in (1, 2)))
    nft.commit(networks)
    assert one.ask("10.1.0.1", 9) is None  # to the host: not forwarded, not counted
    assert _packets(nft) == {"internal": 0, "isolation": 0, "foreign": 0, "unpublished": 0}
    assert not one.pings("10.2.0.2")
    nft.commit(Transaction(isolation.declaration()), declare=True)
    assert _packets(nft) == {"internal": 0, "isolation": 1, "foreign": 0, "unpublished": 0}


def _packets(nft: KernelNft) -> dict[str, int]:
    return {counter.name: counter.packets for counter in nft.counters([INET])}
