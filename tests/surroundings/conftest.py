"""A node with the program under test; the reference's executables are on its CNI_PATH, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import program
from tests.side import REFERENCE, Side


@pytest.fixture
def side(require_root: None, tmp_path: Path) -> Iterator[Side]:
    """Without containers; `side.container(name)` makes one."""
    made = Side(program(tmp_path), "cni-cnm", (REFERENCE,))
    yield made
    made.close()
