"""The kernel's word about nftables: of tables, chains and rules, not of elements."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest

from cni_cnm.kernel.changes import Changes
from tests.kernel.lab import Lab


@pytest.fixture
def changes(lab: Lab) -> Iterator[Changes]:
    made = lab.host.call(Changes)
    yield made
    made.close()


def told(changes: Changes, limit_s: float) -> bool:
    """Whether anything comes within the limit, and whether it is a change."""
    poll = select.poll()
    poll.register(changes, select.POLLIN)
    return bool(poll.poll(limit_s * 1000)) and changes.take()


def test_tables_chains_and_rules(lab: Lab, changes: Changes) -> None:
    """Each one, made or gone, by whomever."""
    for command in (
        "add table inet t",
        "add chain inet t c { type filter hook input priority 0; }",
        "add rule inet t c accept",
        "flush chain inet t c",
        "flush ruleset",
    ):
        lab.host.run("nft", command)
        assert told(changes, 20), command
        while told(changes, 0):
            pass


def test_elements_are_no_change(lab: Lab, changes: Changes) -> None:
    """What comes and goes with pods wakes nobody for long."""
    lab.host.run("nft", "add table inet t; add set inet t s { type inet_service; }")
    assert told(changes, 20)
    while told(changes, 0):
        pass
    for command in ("add element inet t s { 80 }", "delete element inet t s { 80 }"):
        lab.host.run("nft", command)
        poll = select.poll()
        poll.register(changes, select.POLLIN)
        assert poll.poll(20_000), "it is told"
        assert not changes.take(), "and is none"
