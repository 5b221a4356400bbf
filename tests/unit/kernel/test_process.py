"""Finding out who called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from cni_cnm.kernel.process import owner_of_caller
from tests.program import ROOT

ASK = "from cni_cnm.kernel.process import owner_of_caller; print(owner_of_caller())"


def _comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_shells_are_passed_over() -> None:
    """Shells between us and the caller do not count, however many there are."""
    inner = f"{sys.executable} -c '{ASK}'; true"
    run = subprocess.run(["sh", "-c", f'bash -c "{inner}"; true'], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == _comm(os.getpid())


def test_a_name_with_brackets(tmp_path: Path) -> None:
    """A process may call itself anything: `a) R 1 (b` is a name, not a field."""
    program = tmp_path / "a) R 1 (b"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    child = subprocess.Popen([str(program), "60"])
    try:
        assert owner_of_caller(child.pid) == "a) R 1 (b"
    finally:
        child.kill()
        child.wait()


def test_nobody_is_unknown() -> None:
    """A process that has ended, and the kernel, have no name."""
    child = subprocess.Popen(["true"])
    child.wait()
    assert owner_of_caller(child.pid) == "unknown"
    assert owner_of_caller(0) == "unknown"
    assert owner_of_caller(-1) == "unknown"
