"""Packages of the program, and root file systems of Debian to install them in.

built("deb", "rpm")        those of this checkout, by scripts/package
earlier("deb", folder)     one of an earlier version, with this program: what an upgrade replaces
tree("trixie")             a minimal Debian in a folder, made by scripts/trees
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cni_cnm import __version__
from tests.program import ROOT

EARLIER = "0.1.9"
SUFFIXES = {"deb": f"cni-cnm_{{}}-1_{os.uname().machine.replace('x86_64', 'amd64').replace('aarch64', 'arm64')}.deb",
            "rpm": f"cni-cnm-{{}}-1.{os.uname().machine}.rpm", "image": "cni-cnm-{}.oci.tar"}  # fmt: skip


def built(*kinds: str, root: Path = ROOT, version: str = __version__) -> list[Path]:
    """The archives of this checkout, or of the one in `root`."""
    environ = {**os.environ, "CNI_CNM_VENV": sys.prefix, "SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run([root / "scripts/package", *kinds], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [root / "dist/packages" / SUFFIXES[kind].format(version) for kind in kinds]


def earlier(kind: str, folder: Path) -> Path:
    """The archive of a version before this one. Its program is this one."""
    checkout = folder / "earlier"
    for name in ("cni_cnm", "build", "conf", "docs", "scripts"):
        shutil.copytree(ROOT / name, checkout / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    lib = checkout / "dist/lib/cni-cnm"
    shutil.copytree(ROOT / "dist/lib/cni-cnm" / __version__, lib / EARLIER, copy_function=os.link)
    shutil.copy(ROOT / "dist/stamp", checkout / "dist")
    (lib / "current").symlink_to(EARLIER)
    return built(kind, root=checkout, version=EARLIER)[0]


def tree(suite: str) -> Path:
    """Its folder, which is not to be changed (Node(tree=…) works on a copy in memory)."""
    cache = Path(os.environ.get("CNI_CNM_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "cni-cnm"))
    made = cache.expanduser() / f"debian-{suite}"
    if not made.exists():
        pytest.skip(f"no tree of Debian {suite}: scripts/trees makes it")
    return made
