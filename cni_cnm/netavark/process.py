"""A call of netavark as a process: stdin in, reply out, and one line in the log."""

from __future__ import annotations

import sys
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.controller import Controller


def run(environ: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Answer the call this process was started for; returns the exit code."""
    from cni_cnm.frontend.reply import write_stdout
    from cni_cnm.frontend.request_log import log
    from cni_cnm.netavark.messages import LIMIT_BYTES
    from cni_cnm.netavark.plugin import handle

    begun = monotonic()
    reply = handle(arguments, environ, lambda: sys.stdin.buffer.read(LIMIT_BYTES + 1), lambda: _open(arguments[0]))
    write_stdout(reply.out)
    if reply.err:
        sys.stderr.write(reply.err)
    if reply.subject.network:
        log(reply.summary, (monotonic() - begun) * 1000, None, reply.subject, reply.error)
    return reply.code


def _open(verb: str) -> Controller:
    from cni_cnm.settings import load
    from cni_cnm.wiring import open_controller

    return open_controller(load(cluster_needed=verb != "teardown"))
