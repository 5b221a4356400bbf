"""The rules against reflected broadcasts: written once, and a kernel that cannot have them serves pods all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cni_cnm.cnm.packet_filter import firewall_reconcile
from cni_cnm.cnm.reconcile.changed import Changed
from cni_cnm.cnm.reconcile.reconcile import compare, reconcile
from cni_cnm.errors import KernelFeatureMissing
from cni_cnm.firewall import BRIDGE, INET
from cni_cnm.kernel.contract.changes import FilterChange
from cni_cnm.model import IpamSpec, NetworkSpec
from tests.memory_kernel.nft import MemoryNft
from tests.unit.drivers.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from cni_cnm.kernel import Transaction

GUARDED = NetworkSpec(
    "net", "bridge", {"profile": "cnm", "macspoofchk": True}, IpamSpec("host-local", {"subnet": "10.1.0.0/24"})
)
NETWORK = NetworkSpec("net", "bridge", {"profile": "cnm"}, IpamSpec("host-local", {"subnet": "10.1.0.0/24"}))


def test_the_rules_come_with_the_first_endpoint(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.attach(NETWORK).warnings == world.attach(NETWORK, "b").warnings == ()
    assert (BRIDGE, "reflection") in world.nft.chains


@pytest.mark.parametrize("tables", [(BRIDGE, INET), (BRIDGE,)], ids=" and ".join)
def test_they_come_back_with_what_else_is_missing(tmp_path: Path, tables: tuple[str, ...]) -> None:
    """Flushed while all elements were compared, the tables have as many rules as recorded when that has ended."""
    world = World(tmp_path)
    world.attach(GUARDED)
    world.nft.chains -= {place for place in world.nft.chains if place[0] in tables}
    world.nft.counts = {place: count for place, count in world.nft.counts.items() if place[0] not in tables}
    assert firewall_reconcile.put_back_missing(world.controller.host)
    assert (BRIDGE, "reflection") in world.nft.chains


def test_they_come_back_when_nothing_else_is_missing(tmp_path: Path) -> None:
    """Of a network with no other rules for bridges no element and no recorded table tells of it."""
    world = World(tmp_path)
    world.attach(NETWORK)
    written = {place: count for place, count in world.nft.counts.items() if place[0] == BRIDGE}
    world.nft.delete_table(BRIDGE)
    removed = Changed(packet_filter=FilterChange(rules=True, broken=True))
    [found] = compare(world.engine, removed)
    assert found.sentence == (
        f"the packet filter: 2 of 2 rules are missing from reflected in {BRIDGE}, "
        f"1 of 1 rules are missing from reflection in {BRIDGE}"
    )
    assert [one.result for one in reconcile(world.engine, removed)] == ["repaired"]
    assert {place: count for place, count in world.nft.counts.items() if place[0] == BRIDGE} == written
    assert list(reconcile(world.engine, removed)) == []


def test_without_networks_they_are_not_missing(tmp_path: Path) -> None:
    """An operator who removes our tables after the last network does not get them back."""
    world = World(tmp_path)
    world.attach(NETWORK)
    world.detach(NETWORK)
    world.controller.network("net").delete()
    world.nft.delete_table(BRIDGE)
    assert list(reconcile(world.engine)) == []
    assert (BRIDGE, "reflection") not in world.nft.chains


def test_a_kernel_without_nftables_for_bridges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first endpoint has a warning, the next has none, and no table is made."""
    real = MemoryNft.commit

    def commit(self: MemoryNft, transaction: Transaction, *, declare: bool = False) -> None:
        if declare and f"add table {BRIDGE}" in transaction.declare:
            raise KernelFeatureMissing(
                "this kernel has no nf_tables for bridges", hint="enable CONFIG_NF_TABLES_BRIDGE"
            )
        real(self, transaction, declare=declare)

    monkeypatch.setattr(MemoryNft, "commit", commit)
    world = World(tmp_path)
    [warning] = world.attach(NETWORK).warnings
    assert "broadcasts" in warning
    assert "no nf_tables for bridges" in warning
    assert world.attach(NETWORK, "b").warnings == ()
    assert (BRIDGE, "reflection") not in world.nft.chains
    assert list(compare(world.engine)) == []
    world.check(NETWORK, "b")
