"""Processes as /proc shows them: the owner of a call, which is the first ancestor process that is no shell
(docs/decisions/0012-owner.md), and which process a pid stands for.
"""

from __future__ import annotations

import os

SHELLS = {"ash", "bash", "busybox", "cni-cnm", "csh", "dash", "env", "fish", "ksh", "mksh", "sh", "sudo", "tcsh", "zsh"}
DEPTH_MAX = 64
UNKNOWN = "unknown"


def owner_of_caller(pid: int | None = None) -> str:
    """Name (comm, at most 15 bytes) of the first process from `pid` up that is no shell, else "unknown".

    `pid` None: the parent. `env` and `sudo` count as shells: they only start another program.
    """
    current = os.getppid() if pid is None else pid
    for _ in range(DEPTH_MAX):
        found = _status(current)
        if found is None:
            break
        name, parent = found
        if name.lstrip("-") not in SHELLS:
            return name
        current = parent
    return UNKNOWN


def parent_of(pid: int) -> int:
    """The parent's pid; 0 when the process is gone or its parent is outside our pid namespace."""
    found = _status(pid)
    return found[1] if found else 0


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since the boot; 0 when it is gone. A later process of the pid has
    another one (proc_pid_stat(5), field 22).
    """
    found = _stat(pid)
    return int(found[1][19]) if found else 0


def _status(pid: int) -> tuple[str, int] | None:
    """Name and parent; None when the process is gone."""
    found = _stat(pid)
    return (found[0], int(found[1][1])) if found else None


def _stat(pid: int) -> tuple[str, list[str]] | None:
    """The name, and the fields from the third one on. The name stands in brackets and may contain brackets."""
    if pid <= 0:
        return None
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read().decode(errors="replace")
    except OSError:
        return None
    head, _, rest = line.rpartition(")")
    return head.partition("(")[2], rest.split()
