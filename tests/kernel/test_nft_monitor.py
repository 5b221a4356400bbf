"""The kernel's word about nftables: what other programs did to tables, chains, rules, and to elements of ours."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest

from cni_cnm.firewall import TABLES, masquerade
from cni_cnm.kernel.contract.changes import NOTHING, FilterChange
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.kernel.nftables.nft_monitor import NftMonitor
from tests.kernel.lab import Lab

OURS = "inet cni_cnm"
RULES = FilterChange(rules=True)
ADDED = FilterChange(added=True)
SET = f"add table {OURS}; add set {OURS} s {{ type inet_service; }}; add chain {OURS} c; add rule {OURS} c accept"


@pytest.fixture
def changes(lab: Lab) -> Iterator[NftMonitor]:
    made = lab.host.call(lambda: NftMonitor(TABLES, "cni-cnm"))
    yield made
    made.close()


def alone(lab: Lab, changes: NftMonitor, command: str) -> FilterChange:
    """What is told of a command that certainly tells something."""
    lab.host.run("nft", command)
    poll = select.poll()
    poll.register(changes, select.POLLIN)
    assert poll.poll(20_000), "it is told"
    return changes.take()


@pytest.mark.parametrize("table", ["inet t", OURS])
def test_tables_chains_and_rules(lab: Lab, changes: NftMonitor, table: str) -> None:
    """Each one, made or gone, by whomever; what is gone from a table of ours is told apart."""
    for command, broken in (
        (f"add table {table}", False),
        (f"add chain {table} c {{ type filter hook input priority 0; }}", False),
        (f"add rule {table} c accept", False),
        (f"flush chain {table} c", True),
        (f"add set {table} s {{ type inet_service; }}", None),
        (f"delete set {table} s", True),
        (f"delete chain {table} c", True),
    ):
        change = alone(lab, changes, command)
        if broken is None:
            assert change == NOTHING, command
        else:
            assert change.rules or "set" in command, command
            assert change.broken == (broken and table == OURS), command
    assert alone(lab, changes, "flush ruleset").rules


def test_removed_elements_are_told_with_their_owners(lab: Lab, changes: NftMonitor) -> None:
    """Of our tables: deleted or flushed, with and without a comment. Added ones are told as a fact."""
    assert alone(lab, changes, SET) == RULES
    assert alone(lab, changes, f'add element {OURS} s {{ 80 comment "aaa one", 81 comment "bbb two", 82 }}') == ADDED
    assert alone(lab, changes, f"delete element {OURS} s {{ 80 }}") == FilterChange(owners=frozenset({"aaa"}))
    assert alone(lab, changes, f"flush set {OURS} s") == FilterChange(owners=frozenset({"bbb", ""}))
    assert alone(lab, changes, SET.replace(OURS, "ip t")) == RULES
    assert alone(lab, changes, "add element ip t s { 80 }; delete element ip t s { 80 }") == NOTHING


def test_chains_with_a_hook(lab: Lab, changes: NftMonitor) -> None:
    """Of any table; a chain without a hook changes no packet's way by itself."""
    alone(lab, changes, "add table inet t")
    assert not alone(lab, changes, "add chain inet t plain").hooks
    assert alone(lab, changes, "add chain inet t c { type filter hook forward priority 0; }").hooks
    assert not alone(lab, changes, "delete chain inet t c").hooks


def test_our_own_changes_are_none(lab: Lab, changes: NftMonitor) -> None:
    """Whatever a program of our name does, in this process or in another one."""
    from ipaddress import ip_interface

    nft = KernelNft(lab.host.fd)
    transaction = masquerade.add("a" * 12, "label", [ip_interface("10.0.0.5/24")])
    with open("/proc/thread-self/comm") as file:
        name = file.read().strip()
    watching = lab.host.call(lambda: NftMonitor(TABLES, name))
    nft.commit(transaction)
    nft.commit(transaction)
    nft.commit(transaction._replace(put=(), remove=transaction.put))
    nft.delete_table(OURS)
    poll = select.poll()
    poll.register(watching, select.POLLIN)
    assert poll.poll(20_000), "it is told"
    assert watching.take() == NOTHING
    assert changes.take().broken, "and another one's it would be"
    watching.close()


def test_so_many_that_some_are_lost(lab: Lab, changes: NftMonitor) -> None:
    """Anything may have changed then."""
    lab.host.run("nft", "-f", "-", text=SET)
    many = ", ".join(f'{port} comment "{port:012x} {"x" * 100}"' for port in range(1, 20_000))
    lab.host.run("nft", "-f", "-", text=f"add element {OURS} s {{ {many} }}\nflush set {OURS} s\n")
    change = changes.take()
    assert change.broken or len(change.owners) == 19_999
