"""Kubernetes, containerd 2 and etcd as `scripts/reference` has built them."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.program import ROOT


class Programs(NamedTuple):
    """The folders of the programs, or the reason why they are missing."""

    folders: tuple[Path, ...] = ()
    missing: str = ""

    def path(self, name: str) -> str:
        return next(str(folder / name) for folder in self.folders if (folder / name).exists())

    @property
    def environ(self) -> dict[str, str]:
        """With the programs first in PATH."""
        return {"PATH": ":".join([*map(str, self.folders), os.environ["PATH"]])}


@cache
def programs() -> Programs:
    if os.geteuid():
        return Programs(missing="nodes are network and mount namespaces, which need root")
    folders = []
    for what in ("kubernetes", "docker", "etcd"):
        done = subprocess.run(
            [ROOT / "scripts/reference", "--built", what], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return Programs(missing=done.stderr.strip())
        folders.append(Path(done.stdout.strip()))
    return Programs(tuple(folders))
