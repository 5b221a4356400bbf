"""Moves this process into a transient scope of systemd, so that it does not end with the unit that started it."""

from __future__ import annotations

import os
from subprocess import DEVNULL, TimeoutExpired, run

_BOOTED = "/run/systemd/system"
"""sd_booted(3)."""
_LIMIT_S = 3.0
"""For a manager or a bus that does not answer."""
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")


def enter(description: str) -> bool:
    """False if no systemd runs, or it does not do it in time: the process stays where it is."""
    if not os.path.isdir(_BOOTED):
        return False
    pid = str(os.getpid())
    properties = ("PIDs", "au", "1", pid, "Description", "s", description, "CollectMode", "s", "inactive-or-failed")
    call = ("StartTransientUnit", "ssa(sv)a(sa(sv))", f"cni-cnm-{pid}.scope", "fail", "3", *properties, "0")
    command = ["busctl", "--system", "--no-pager", f"--timeout={_LIMIT_S:.0f}", "call", *_MANAGER, *call]
    try:
        return run(command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, timeout=_LIMIT_S).returncode == 0
    except (OSError, TimeoutExpired):
        return False
