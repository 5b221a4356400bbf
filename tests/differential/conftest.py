"""`ours` and `reference`: two nodes, one implementation each. `newest`: the folder of the newest reference plugins."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential.paths import Party
from tests.program import ROOT, program
from tests.side import REFERENCE, Side, require_reference


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Side]:
    if os.geteuid():
        pytest.skip("network namespaces need root")
    side = Side(program(tmp_path), "cni-cnm", (REFERENCE,))
    yield side
    side.close()


@pytest.fixture
def reference() -> Iterator[Side]:
    if os.geteuid():
        pytest.skip("network namespaces need root")
    require_reference()
    side = Side(REFERENCE / "bridge", "bridge")
    yield side
    side.close()


@pytest.fixture(scope="session")
def newest() -> Path:
    done = subprocess.run([ROOT / "scripts/reference"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    return Path(done.stdout.strip())


@pytest.fixture
def parties(ours: Side, reference: Side) -> tuple[Party, Party]:
    """Both, each with another host beside it: ours, the reference."""
    return Party(ours), Party(reference)
