"""Versions of the program that a test runs side by side, each from source: this checkout and a released commit."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

from tests.program import LAUNCHER, ROOT

RELEASES = {"0.1.0": "614c9848ed7151e63b68fcbcb060f9f9649975d0"}


class Version(NamedTuple):
    root: Path
    """The folder that has the package `cni_cnm`."""
    program: Path

    @classmethod
    def of(cls, root: Path, folder: Path) -> Version:
        """The program of `root`, with its launcher in `folder`."""
        launcher = folder / "cni-cnm"
        folder.mkdir(parents=True, exist_ok=True)
        launcher.write_text(LAUNCHER.format(python=sys.executable, root=str(root)), encoding="utf-8")
        launcher.chmod(0o755)
        return cls(root, launcher)


def this(folder: Path) -> Version:
    return Version.of(ROOT, folder / "this")


def released(name: str, folder: Path) -> Version | None:
    """A release from the history of this repository; None where the history does not reach back to it."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", RELEASES[name], "cni_cnm"], capture_output=True, check=False
    )
    if archive.returncode:
        return None
    root = folder / name
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(root, filter="data")
    return Version.of(root, root / "bin")
