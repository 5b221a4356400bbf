"""Blocks by number."""

from __future__ import annotations

import pytest

from cni_cnm.cluster import block_index
from cni_cnm.cluster.values import OverlayNetwork
from cni_cnm.model import ip_network

WEB = OverlayNetwork("web", "0" * 32, (ip_network("10.32.0.0/16"), ip_network("fd32::/48")), (24, 64), 4096)


def test_an_index_stands_for_a_block_of_each_version() -> None:
    assert block_index.count(WEB) == 256, "as many as the smaller subnet has"
    assert block_index.subnets_at(WEB, 7) == (ip_network("10.32.7.0/24"), ip_network("fd32:0:0:7::/64"))
    assert block_index.index_of(WEB, block_index.subnets_at(WEB, 255)) == 255


@pytest.mark.parametrize("index", [-1, 256])
def test_no_block_outside_the_network(index: int) -> None:
    with pytest.raises(IndexError):
        block_index.subnets_at(WEB, index)


@pytest.mark.parametrize(
    "subnets",
    [
        (),
        ("10.32.7.0/24",),
        ("10.32.7.0/24", "fd32:0:0:8::/64"),
        ("10.32.7.0/25", "fd32:0:0:7::/64"),
        ("10.33.7.0/24", "fd32:0:0:7::/64"),
        ("10.31.7.0/24", "fd32:0:0:7::/64"),
        ("fd32:0:0:7::/64", "10.32.7.0/24"),
    ],
)
def test_other_subnets_have_no_index(subnets: tuple[str, ...]) -> None:
    assert block_index.index_of(WEB, tuple(map(ip_network, subnets))) is None


def test_a_host_begins_at_the_same_block_each_time_and_tries_every_one() -> None:
    order = list(block_index.preference(WEB, "node1"))
    assert sorted(order) == list(range(256))
    assert order == list(block_index.preference(WEB, "node1"))
    assert len({next(block_index.preference(WEB, f"node{n}")) for n in range(20)}) > 15, "hosts seldom begin alike"
