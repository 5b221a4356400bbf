"""docs/runtimes.md: each setting is the one that `scripts/install` prints, and each test that a row names exists."""

from __future__ import annotations

import re

from tests.program import ROOT
from tests.runtimes.callers import CALLERS

PAGE = (ROOT / "docs/runtimes.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """The cells of each row of the table under a heading, by the first one."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]
    return {first: others for first, *others in cells}


def test_settings_are_those_that_the_installation_prints() -> None:
    printed = (ROOT / "scripts/install").read_text(encoding="utf-8")
    settings = {name: cells[1].strip("`") for name, cells in rows("Settings").items()}
    for name in (
        "containerd 2.1 and later (CRI)",
        "containerd before (CRI)",
        "CRI-O",
        "nerdctl",
        "podman before 5, CNI",
    ):
        assert f"    {settings[name]}\n" in printed, name
    assert all("/opt/cni/drop-in" in setting for setting in settings.values() if "=" in setting)


def test_each_row_names_its_tests() -> None:
    """Or it has none and says so. What is played is in the table of calls."""
    named = rows("What works")
    for name, (works, fails, tried) in named.items():
        files = re.findall(r"`(tests/[^`]+)`", tried)
        assert files or "not tried" in fails, name
        assert [file for file in files if not (ROOT / file).exists()] == [], name
        if works.startswith("played"):
            caller = name.partition(" ")[0].partition("'")[0].lower()
            assert caller in CALLERS, name
            assert "tests/runtimes/test_callers.py" in files
