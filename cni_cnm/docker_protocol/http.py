"""One call to a plugin: a POST of JSON over a unix socket or TCP, with a time limit for the whole of it.

Docker waits for a plugin without a limit. A pod must not: a call ends after its limit, also if the plugin sends a byte
now and then. A refused connection is tried again for `RETRY_S`, long enough for a plugin's restart. Docker tries for
15 s, which is longer than kubelet waits.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from cni_cnm import settings
from cni_cnm.docker_protocol.body import failure_of
from cni_cnm.errors import DriverFailed, PluginAnswerLost, PluginFailed, PluginUnreachable
from cni_cnm.waiting import waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from http.client import HTTPConnection
    from threading import Event

    from cni_cnm.docker_protocol.discovery import Location, Tls
    from cni_cnm.model import Json

RETRY_S = 3.0
_FIRST_WAIT_S = 0.05
_ANSWER_MAX = 4 * 1024 * 1024
_REASON_MAX = 300
_HEADERS = {"Host": "plugin", "Accept": "application/vnd.docker.plugins.v1.2+json", "User-Agent": "cni-cnm"}


def post(name: str, location: Location, call: str, body: Json | None = None, limit_s: float | None = None) -> Json:
    """The decoded response. `body` None: an empty body. Connecting is tried for at most half of the limit.

    `limit_s` None: the setting `plugin_wait`.

    PluginFailed: the plugin answered with an error, which is in the message. DriverFailed: its answer is no JSON, or
    too long. PluginAnswerLost: the connection ended within the answer. PluginUnreachable: there is no answer.
    """
    limit_s = settings.in_force().plugin_wait if limit_s is None else limit_s
    data = b"" if body is None else json.dumps(body).encode()
    with waiting():
        status, answer = _exchange(name, location, call, data, limit_s)
    if len(answer) > _ANSWER_MAX:
        raise DriverFailed(f"the plugin {name} answered {call} with more than {_ANSWER_MAX} bytes")
    return _decoded(name, call, status, answer)


def _exchange(name: str, location: Location, call: str, data: bytes, limit_s: float) -> tuple[int, bytes]:
    """Status and body of the response."""
    from http.client import HTTPException, IncompleteRead
    from threading import Event, Timer

    connection = _connect(name, location, limit_s)
    late = Event()
    timer = Timer(limit_s, _cut, (connection, late))
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", f"/{call}", data, _HEADERS)
        response = connection.getresponse()
        answer = response.read(_ANSWER_MAX + 1)
        if response.length and len(answer) <= _ANSWER_MAX:  # http.client reports no short read
            raise IncompleteRead(answer, response.length)
    except (HTTPException, OSError, ValueError) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise PluginUnreachable(
                f"the plugin {name} did not answer {call} within {limit_s:.3g} s",
                sent=True,
                hint="restart the plugin if it hangs, then try again",
            ) from error
        raise PluginAnswerLost(
            f"the plugin {name} closed the connection in {call}: {str(error) or type(error).__name__}",
            hint="see the plugin's own log",
        ) from error
    finally:
        timer.cancel()
        connection.close()
    return response.status, answer


def _decoded(name: str, call: str, status: int, answer: bytes) -> Json:
    try:
        found: Json = json.loads(answer)
    except (ValueError, RecursionError):
        found = None
        if status == 200:
            text = _printable(answer) or "nothing"
            raise DriverFailed(f"the plugin {name} did not answer {call} with JSON: {text}") from None
    failure = failure_of(found)
    if status != 200 or failure:
        reason = _printable(failure.encode(errors="replace")) or _printable(answer) or "no reason given"
        raise PluginFailed(f"the plugin {name} failed in {call}: {reason}", status, hint="see the plugin's own log")
    return found


def _connect(name: str, location: Location, limit_s: float) -> HTTPConnection:
    """A connection. Tried again while the socket is missing or nothing listens on it."""
    from time import monotonic, sleep

    deadline, wait = monotonic() + min(RETRY_S, limit_s / 2), _FIRST_WAIT_S
    while True:
        connection = _connection(location, limit_s)
        try:
            connection.connect()
            return connection
        except (OSError, ValueError) as error:
            connection.close()
            again = isinstance(error, ConnectionRefusedError | FileNotFoundError)
            if not again or monotonic() + wait > deadline:
                raise PluginUnreachable(
                    f"the plugin {name} cannot be reached at {location.address}: {error}",
                    sent=False,
                    hint=f"start the plugin; its address is from {location.source}",
                ) from error
        sleep(wait)
        wait *= 2


def _connection(location: Location, limit_s: float) -> HTTPConnection:
    from http.client import HTTPConnection

    if location.scheme == "unix":
        made = HTTPConnection("plugin", timeout=limit_s)
        # HTTPConnection.connect() sets a TCP option, which a unix socket refuses.
        made.connect = lambda: setattr(made, "sock", _unix(location.address, limit_s))  # type: ignore[method-assign]
        return made
    if location.encrypted:
        try:
            from http.client import HTTPSConnection
        except ImportError as error:
            raise DriverFailed(
                f"{location.source} wants TLS, and the library for it cannot be loaded",
                hint="install OpenSSL 3 (libssl.so.3)",
            ) from error
        from cni_cnm.docker_protocol.discovery import Tls

        return HTTPSConnection(location.address, timeout=limit_s, context=_context(location.tls or Tls()))
    return HTTPConnection(location.address, timeout=limit_s)


def _unix(path: str, limit_s: float) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # A blocking connect waits while the plugin's queue is full; one with a timeout fails at once (EAGAIN).
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(limit_s), int(limit_s % 1 * 1e6)))
        made.connect(path)
        made.settimeout(limit_s)
    except BaseException:
        made.close()
        raise
    return made


def _context(tls: Tls) -> Any:
    import ssl

    context = ssl.create_default_context(cafile=tls.ca or None)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate:
        context.load_cert_chain(tls.certificate, tls.key or None)
    return context


def _cut(connection: HTTPConnection, late: Event) -> None:
    """End a call from another thread: its read fails at once."""
    late.set()
    if connection.sock is not None:
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def _printable(raw: bytes) -> str:
    text = raw.decode(errors="replace").strip()
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= _REASON_MAX else f"{text[: _REASON_MAX - 3]}..."
