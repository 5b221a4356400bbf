"""The programs that `scripts/reference` has built from modules."""

from __future__ import annotations

import subprocess
from functools import cache

from tests.program import ROOT


@cache
def built(what: str) -> tuple[str, str]:
    """Their folder and "", or "" and why there is none."""
    command = [str(ROOT / "scripts/reference"), "--built", what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.strip(), "") if done.returncode == 0 else ("", done.stderr.strip())
