"""The epoch: one run of the host, from one start of its pid 1 to the next.

Kernel objects and containers do not outlive it; records and leases on a disk do. A reboot changes the boot id. A node
that is itself a container (kind) restarts with the same boot id, so the start time of pid 1 is a part of the epoch.
"""

from __future__ import annotations

import os

MARGIN_S = 5.0
"""Doubt is decided for the lease: file systems have a coarse clock, and the clock is set early in the boot."""

_known: dict[str, str] = {}


def current(proc: str = "/proc") -> str:
    """The name of this epoch, `BOOT_ID:TICKS`: the start time of pid 1 is in clock ticks. Read once a process."""
    found = _known.get(proc)
    if found is None:
        with open(f"{proc}/sys/kernel/random/boot_id", encoding="utf-8") as file:
            boot_id = file.read().strip()
        found = _known[proc] = f"{boot_id}:{_init_start_ticks(proc)}"
    return found


def started(proc: str = "/proc", run: str = "/run") -> float:
    """The start of this epoch in seconds since 1970: a file modified before is certainly of an earlier one.

    A clock that is set forward after the boot makes the kernel's boot time too late. So the oldest entry of /run, which
    is made anew in each epoch, counts as well, and the earlier of the two is returned. Too early is harmless: DEL
    releases a lease that is kept too long. Too late would give one address to two containers.
    """
    by_kernel = _boot_time(proc) + _init_start_ticks(proc) / os.sysconf("SC_CLK_TCK")
    return min([by_kernel, *_change_times(run)]) - MARGIN_S


def _init_start_ticks(proc: str) -> int:
    with open(f"{proc}/1/stat", encoding="utf-8", errors="replace") as file:
        after_name = file.read().rpartition(")")[2]  # a name may have spaces and parentheses
    return int(after_name.split()[22 - 3])  # proc(5): field 22, counted from field 3, the state


def _boot_time(proc: str) -> int:
    with open(f"{proc}/stat", encoding="utf-8") as file:
        for line in file:
            if line.startswith("btime "):
                return int(line.split()[1])
    return 0


def _change_times(folder: str) -> list[float]:
    times = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    times.append(entry.stat(follow_symlinks=False).st_ctime)
                except OSError:
                    continue
    except OSError:
        return []
    return times
