"""The process for metrics: answers GET /metrics on RUN_DIR/metrics.sock, and on an address if the settings name one.

It loads the library and reads the host only when it is asked. One scrape reads at a time; a scrape that comes within a
second has the same answer. On each of the two, at most eight connections are served at once: a further one gets the
place of the oldest that has not sent its request yet. Every connection ends after 30 s.
"""

from __future__ import annotations

import select
import socket
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, ThreadingMixIn
from threading import BoundedSemaphore, Lock, Thread, Timer
from time import monotonic

from cni_cnm.frontend.stderr import say
from cni_cnm.service.request_counts import BOUNDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.metrics.host import HostMetrics
    from cni_cnm.service.counters import Counters

_FRESH_S = 1.0
_CONNECTIONS_MAX = 8
_TIMEOUT_S = 10.0
"""Of one read or write."""
_WHOLE_S = 30.0
"""Of a connection: a client that sends a byte now and then would hold it for ever."""
_ROOM_S = 1.0
"""For a connection that was ended to free its place."""
_LOOPBACK = ("127.", "::1", "[::1]")


class Scrapes:
    """The text of all metrics, read at most once a second for each form."""

    def __init__(self, engine: Callable[[], AbstractContextManager[Controller]], counters: Counters) -> None:
        self._engine = engine
        self._counters = counters
        self._lock = Lock()
        self._host: HostMetrics | None = None
        self._last: dict[str, tuple[float, tuple[bytes, str]]] = {}

    def text(self, accept: str) -> tuple[bytes, str]:
        from cni_cnm.metrics import encoding, requests
        from cni_cnm.metrics.host import HostMetrics

        with self._lock:
            read, answer = self._last.get(accept, (0.0, (b"", "")))
            self._host = self._host or HostMetrics()
            if not read or monotonic() - read >= _FRESH_S:
                with self._engine() as controller:
                    families = [
                        *requests.families(self._counters.read(), BOUNDS),
                        *self._host.families(controller.host),
                    ]
                answer = encoding.encode(families, accept)
                self._last = {accept: (monotonic(), answer)}
            return answer


class _Server(ThreadingMixIn, BaseServer):
    """On a socket that listens already."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, scrapes: Scrapes) -> None:
        super().__init__(("", 0), _Request)
        self.socket = listener
        self.scrapes = scrapes
        self._free = BoundedSemaphore(_CONNECTIONS_MAX)
        self._asking: dict[socket.socket, None] = {}
        """Connections whose request is not read yet, the oldest first."""

    def fileno(self) -> int:
        return self.socket.fileno()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, _ = self.socket.accept()
        connection.settimeout(_TIMEOUT_S)
        return connection, ("", 0)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False) or self._made_room():
            self._asking[request] = None
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        limit = Timer(_WHOLE_S, _end, (request,))
        limit.daemon = True
        try:
            limit.start()
            super().process_request_thread(request, client_address)
        finally:
            limit.cancel()
            self.has_asked(request)
            self._free.release()

    def has_asked(self, request: socket.socket) -> None:
        """Its request is read: it keeps its place until it is answered."""
        self._asking.pop(request, None)

    def _made_room(self) -> bool:
        oldest = list(self._asking)[:1]
        for connection in oldest:
            self.has_asked(connection)
            _end(connection)
        return bool(oldest) and self._free.acquire(timeout=_ROOM_S)

    def shutdown_request(self, request: Any) -> None:
        try:
            request.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side has closed it
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that has ended is no news."""


def _end(connection: socket.socket) -> None:
    """The thread that serves it reads the end."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side has closed it, or it was answered


class _Request(BaseHTTPRequestHandler):
    server: _Server
    server_version = "cni-cnm"
    sys_version = ""
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        self.server.has_asked(self.connection)
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, explain="metrics are at /metrics")
            return
        try:
            text, kind = self.server.scrapes.text(self.headers.get("Accept", ""))
        except Exception as error:  # noqa: BLE001 - the next scrape is to be answered
            say(f"metrics cannot be read: {type(error).__name__}: {error}")
            self.send_error(500, explain="metrics cannot be read; the log of the service says why")
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if body:
            self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Scrapes come every few seconds: no line for each."""


def run(
    engine: Callable[[], AbstractContextManager[Controller]],
    counters: Counters,
    listener: socket.socket,
    address: str,
    stop: int,
) -> None:
    """Until `stop` is readable. `address`: an address and a port, or ""."""
    scrapes = Scrapes(engine, counters)
    listeners = [listener]
    if address:
        try:
            listeners.append(_listen(address))
        except OSError as error:
            say(f"metrics are not shown at {address}: {error.strerror or error}")
        else:
            if not address.startswith(_LOOPBACK):
                say(f"metrics are open to everything that reaches {address}: it is not encrypted, and asks no password")
    for one in listeners:
        Thread(target=_Server(one, scrapes).serve_forever, daemon=True).start()
    select.select([stop], [], [])


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family)
