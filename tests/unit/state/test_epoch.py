"""The epoch: named by boot and pid 1, begun at the earlier of what the kernel and /run say."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cni_cnm.state import epoch


@pytest.fixture
def proc(tmp_path: Path) -> str:
    """A /proc where pid 1 with a wild name started 100 s after a boot at 1000 s."""
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("b00t\n")
    (tmp_path / "1").mkdir()
    start = 100 * os.sysconf("SC_CLK_TCK")
    (tmp_path / "1/stat").write_text(f"1 (a) R (b) S {' '.join(['0'] * 18)} {start} 77 78\n")
    (tmp_path / "stat").write_text("cpu 1 2\nbtime 1000\nprocesses 5\n")
    return str(tmp_path)


def test_current(proc: str) -> None:
    """Boot id and start of pid 1 name the epoch."""
    assert epoch.current(proc) == f"b00t:{100 * os.sysconf('SC_CLK_TCK')}"
    assert epoch.current() == epoch.current()


def test_started_by_the_kernel(proc: str, tmp_path: Path) -> None:
    """With a /run that is younger, or none, the start of pid 1 counts."""
    assert epoch.started(proc, str(tmp_path / "none")) == 1100 - epoch.MARGIN_S
    assert epoch.started(proc, str(tmp_path)) == 1100 - epoch.MARGIN_S


def test_started_by_run(proc: str, tmp_path: Path) -> None:
    """A clock set forward makes the kernel's boot time too late: the oldest entry of /run is then the bound."""
    (tmp_path / "stat").write_text(f"btime {int(time.time()) + 10000}\n")
    run = tmp_path / "run"
    run.mkdir()
    (run / "old").touch()
    bound = (run / "old").stat().st_ctime
    (run / "young").touch()
    assert epoch.started(proc, str(run)) == bound - epoch.MARGIN_S


def test_this_host() -> None:
    """On the host the tests run on, the epoch began before now."""
    assert epoch.started() < time.time()
