"""A CNI call as a process: stdin in, reply out, and one line in the log, because runtimes discard stderr."""

from __future__ import annotations

import os
import sys
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cnm.controller import Controller

STDIN_LIMIT = 4 * 1024 * 1024
"""A configuration with its prevResult has a few KiB. One byte more than this is read, so that it is refused."""


def run(environ: Mapping[str, str], program: str) -> int:
    """Answer the call this process was started for, by the path `program`; returns the exit code."""
    from cni_cnm.cni.plugin import handle
    from cni_cnm.frontend.reply import write_stdout
    from cni_cnm.frontend.request_log import log

    begun = monotonic()
    reply = handle(environ, _read_stdin, lambda: open_controller(environ), program, _owner)
    write_stdout(reply.out)
    try:
        if reply.err:
            sys.stderr.write(reply.err)
        log(reply.summary, (monotonic() - begun) * 1000, None, reply.subject, reply.error)
        if reply.code == 0 and environ.get("CNI_CNM_REQUEST") and environ.get("CNI_COMMAND") in ("ADD", "DEL"):
            from cni_cnm.cni.linger import start_if_due

            start_if_due(environ)
    except Exception:  # noqa: BLE001, S110 - the call is answered
        pass
    return reply.code


def open_controller(environ: Mapping[str, str]) -> Controller:
    from cni_cnm.settings import load
    from cni_cnm.wiring import open_controller as opened

    return opened(load(cluster_needed=environ.get("CNI_COMMAND") != "DEL"))


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
