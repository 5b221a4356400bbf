"""Blocks of other hosts in a packet filter: in memory and the kernel's."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from cni_cnm.cluster.remote_blocks import RemoteBlocks
from cni_cnm.cluster.underlay import Route, key_of
from cni_cnm.firewall import INET, comment
from cni_cnm.firewall.overlay import declaration
from cni_cnm.firewall.remote_blocks import CHAINS
from cni_cnm.kernel import Element, Nft, Transaction
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.model import ip_interface
from tests.memory_kernel.nft import MemoryNft
from tests.unit.cluster.test_underlay_without_subnets import SIDE

BOTH = SIDE._replace(gateways=(*SIDE.gateways, ip_interface("fd10:244::1/64")))
TEXTS = ("10.244.1.0/24", "10.244.2.0/24", "fd10:244:0:2::/64", "10.244.128.0/20")
ONE, TWO, SIX, WIDE = (
    Route(net, "cnm-vx4096", net.network_address, None, True, BOTH) for net in map(ip_network, TEXTS)
)
OTHER = Element(INET, "overlay4", "10.32.0.0/16 . 10.32.0.0/16", comment=comment("2" * 64, "web"))
"""Of another network."""


@pytest.fixture(params=["memory", "kernel"])
def nft(request: pytest.FixtureRequest) -> Nft:
    if request.param == "kernel":
        request.getfixturevalue("host")
    made: Nft = MemoryNft() if request.param == "memory" else KernelNft()
    made.commit(Transaction(declaration(), (OTHER,)), declare=True)
    return made


def there(nft: Nft) -> set[str]:
    """Set and key of each block."""
    return {f"{one.set} {one.key}" for one in nft.elements(INET) if one.set.startswith("remote")}


def rules(nft: Nft) -> int:
    counts = nft.rules(INET)
    return sum(counts.get(chain, 0) for chain in CHAINS)


def test_whole(nft: Nft) -> None:
    """What lacks is added, what is not wanted any more is removed, and what is of records stays."""
    problems: list[str] = []
    assert RemoteBlocks(nft).whole([ONE, TWO, SIX], problems) == 3
    assert there(nft) == {"remote4_24 10.244.1.0", "remote4_24 10.244.2.0", "remote6_64 fd10:244:0:2::"}
    assert RemoteBlocks(nft).whole([ONE, TWO, SIX], problems) == 0
    assert RemoteBlocks(nft).whole([TWO], problems, keep=True) == 0
    assert len(there(nft)) == 3
    assert RemoteBlocks(nft).whole([TWO], problems) == 2
    assert there(nft) == {"remote4_24 10.244.2.0"}
    RemoteBlocks(nft).whole([], problems)
    assert there(nft) == set()
    assert rules(nft) == 0
    assert nft.elements(INET, OTHER.set) == [OTHER]
    assert problems == []


def test_put_back(nft: Nft) -> None:
    """After another program has flushed the whole table, or a chain."""
    problems: list[str] = []
    remote = RemoteBlocks(nft)
    remote.whole([ONE], problems)
    before = rules(nft)
    nft.delete_table(INET)
    assert remote.whole([ONE], problems) == 1
    assert there(nft) == {"remote4_24 10.244.1.0"}
    assert rules(nft) == before
    nft.commit(Transaction(f"flush chain {INET} {CHAINS[0]}\n"), declare=True)
    remote.whole([ONE], problems)
    assert rules(nft) == before
    assert problems == []


def test_changes(nft: Nft) -> None:
    """One comes and one goes, without a change of rules. A block of another length gets rules of its own."""
    problems: list[str] = []
    remote = RemoteBlocks(nft)
    remote.whole([ONE], problems)
    before = rules(nft)
    assert remote.change({key_of(TWO): (None, TWO), key_of(ONE): (ONE, None)}, problems) == 2
    assert there(nft) == {"remote4_24 10.244.2.0"}
    assert rules(nft) == before
    assert remote.change({key_of(WIDE): (None, WIDE)}, problems) == 1
    assert there(nft) == {"remote4_24 10.244.2.0", "remote4_20 10.244.128.0"}
    assert rules(nft) > before
    assert remote.whole([TWO, WIDE], problems) == 0
    assert problems == []


def test_first_block_by_a_change(nft: Nft) -> None:
    """The agent has started with no other host."""
    problems: list[str] = []
    remote = RemoteBlocks(nft)
    assert remote.whole([], problems) == 0
    assert remote.change({key_of(ONE): (None, ONE)}, problems) == 1
    assert there(nft) == {"remote4_24 10.244.1.0"}
    assert rules(nft) > 0
    assert problems == []
