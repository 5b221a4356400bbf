"""Output that has no reader any more, or had none from the beginning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Each line is written at once, as in an output that is longer than the buffer."""
    folders = "".join(f'{key} = "{tmp_path}/{key}"\n' for key in ("run_dir", "state_dir", "leases_dir"))
    (tmp_path / "config.toml").write_text(folders, encoding="utf-8")
    return {**os.environ, "CNI_CNM_CONFIG": str(tmp_path / "config.toml"), "PYTHONUNBUFFERED": "1"}


def test_a_reader_that_has_enough(environ: dict[str, str]) -> None:
    """The output is written at once, at the end. `doctor | head -1` is no error, and neither is a listing."""
    del environ["PYTHONUNBUFFERED"]
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "cni_cnm", "endpoint", "ls"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environ, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [["conf", "check", "none"], ["endpoint", "ls"], ["conf", "check", "none", "--json"]])
def test_a_reader_that_has_ended(environ: dict[str, str], words: list[str]) -> None:
    """As `head` does: one sentence, which says that the command ended there."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "cni_cnm", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environ, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (
        1,
        "cni-cnm: the reader of the output has ended, so the command has ended, too\n",
    )


def test_another_pipe_that_breaks(environ: dict[str, str]) -> None:
    """Is told as what it is."""
    script = (
        "from cni_cnm import cli\nfrom cni_cnm.cli import conf\n"
        "def broken(_): raise BrokenPipeError(32, 'Broken pipe')\n"
        "conf.check_files = broken\nraise SystemExit(cli.run_command(['cni-cnm', 'conf', 'check', 'none']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environ, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Broken pipe" in done.stderr


@pytest.mark.parametrize("words", ["conf check none", "endpoint ls", "doctor --check clock", "watch --count 1"])
def test_without_an_output(environ: dict[str, str], words: str) -> None:
    """The command is carried out. No file that it opens becomes its output."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    script = f"unshare -n {sys.executable} -m cni_cnm {words} >&-"
    done = subprocess.run(["sh", "-c", script], stderr=subprocess.PIPE, env=environ, text=True, check=False)
    assert "internal error" not in done.stderr
    assert done.returncode in (0, 1, 3)
