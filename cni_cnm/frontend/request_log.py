"""One line for each request: in syslog, on stderr, or in the file that the settings name. As text, or as JSON:

{"time": "2026-11-28T10:00:00+00:00", "pid": 812, "verb": "ADD", "network": "web", "container": "c1", "ifname": "eth0",
 "pod": "shop/cart-0", "code": 0, "ms": 4.2, "message": "ADD web c1/eth0 pod='shop/cart-0' 10.1.0.2/16 ok"}

`code` is 0, or the code of the error object. Docker's calls have `endpoint`, too. A line of the service itself has
time, pid, ms and message, and `event` and `network` if it is an event (events.py).

A log stops nothing. It is opened and written without waiting, and a line that cannot be written is dropped. The reason
goes to stderr: once, until a line can be written again.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, socket
from time import strftime

from cni_cnm.errors import CnmError
from cni_cnm.frontend.one_line import one_line
from cni_cnm.frontend.stderr import say
from cni_cnm.settings import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.frontend.reply import Subject
    from cni_cnm.settings import Settings

_TIME = "%Y-%m-%dT%H:%M:%S%z"
_SYSLOG = "/dev/log"
_PRIORITY = 3 << 3 | 6
"""The facility daemon, the severity info (syslog(3))."""
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""Without O_NONBLOCK a pipe without a reader would hold the call for ever."""

_failing: set[str] = set()
"""Targets of which stderr has the reason."""
_sockets: list[socket] = []
"""At most one. It has no peer, so a daemon that is started again is found."""


def log(
    summary: str,
    duration_ms: float,
    settings: Settings | None = None,
    subject: Subject | None = None,
    code: int = 0,
    event: str = "",
) -> None:
    """The request in one line, to where the settings say. Never raises, and never waits.

    `subject` None: a line of the service itself. `event` is its kind if it is an event (events.py).
    """
    try:
        read = settings or load(cluster_needed=False)
        target, as_json = read.log, read.log_format == "json"
    except CnmError:
        target, as_json = "syslog", False
    if target == "none":
        return
    title = f"cni-cnm[{os.getpid()}]: "
    text = _json(summary, duration_ms, subject, code, event) if as_json else f"{one_line(summary)} {duration_ms:.1f} ms"
    if target == "stderr":
        say(text if as_json else title + text)
        return
    try:
        if target == "syslog":
            _to_syslog(f"<{_PRIORITY}>{strftime('%b %e %H:%M:%S')} {title}{text}".encode())
        else:
            line = text if as_json else f"{strftime(_TIME)} {title}{text}"
            _to_file(target, f"{line}\n".encode())
    except OSError as error:
        if target not in _failing:
            _failing.add(target)
            say(f"cni-cnm: the log {target} cannot be written: {error.strerror}")
    else:
        _failing.discard(target)


def _json(summary: str, duration_ms: float, subject: Subject | None, code: int, event: str) -> str:
    import json

    request: dict[str, object] = {"event": event} if event else {}
    if subject:
        request |= {key: value for key, value in subject._asdict().items() if value}
    if subject and not event:
        request["code"] = code
    ends = {"ms": round(duration_ms, 1), "message": summary}
    time = strftime(_TIME)  # without the colon in the offset, which RFC 3339 wants
    return json.dumps({"time": f"{time[:-2]}:{time[-2:]}", "pid": os.getpid(), **request, **ends})


def _to_syslog(line: bytes) -> None:
    """No error on a host without syslog. syslog(3) would wait while the daemon does not read."""
    if not _sockets:
        _sockets.append(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK))
    try:
        _sockets[0].sendto(line, _SYSLOG)
    except FileNotFoundError:
        pass


def _to_file(path: str, line: bytes) -> None:
    descriptor = os.open(path, _FLAGS, 0o640)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
