"""One call of a plugin: POST over a unix socket or TCP, JSON both ways, and never longer than a limit.

Docker waits for a plugin without limit, and hangs with it. A runtime that waits for a pod must not: a call ends after
its limit whatever the plugin does, drip a byte a second included. A connection that is refused is tried again for
`RETRY_S`, which is a plugin's restart; Docker goes on for 15 s, and kubelet would start the pod again before that.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from cni_cnm.docker_protocol import failure_of
from cni_cnm.errors import DriverFailed, TryAgain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from http.client import HTTPConnection
    from threading import Event

    from cni_cnm.docker_protocol.discovery import Location, Tls
    from cni_cnm.model import Json

LIMIT_S = 20.0
RETRY_S = 3.0
_FIRST_WAIT_S = 0.05
_ANSWER_MAX = 4 * 1024 * 1024
_SAID_MAX = 300
_HEADERS = {"Host": "plugin", "Accept": "application/vnd.docker.plugins.v1.2+json", "User-Agent": "cni-cnm"}


class PluginFailed(DriverFailed):
    """The plugin answered that it failed; `status` is HTTP's."""

    def __init__(self, msg: str, status: int, *, hint: str = "") -> None:
        super().__init__(msg, hint=hint)
        self.status = status

    @property
    def unsupported(self) -> bool:
        """It does not know the call: 404 is how a plugin says so."""
        return self.status == 404


class BrokenOff(DriverFailed):
    """The plugin went away in the middle of its answer. What it did of the call is not known."""


class Unreachable(TryAgain):
    """No answer at all. If it was `asked`, what it did of the call is not known; otherwise nobody listened."""

    def __init__(self, msg: str, *, asked: bool, hint: str = "") -> None:
        super().__init__(msg, hint=hint)
        self.asked = asked


def post(name: str, location: Location, call: str, body: Json | None = None, limit_s: float = LIMIT_S) -> Json:
    """The decoded answer. PluginFailed with the plugin's own words; DriverFailed for rubbish; BrokenOff, Unreachable.

    Connecting is tried again for at most half of the limit.
    """
    from http.client import HTTPException, IncompleteRead
    from threading import Event, Timer

    data = b"" if body is None else json.dumps(body).encode()
    connection = _connect(name, location, limit_s)
    late = Event()
    timer = Timer(limit_s, _cut, (connection, late))
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", f"/{call}", data, _HEADERS)
        response = connection.getresponse()
        answer = response.read(_ANSWER_MAX + 1)
        if response.length and len(answer) <= _ANSWER_MAX:  # a short read is no error to the library
            raise IncompleteRead(answer, response.length)
    except (HTTPException, OSError, ValueError) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise Unreachable(
                f"the plugin {name} did not answer {call} within {limit_s:.2g} s",
                asked=True,
                hint="does it hang? restart it, then try again",
            ) from error
        raise BrokenOff(
            f"the plugin {name} broke off its answer to {call}: {str(error) or type(error).__name__}",
            hint="see the plugin's own log",
        ) from error
    finally:
        timer.cancel()
        connection.close()
    if len(answer) > _ANSWER_MAX:
        raise DriverFailed(f"the plugin {name} answered {call} with more than {_ANSWER_MAX} bytes")
    return _decoded(name, call, response.status, answer)


def _decoded(name: str, call: str, status: int, answer: bytes) -> Json:
    try:
        found: Json = json.loads(answer)
    except (ValueError, RecursionError):
        found = None
        if status == 200:
            shown = _printable(answer) or "nothing"
            raise DriverFailed(f"the plugin {name} answered {call} with no JSON: {shown}") from None
    said = failure_of(found)
    if status != 200 or said:
        words = _printable(said.encode(errors="replace")) or _printable(answer) or "no reason given"
        raise PluginFailed(f"the plugin {name} failed in {call}: {words}", status, hint="see the plugin's own log")
    return found


def _connect(name: str, location: Location, limit_s: float) -> HTTPConnection:
    """A connection, tried again while nobody listens."""
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
                raise Unreachable(
                    f"the plugin {name} cannot be reached at {location.address}: {error}",
                    asked=False,
                    hint=f"is it running? {location.source} says that it is there",
                ) from error
        sleep(wait)
        wait *= 2


def _connection(location: Location, limit_s: float) -> HTTPConnection:
    from http.client import HTTPConnection

    if location.scheme == "unix":
        made = HTTPConnection("plugin", timeout=limit_s)
        # Connected by ourselves: its own connect() sets an option of TCP, which a unix socket refuses.
        made.connect = lambda: setattr(made, "sock", _unix(location.address, limit_s))  # type: ignore[method-assign]
        return made
    if location.encrypted:
        try:
            from http.client import HTTPSConnection
        except ImportError as error:
            raise DriverFailed(
                f"{location.source} asks for TLS, and this host has no library for it",
                hint="install OpenSSL 3 (libssl.so.3)",
            ) from error
        from cni_cnm.docker_protocol.discovery import Tls

        return HTTPSConnection(location.address, timeout=limit_s, context=_context(location.tls or Tls()))
    return HTTPConnection(location.address, timeout=limit_s)


def _unix(path: str, limit_s: float) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # Blocking: it waits while the plugin's queue is full, where one with a timeout would be refused at once.
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
    """End a call from outside: whoever reads gets an error at once."""
    late.set()
    if connection.sock is not None:
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def _printable(said: bytes) -> str:
    text = said.decode(errors="replace").strip()
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= _SAID_MAX else f"{text[: _SAID_MAX - 3]}..."
