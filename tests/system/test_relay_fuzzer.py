"""The relay as a function: a corpus that covers it is run under sanitizers, and a fuzzer looks for more."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.program import ROOT
from tests.system.relay import SANITIZED

HERE = ROOT / "tests/system/relay_fuzzer"
FUZZING_S = 120


def compile_fuzzer(output: Path, compiler: str, *flags: str) -> None:
    environ = {**os.environ, "CC": compiler, "SOURCE": str(HERE / "fuzz_relay.c")}
    subprocess.run([ROOT / "build/relay.sh", output, *flags], check=True, timeout=120, env=environ)


def test_the_corpus(tmp_path: Path) -> None:
    """No input reads or writes what is not its own, and every branch that depends on an input is among them."""
    if shutil.which("gcc") is None or shutil.which("gcov") is None:
        pytest.skip("needs gcc and gcov")
    inputs = sorted(str(path) for path in (HERE / "corpus").iterdir())
    compile_fuzzer(tmp_path / "replay", "gcc", "-DREPLAY", *SANITIZED)
    done = subprocess.run([tmp_path / "replay", *inputs], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    compile_fuzzer(tmp_path / "covered", "gcc", "-DREPLAY", "-O0", "--coverage")
    subprocess.run([tmp_path / "covered", *inputs], check=True, timeout=120)
    report = subprocess.run(
        ["gcov", "-n", *map(str, tmp_path.glob("*.gcda"))], capture_output=True, text=True, check=True
    )
    lines = report.stdout.partition("build/relay.c'\n")[2].splitlines()
    assert float(lines[0].removeprefix("Lines executed:").partition("%")[0]) >= 80, report.stdout


@pytest.mark.long
def test_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    """From the corpus on, guided by coverage."""
    if shutil.which("clang") is None:
        pytest.skip("needs clang, with the runtime of libFuzzer")
    compile_fuzzer(tmp_path / "fuzzer", "clang", *SANITIZED, "-fsanitize=fuzzer")
    shutil.copytree(HERE / "corpus", tmp_path / "corpus")
    command = [
        str(tmp_path / "fuzzer"),
        f"-max_total_time={FUZZING_S}",
        "-max_len=20000",
        f"-artifact_prefix={tmp_path}/",
    ]
    done = subprocess.run(
        [*command, str(tmp_path / "corpus")], capture_output=True, text=True, timeout=FUZZING_S + 120, check=False
    )
    assert done.returncode == 0, done.stderr[-5000:]
