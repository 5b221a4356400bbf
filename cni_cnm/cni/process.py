"""A CNI call as a process: stdin in, reply out, and one line in the log, because runtimes discard stderr."""

from __future__ import annotations

import os
import sys
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.settings import Settings

STDIN_LIMIT = 4 * 1024 * 1024
"""A configuration with its prevResult has a few KiB. One byte more than this is read, so that it is refused."""


def run(environ: Mapping[str, str], name: str) -> int:
    """Answer the call this process was started for; returns the exit code."""
    from cni_cnm.cni.plugin import handle

    begun = monotonic()
    reply = handle(environ, _read_stdin, open_controller, name, _owner)
    sys.stdout.buffer.write(reply.out)
    sys.stdout.buffer.flush()
    if reply.err:
        sys.stderr.write(reply.err)
    log(reply.summary, (monotonic() - begun) * 1000)
    return reply.code


def log(summary: str, duration_ms: float, settings: Settings | None = None) -> None:
    """The request in one line, to syslog or to the file that the settings name. No error if it cannot be written."""
    from cni_cnm.errors import CnmError
    from cni_cnm.settings import load

    try:
        target = (settings or load()).log
    except CnmError:
        target = "syslog"
    line = f"{summary} {duration_ms:.1f} ms"
    if target == "syslog":
        import syslog

        syslog.openlog("cni-cnm", syslog.LOG_PID, syslog.LOG_DAEMON)
        syslog.syslog(line)
    elif target != "none":
        from time import strftime

        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError:
            return
        os.write(descriptor, f"{strftime('%Y-%m-%dT%H:%M:%S%z')} cni-cnm[{os.getpid()}]: {line}\n".encode())
        os.close(descriptor)


def open_controller() -> Controller:
    from cni_cnm.wiring import open_controller as opened

    return opened()


def _read_stdin() -> bytes:
    parts = []
    left = STDIN_LIMIT + 1
    while left and (part := os.read(0, min(left, 1 << 16))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _owner() -> str:
    from cni_cnm.kernel.process import owner_of_caller

    return owner_of_caller()
