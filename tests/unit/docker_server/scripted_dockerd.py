"""dockerd's API on a unix socket, with scripted answers."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from threading import Thread
from typing import Any


class ScriptedDockerd:
    """`answers` maps a path to the decoded answer; bytes are sent as they are; None: no answer; absent: 404."""

    def __init__(self, path: Path, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._open: list[socket.socket] = []
        Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for one in (self._listener, *self._open):
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            what = connection.recv(1 << 16).split()[1].decode()
            self.asked.append(what)
            answer = self.answers.get(what, {"message": "not found"})
            if answer is None:
                self._open.append(connection)
                continue
            status = b"200 OK" if what in self.answers else b"404 Not Found"
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            connection.sendall(b"HTTP/1.0 %s\r\nContent-Type: application/json\r\n\r\n%s" % (status, body))
            connection.close()
