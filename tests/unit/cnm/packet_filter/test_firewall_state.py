"""What is recorded of the packet filter when all is well, and what counts as a difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.cnm.host import Host
from cni_cnm.cnm.packet_filter import firewall_state
from cni_cnm.firewall import masquerade
from cni_cnm.kernel.contract.element import Transaction
from cni_cnm.state.store import FIREWALL
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.nft import MemoryNft

DECLARE = masquerade.add("a" * 64, "net/c1/eth0", ()).declare


def host_of(folder: Path, nft: MemoryNft, epoch: str = "epoch") -> Host:
    return memory_host(folder, nft=nft, epoch=epoch)


@pytest.fixture
def nft() -> MemoryNft:
    made = MemoryNft()
    made.commit(Transaction(DECLARE), declare=True)
    return made


def test_nothing_recorded_is_a_difference(tmp_path: Path, nft: MemoryNft) -> None:
    """The first ADD of an epoch puts everything in."""
    host = host_of(tmp_path, nft)
    assert not firewall_state.is_intact(host, firewall_state.load(host))
    assert not firewall_state.is_declared(firewall_state.load(host), DECLARE)


def test_what_is_remembered_is_compared(tmp_path: Path, nft: MemoryNft) -> None:
    """Intact until the tables are deleted; what another epoch recorded is void."""
    host = host_of(tmp_path, nft)
    firewall_state.remember(host, DECLARE)
    state = firewall_state.load(host)
    assert state.chains == tuple(firewall_state.base_chains(DECLARE)) != ()
    assert firewall_state.is_declared(state, DECLARE)
    assert firewall_state.is_intact(host, state)
    assert firewall_state.load(host_of(tmp_path, nft, "next")) == firewall_state.State()
    for table in state.tables:
        nft.delete_table(table)
    assert not firewall_state.is_intact(host, state)


def test_whose_rules_are_there(tmp_path: Path, nft: MemoryNft) -> None:
    """CHECK compares rules only where this program is known to have written them: another release has fewer."""
    host = host_of(tmp_path, nft)
    assert not firewall_state.has_written(host)
    firewall_state.remember(host, DECLARE)
    assert firewall_state.has_written(host)
    assert not firewall_state.has_written(host_of(tmp_path, nft, "next"))
    raw = dict(host.store.get(FIREWALL, "state") or {})
    del raw["rules"]
    host.store.put(FIREWALL, "state", raw)
    assert not firewall_state.has_written(host), "0.1.0"
    Path(host.store.place(FIREWALL, "state")).write_bytes(b"{")
    assert not firewall_state.has_written(host)


def test_keys_on_disk_are_those_of_0_1_0(tmp_path: Path, nft: MemoryNft) -> None:
    """The stamp of other firewalls is written under `others`; 0.1.0 passes over the keys that it did not have."""
    host = host_of(tmp_path, nft)
    firewall_state.remember(host, DECLARE)
    raw = host.store.get(FIREWALL, "state")
    assert raw is not None
    of_0_1_0 = {"epoch", "tables", "chains", "declared", "others", "watched", "accepted"}
    assert set(raw) == of_0_1_0 | {"obstacles", "rules", "bridges", "foreign", "rule_counts"}
    host.store.put(FIREWALL, "state", {key: raw[key] for key in of_0_1_0})
    assert firewall_state.load(host) == firewall_state.State(rules=0), "what 0.1.0 left is restored as a whole"
    assert firewall_state.load(host).rules != firewall_state.RULES, "until then CHECK does not compare rules"
    assert not firewall_state.is_intact(host, firewall_state.load(host))
