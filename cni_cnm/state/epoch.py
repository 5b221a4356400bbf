"""The epoch: one run of the host, between two starts of its pid 1.

Kernel objects, and the containers that hold leases, do not outlive it; records and leases on a disk do. A
reboot changes the boot id; a node that is itself a container (kind) restarts without one, so the start of pid
1 counts too.
"""

from __future__ import annotations

import os

MARGIN_S = 5.0
"""File systems stamp with a coarse clock, and early boot sets the clock: doubt is decided for the lease."""


_known: dict[str, str] = {}


def current(proc: str = "/proc") -> str:
    """The name of this epoch: boot id and start time of pid 1 in clock ticks, joined by a colon.

    Read once: no process outlives it.
    """
    found = _known.get(proc)
    if found is None:
        with open(f"{proc}/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot_id = file.read().strip()
        found = _known[proc] = f"{boot_id}:{_init_start_ticks(proc)}"
    return found


def started(proc: str = "/proc", run: str = "/run") -> float:
    """Seconds since 1970: a file modified before is surely of an earlier epoch.

    A clock set forward after boot moves the kernel's idea of the boot time later than files written since, so
    the oldest entry of /run, made anew in each epoch, counts as well and the earlier of the two wins: an
    address that stays reserved too long is found again by DEL, one given out twice breaks two containers.
    """
    by_kernel = _boot_time(proc) + _init_start_ticks(proc) / os.sysconf("SC_CLK_TCK")
    return min([by_kernel, *_change_times(run)]) - MARGIN_S


def _init_start_ticks(proc: str) -> int:
    with open(f"{proc}/1/stat", encoding="utf-8", errors="replace") as file:
        after_name = file.read().rpartition(")")[2]  # the name itself may hold spaces and parentheses
    return int(after_name.split()[22 - 3])  # proc(5): field 22, counted from field 3, the state


def _boot_time(proc: str) -> int:
    with open(f"{proc}/stat", encoding="ascii") as file:
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
