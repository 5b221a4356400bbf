"""`ours` and `reference`: two nodes, one implementation each. `newest`: the folder of the newest reference plugins.

Ours is called as `cni-cnm`, and with `--long` also by the names of the reference plugins.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cni_cnm.cni import names
from tests.differential.paths import Party
from tests.names import drop_in
from tests.program import ROOT, program
from tests.side import REFERENCE, Side, require_reference

CALLED_AS = ("cni-cnm", pytest.param("names", marks=pytest.mark.long))


@pytest.fixture(params=CALLED_AS)
def ours(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Side]:
    if os.geteuid():
        pytest.skip("network namespaces need root")
    side = our_side(tmp_path, "bridge" if request.param == "names" else "")
    yield side
    side.close()


def our_side(folder: Path, name: str = "", originals: Path = REFERENCE) -> Side:
    """A node with the program under test, called by a reference plugin's name if one is given."""
    if not name:
        return Side(program(folder), "cni-cnm", (originals,))
    links = drop_in(folder, ("cni-cnm", *names.MODULES))
    return Side(links / name, name, (originals,), names=links)


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
