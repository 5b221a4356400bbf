"""The model of etcd behind HTTP, as etcd's JSON gateway serves it, with faults that a test asks for.

with ModelGateway() as gateway:
    gateway.url                                 for the settings' `endpoints`
    gateway.fault = lambda call, request: …     "": none. "before": the connection ends, nothing is done.
                                                "after": it is done, then the connection ends.
                                                "late": the connection ends, it is done at `gateway.do_late()`.
    gateway.silent = True                       watches say nothing from now on, and stay open
    gateway.say(line)                           all watches get these bytes
    gateway.cut_watches()                       their connections end
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.cluster.etcd_model import EtcdModel, Refused

_STATUS = {3: 400, 5: 404, 7: 403, 8: 429, 9: 412, 11: 400, 12: 404, 14: 503, 16: 401}


class ModelGateway:
    def __init__(self, model: EtcdModel | None = None) -> None:
        self.model = model or EtcdModel()
        self.changed = threading.Condition()
        """Held while the model is used."""
        self.fault: Callable[[str, Any], str] = lambda _call, _request: ""
        self.silent = False
        self.requests: list[tuple[str, Any]] = []
        self.bytes = 0
        self._late: list[tuple[str, Any]] = []
        self._watching: set[socket.socket] = set()
        self._said: list[bytes] = []
        self.say_at_once = b""
        """What each watch says after it has begun."""
        gateway = self

        class Handler(_Handler):
            owner = gateway

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut_watches()
        self._server.shutdown()
        self._server.server_close()

    def do(self, change: Callable[[EtcdModel], object]) -> None:
        """Change the model; watches report it."""
        with self.changed:
            change(self.model)
            self.changed.notify_all()

    def do_late(self) -> None:
        """What was asked on connections that have ended is done now."""
        with self.changed:
            for call, request in self._late:
                with suppress(Refused):
                    self.model.answer(call, request)
            self._late.clear()
            self.changed.notify_all()

    def say(self, line: bytes) -> None:
        with self.changed:
            self._said.append(line)
            self.changed.notify_all()

    def cut_watches(self) -> None:
        with self.changed:
            for sock in self._watching:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            self._watching.clear()
            self.changed.notify_all()

    def answer(self, call: str, request: Any) -> tuple[int, Any]:
        """Status and JSON; status 0: the connection ends."""
        with self.changed:
            self.requests.append((call, request))
            fault = self.fault(call, request)
            if fault == "before":
                return 0, None
            if fault == "late":
                self._late.append((call, request))
                return 0, None
            try:
                found = 200, self.model.answer(call, request)
            except Refused as error:
                found = _STATUS.get(error.code, 500), {"error": str(error), "message": str(error), "code": error.code}
            self.changed.notify_all()
            return (0, None) if fault == "after" else found


class _Handler(BaseHTTPRequestHandler):
    owner: ModelGateway
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def do_POST(self) -> None:
        call = self.path.removeprefix("/v3/")
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if call == "watch":
            return self._watch(request["create_request"])
        status, answer = self.owner.answer(call, request)
        if not status:
            self.close_connection = True
            return None
        body = json.dumps(answer).encode()
        self.owner.bytes += len(body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    def _watch(self, request: Any) -> None:
        owner = self.owner
        self.close_connection = True
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with owner.changed:
            owner.requests.append(("watch", request))
            owner._watching.add(self.connection)
            start = int(request.get("start_revision", 0)) or owner.model.revision + 1
            self._line({"header": owner.model.header(), "created": True})
            if start < owner.model.compacted:
                header = {key: value for key, value in owner.model.header().items() if key != "revision"}
                compacted = str(owner.model.compacted)
                self._line({"header": header, "canceled": True, "compact_revision": compacted})
                start = 1 << 62  # etcd says nothing more, and the connection stays open
            said = len(owner._said)
            if owner.say_at_once:
                self._chunk(owner.say_at_once)
            while self.connection in owner._watching:
                while said < len(owner._said):
                    self._chunk(owner._said[said])
                    said += 1
                events = [] if owner.silent else owner.model.events(request, start)
                if events:
                    self._line({"header": owner.model.header(), "events": [each.json() for each in events]})
                    start = events[-1].revision + 1
                owner.changed.wait(5)

    def _line(self, result: Any) -> None:
        self._chunk(json.dumps({"result": result}).encode() + b"\n")

    def _chunk(self, data: bytes) -> None:
        self.owner.bytes += len(data)
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()
