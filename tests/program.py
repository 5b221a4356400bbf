"""The program under test, as an executable file: every test that calls the plugin can run against each form of it.

CNI_CNM_UNDER_TEST=source    (default) the checkout, through this interpreter, isolated as the bundle is
CNI_CNM_UNDER_TEST=bundle    dist/bin/cni-cnm without a service: the relay executes the built program
CNI_CNM_UNDER_TEST=service   dist/bin/cni-cnm in front of a running service, one in each node (tests/side.py)
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAUNCHER = """#!{python} -I
import sys
sys.path.insert(0, {root!r})
from cni_cnm.__main__ import main
sys.exit(main())
"""


def form() -> str:
    chosen = os.environ.get("CNI_CNM_UNDER_TEST", "source")
    if chosen not in ("source", "bundle", "service"):
        raise ValueError(f"CNI_CNM_UNDER_TEST is {chosen!r}, it must be source, bundle or service")
    return chosen


@cache
def built() -> Path:
    """The folder of the built executables, from the sources as they are."""
    environ = {**os.environ, "CNI_CNM_VENV": sys.prefix}
    subprocess.run([ROOT / "scripts" / "build"], check=True, env=environ, capture_output=True)
    return ROOT / "dist" / "bin"


def program(folder: Path, name: str = "cni-cnm") -> Path:
    """The executable's path; `folder` is where a launcher for the source form may be written."""
    if form() != "source":
        return built() / name
    launcher = folder / name
    if not launcher.exists():
        launcher.write_text(LAUNCHER.format(python=sys.executable, root=str(ROOT)), encoding="utf-8")
        launcher.chmod(0o755)
    return launcher
