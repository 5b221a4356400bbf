"""The runtimes, one for all tests of a module."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.program import ROOT
from tests.runtimes import crio as crio_programs
from tests.runtimes import nerdctl as nerdctl_programs
from tests.runtimes.crio import Crio
from tests.runtimes.nerdctl import Nerdctl
from tests.system.fixtures import bundle
from tests.system.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["bundle", "crio", "nerdctl"]


def new_node(reason: str) -> Node:
    """A node without the program; `reason`: why the test is skipped, or ""."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network and mount namespaces")
    if reason:
        pytest.skip(reason)
    return Node()


def node_with(reason: str, *options: str) -> Node:
    """A node with the program as `scripts/install` installs it."""
    node = new_node(reason)
    node.run(str(ROOT / "scripts/install"), *options).ok()
    return node


@pytest.fixture(scope="module")
def crio(bundle: Path) -> Iterator[Crio]:
    node = node_with(crio_programs.missing())
    try:
        found = Crio(node)
        yield found
        found.close()
    finally:
        node.close()


@pytest.fixture(scope="module")
def nerdctl(bundle: Path) -> Iterator[Nerdctl]:
    """As after `scripts/install --drop-in`: its own networks and those of a file of ours."""
    node = node_with(nerdctl_programs.missing(), "--drop-in")
    try:
        with Nerdctl(node) as found:
            yield found
    finally:
        node.close()
