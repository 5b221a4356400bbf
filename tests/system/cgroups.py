"""The control groups of a node's containers. They are the machine's, and stay there when the node has ended."""

from __future__ import annotations

import time
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OF_TESTS = "cni-cnm-test-"
_LIMIT_S = 5.0


def of_processes(proc: Path) -> set[str]:
    """Paths of the groups of all processes below a procfs. Not those that this process is in."""
    found = set[str]()
    for process in proc.glob("[0-9]*"):
        found |= _of(process)
    return found - _of(Path("/proc/self")) - {"/"}


def remove(paths: set[str]) -> None:
    """Those that have no process any more, in each hierarchy, once the last ones have ended."""
    roots = (_ROOT, *_ROOT.glob("*"))
    left = sorted({root / path[1:] for path in paths for root in roots}, reverse=True)  # a group before its parent
    end = time.monotonic() + _LIMIT_S
    while left := [folder for folder in left if not _removed(folder)]:
        if time.monotonic() > end:
            return
        time.sleep(0.02)


def _of(process: Path) -> set[str]:
    try:
        lines = (process / "cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return set()  # it has ended
    return {line.split(":", 2)[2] for line in lines}


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
        if folder.parent.name.startswith(_OF_TESTS):
            folder.parent.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return not folder.exists()
    return True
