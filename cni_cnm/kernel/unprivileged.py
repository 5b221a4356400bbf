"""Starts a program as another user, which then runs on by itself: a server that does not end with this process."""

from __future__ import annotations

import os

from cni_cnm.kernel import privileges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_FAILED = 127


def start(command: Sequence[str], uid: int, gid: int, capabilities: Collection[int], output: str) -> int:
    """The pid. The program has no open files but `output`, a new file to which it writes, and its own session.

    For a process with one thread. A program that cannot be executed ends with 127, and `output` says why.
    """
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        pid = os.fork()
    except OSError:
        os.close(log)
        raise
    if pid:
        os.close(log)
        return pid
    try:
        os.setsid()
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for number, source in enumerate((null, log, log)):
            os.dup2(source, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        privileges.become(uid, gid, capabilities)
        os.execve(command[0], list(command), {"PATH": os.defpath, "LC_ALL": "C"})  # noqa: S606 - without a shell
    except BaseException as error:  # noqa: BLE001 - nothing of the caller may run in the child
        os.write(2, f"{command[0]} cannot be started: {error}\n".encode())
    finally:
        os._exit(_FAILED)
