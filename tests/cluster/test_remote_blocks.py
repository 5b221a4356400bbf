"""Elements of other hosts' blocks in a packet filter: in memory and the kernel's."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from cni_cnm.cluster.remote_blocks import RemoteBlocks
from cni_cnm.cluster.underlay import RemoteBlock, key_of
from cni_cnm.firewall import INET, comment
from cni_cnm.firewall.remote_blocks import DECLARATION, SETS
from cni_cnm.kernel import Element, Nft, Transaction
from cni_cnm.kernel.nft import KernelNft
from tests.memory_kernel.nft import MemoryNft
from tests.unit.cluster.test_underlay_without_subnets import SIDE

ONE, TWO, SIX = (RemoteBlock(ip_network(text), SIDE) for text in ("10.244.1.0/24", "10.244.2.0/24", "fd10:244:2::/64"))
OTHERS = (
    Element(INET, "unmasqueraded4", "10.244.0.0/24 . 10.9.0.0/16", comment=comment(SIDE.id, SIDE.name)),
    Element(INET, "overlay4", "10.32.0.0/16 . 10.32.0.0/16", comment=comment("2" * 64, "web")),
)
"""Those of records: of this network and of another one."""


@pytest.fixture(params=["memory", "kernel"])
def nft(request: pytest.FixtureRequest) -> Nft:
    if request.param == "kernel":
        request.getfixturevalue("host")
    made: Nft = MemoryNft() if request.param == "memory" else KernelNft()
    made.commit(Transaction(DECLARATION, OTHERS), declare=True)
    return made


def places(nft: Nft) -> set[tuple[str, str]]:
    return {(one.set, one.key) for name in SETS for one in nft.elements(INET, name)} - {
        (one.set, one.key) for one in OTHERS
    }


def blocks(nft: Nft) -> set[str]:
    return {key.partition(" . ")[2] for name, key in places(nft) if name.startswith("overlay_closed")}


def test_whole(nft: Nft) -> None:
    """What lacks is added, what is not wanted any more is removed, and what is of records stays."""
    problems: list[str] = []
    assert RemoteBlocks(nft).whole([ONE, TWO, SIX], problems) == 11
    assert blocks(nft) == {"10.244.1.0/24", "10.244.2.0/24", "fd10:244:2::/64"}
    assert len(places(nft)) == 11
    assert RemoteBlocks(nft).whole([ONE, TWO, SIX], problems) == 0
    assert RemoteBlocks(nft).whole([TWO], problems, keep=True) == 0
    assert RemoteBlocks(nft).whole([TWO], problems) == 6
    assert blocks(nft) == {"10.244.2.0/24"}
    RemoteBlocks(nft).whole([], problems)
    assert places(nft) == set()
    assert {one.key for one in nft.elements(INET, "overlay4")} == {OTHERS[1].key}
    assert {one.key for one in nft.elements(INET, "unmasqueraded4")} == {OTHERS[0].key}
    assert problems == []


def test_put_back(nft: Nft) -> None:
    """After another program has flushed the whole table."""
    problems: list[str] = []
    remote = RemoteBlocks(nft)
    remote.whole([ONE], problems)
    nft.delete_table(INET)
    assert remote.whole([ONE], problems) == 5
    assert blocks(nft) == {"10.244.1.0/24"}
    assert problems == []


def test_changes(nft: Nft) -> None:
    """One comes, one goes, and one gets another gateway."""
    problems: list[str] = []
    remote = RemoteBlocks(nft)
    remote.whole([ONE], problems)
    remote.change({key_of(TWO): (None, TWO), key_of(ONE): (ONE, None)}, problems)
    assert blocks(nft) == {"10.244.2.0/24"}
    moved = TWO._replace(own=SIDE._replace(gateways=()))
    remote.change({key_of(TWO): (TWO, moved)}, problems)
    assert places(nft) == {("overlay_closed4", "0.0.0.0/0 . 10.244.2.0/24")}
    assert problems == []


def test_one_that_cannot_be_put_in_stops_no_other(nft: Nft) -> None:
    """Its elements overlap those of another program's, or of another network's."""
    in_the_way = Element(INET, "overlay_closed4", "0.0.0.0/0 . 10.244.1.128/25", comment="other")
    nft.commit(Transaction(DECLARATION, (in_the_way,)))
    problems: list[str] = []
    RemoteBlocks(nft).whole([ONE, TWO], problems)
    assert "10.244.2.0/24" in blocks(nft)
    assert len(problems) == (1 if isinstance(nft, KernelNft) else 0), problems
