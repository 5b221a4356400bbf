"""One line for each request, in syslog or in the file that the settings name."""

from __future__ import annotations

import os

from cni_cnm.errors import CnmError
from cni_cnm.settings import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.settings import Settings


def log(summary: str, duration_ms: float, settings: Settings | None = None) -> None:
    """The request in one line, to syslog or to the file that the settings name. No error if it cannot be written."""
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
