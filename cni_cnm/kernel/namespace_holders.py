"""What keeps a network namespace in existence: processes that are in it, and mounts of it, of every mount namespace."""

from __future__ import annotations

import os

from cni_cnm.kernel import privileges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""Inode number of the PID namespace that the kernel starts with (PROC_PID_INIT_INO)."""


def sees_all_processes() -> bool:
    """False in a container: it has a part of the host's processes in /proc, or no CAP_SYS_PTRACE to read of them."""
    return os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE and privileges.has(privileges.SYS_PTRACE)


def paths(inode: int) -> Iterator[str]:
    """A path of the network namespace with that inode number for each process in it, and for each mount of it."""
    looked: set[int] = set()
    for process in filter(str.isdigit, os.listdir("/proc")):
        folder = f"/proc/{process}"
        try:
            if os.stat(f"{folder}/ns/net").st_ino == inode:
                yield f"{folder}/ns/net"
            mounts = os.stat(f"{folder}/ns/mnt").st_ino
            if mounts not in looked:
                looked.add(mounts)
                yield from (f"{folder}/root{point}" for point in _mounted(folder, inode))
        except OSError:
            continue  # the process has just ended


def _mounted(folder: str, inode: int) -> Iterator[str]:
    with open(f"{folder}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            _, _, _, root, point, *_ = line.split(" ", 5)
            if root == f"net:[{inode}]":
                yield point.encode("utf-8", "surrogateescape").decode("unicode_escape")
