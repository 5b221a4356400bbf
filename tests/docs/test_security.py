"""The page about security: what it names is there, and the unit is as it says."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.program import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
UNIT = ROOT / "conf" / "cni-cnm.service"


def directive(name: str) -> list[str]:
    """The words of all lines of a directive of the unit."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    return [word for line in lines if line.startswith(f"{name}=") for word in line.partition("=")[2].split()]


def test_the_figure_of_the_unit() -> None:
    """As systemd computes it; releases of systemd differ, so only the named one is compared."""
    stated = re.search(r"gives \*\*([\d.]+)\*\* \(systemd (\d+);", PAGE)
    assert stated is not None
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    version = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
    if f"systemd {stated[2]} " not in version:
        pytest.skip(f"the figure is of systemd {stated[2]}")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", UNIT], capture_output=True, text=True, check=True
    )
    assert f"Overall exposure level for cni-cnm.service: {stated[1]} " in done.stdout


def test_files_that_it_names() -> None:
    """Each is there."""
    named = re.findall(r"`((?:cni_cnm|tests|conf|scripts|build)/[\w/.\-]+)`", PAGE)
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_address_families_of_the_unit() -> None:
    """Every one that the program opens a socket of, and AF_PACKET for those that it starts."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "cni_cnm").rglob("*.py")]
    sources.append((ROOT / "build" / "relay.c").read_text(encoding="utf-8"))
    used = {name for text in sources for name in re.findall(r"\bsocket\(\s*(?:_?socket\.)?(AF_\w+)", text)}
    assert used
    assert used | {"AF_PACKET"} <= set(directive("RestrictAddressFamilies"))


def test_what_the_unit_takes_away() -> None:
    """Only by lists of what is refused: an IPAM executable may need anything else."""
    for name in ("CapabilityBoundingSet", "SystemCallFilter"):
        assert [word for word in directive(name) if word.startswith("~")], name
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    for name in ("CapabilityBoundingSet", "SystemCallFilter"):
        assert all(line.startswith(f"{name}=~") for line in lines if line.startswith(f"{name}=")), name
    assert not re.search(
        r"^(NoNewPrivileges|Private\w+|Protect\w+|MemoryDeny\w+|RestrictNamespaces)=", "\n".join(lines), re.MULTILINE
    )
