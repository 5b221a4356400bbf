"""System calls of one run of a program, and a run in which one of them fails or ends the process. By strace.

Point("openat", 7, "EMFILE")     the seventh openat of the process fails
Point("rename", 1, "SIGKILL")    the process ends where it begins the first rename
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

KILL = "SIGKILL"
SCARCE = ("EAGAIN", "EMFILE", "ENFILE", "ENOBUFS", "ENOLCK", "ENOMEM")
"""The host has no more of something: try again later."""
_FILE = ("EIO", "ENOMEM")
_NEW_FILE = ("EMFILE", "ENFILE", "EIO", "ENOMEM", "ENOSPC", "EROFS", "EPERM")
_CHANGE = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EPERM")
_MEMORY = ("ENOMEM",)
_MESSAGE = ("ENOBUFS", "ENOMEM", "EINTR")
ERRORS: Mapping[str, tuple[str, ...]] = {
    "accept4": ("EMFILE", "ENOBUFS"),
    "access": _FILE,
    "bind": ("ENOMEM", "EPERM"),
    "brk": _MEMORY,
    "clone": ("EAGAIN", "ENOMEM"),
    "clone3": ("EAGAIN", "ENOMEM"),
    "connect": ("EAGAIN", "ENOMEM", "EPERM"),
    "dup": ("EMFILE",),
    "dup2": ("EMFILE",),
    "execve": ("ENOMEM", "EIO", "EMFILE"),
    "fcntl": ("ENOLCK", "EINTR", "EAGAIN"),
    "flock": ("ENOLCK", "EINTR", "EAGAIN"),
    "fsync": ("EIO", "ENOSPC"),
    "getdents64": _FILE,
    "getrandom": ("EINTR", "EAGAIN"),
    "getsockopt": ("ENOMEM", "EPERM"),
    "ioctl": ("EIO", "EPERM"),
    "link": _CHANGE,
    "linkat": _CHANGE,
    "memfd_create": ("EMFILE", "ENOMEM"),
    "mkdir": _CHANGE,
    "mmap": _MEMORY,
    "mprotect": _MEMORY,
    "newfstatat": _FILE,
    "open": _NEW_FILE,
    "openat": _NEW_FILE,
    "poll": ("EINTR", "ENOMEM"),
    "pread64": ("EIO", "EINTR", "ENOMEM"),
    "pselect6": ("EINTR", "ENOMEM"),
    "pwrite64": ("EIO", "EPERM", "EINTR"),
    "read": ("EIO", "EINTR", "ENOMEM"),
    "readlink": _FILE,
    "recvfrom": _MESSAGE,
    "recvmsg": _MESSAGE,
    "rename": _CHANGE,
    "sendmsg": _MESSAGE,
    "sendto": _MESSAGE,
    "setns": ("ENOMEM", "EPERM"),
    "setsockopt": ("ENOMEM", "EPERM"),
    "socket": ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM"),
    "stat": _FILE,
    "unlink": _CHANGE,
    "unlinkat": _CHANGE,
    "utimensat": _CHANGE,
    "vfork": ("EAGAIN", "ENOMEM"),
    "write": ("ENOSPC", "EIO", "EINTR"),
}
"""The errors that fit a call. At any other call the process is only killed: it cannot fail for such a reason."""
_ENDING = ("close", "exit", "exit_group", "wait4")
"""Not killed at: what is done is done."""


class Point(NamedTuple):
    """`fault` is an errno's name or SIGKILL; `number` counts the calls of that name in the process, from 1."""

    call: str
    number: int
    fault: str

    def options(self) -> list[str]:
        """For strace, which counts in each process by itself."""
        how = f"signal={KILL}" if self.fault == KILL else f"error={self.fault}"
        return ["-e", f"trace={self.call}", "-e", f"inject={self.call}:{how}:when={self.number}"]


def end(tracer: subprocess.Popen[bytes]) -> None:
    """End a strace. One whose process was killed may wait for the threads of that without end: it is killed, too."""
    tracer.terminate()
    try:
        tracer.wait(2)
    except subprocess.TimeoutExpired:
        tracer.kill()
        tracer.wait()


def names(trace: str) -> list[str]:
    """The names of the system calls in strace's output, in order."""
    found = (re.match(r"(?:\d+ +)?([a-z0-9_]+)\(", line) for line in trace.splitlines())
    return [match[1] for match in found if match]


def points(calls: Sequence[str], *, every: bool) -> Iterator[Point]:
    """Each call with each of its faults; not `every`: with one of them, in turn."""
    seen: Counter[str] = Counter()
    for call in calls:
        seen[call] += 1
        faults = (*ERRORS.get(call, ()), *(() if call in _ENDING else (KILL,)))
        if not faults:
            continue
        for fault in faults if every else (faults[seen[call] % len(faults)],):
            yield Point(call, seen[call], fault)
