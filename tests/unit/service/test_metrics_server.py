"""Slow clients do not keep a scraper from metrics."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest

from cni_cnm.service import metrics_server
from tests.waiting import until

PLACES = metrics_server._CONNECTIONS_MAX


class Scrapes:
    def text(self, accept: str) -> tuple[bytes, str]:
        return b"up 1\n", "text/plain"


class Places:
    """The servers of an address and of a unix socket, as the process for metrics has them."""

    def __init__(self, folder: Path) -> None:
        self.address = socket.create_server(("127.0.0.1", 0))
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(folder / "s"))
        self.unix.listen()
        self.servers = [metrics_server._Server(one, cast("Any", Scrapes())) for one in (self.address, self.unix)]
        self.opened: list[socket.socket] = []
        for server in self.servers:
            Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def connect(self, listener: socket.socket) -> socket.socket:
        made = socket.socket(listener.family)
        made.settimeout(10)
        made.connect(listener.getsockname())
        self.opened.append(made)
        return made

    def scrape(self, listener: socket.socket) -> bytes:
        connection = self.connect(listener)
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(4096), b""))

    def close(self) -> None:
        for server in self.servers:
            server.shutdown()
        for one in (*self.opened, self.address, self.unix):
            one.close()


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    made = Places(tmp_path)
    yield made
    made.close()


def test_slow_clients_make_room(places: Places) -> None:
    """Who comes when all places are taken gets that of the oldest client that has not asked yet."""
    slow = [places.connect(places.address) for _ in range(PLACES)]
    for one in slow:
        one.sendall(b"G")
    until(lambda: len(places.servers[0]._asking) == PLACES, "all places are taken")
    assert places.scrape(places.address).endswith(b"up 1\n")
    assert places.scrape(places.unix).endswith(b"up 1\n")
    assert slow[0].recv(1) == b""
    assert len(places.servers[0]._asking) == PLACES - 1


def test_a_byte_now_and_then_is_no_excuse(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is one for the whole connection."""
    monkeypatch.setattr(metrics_server, "_WHOLE_S", 0.3)
    slow = places.connect(places.address)
    slow.settimeout(0.02)

    def closed() -> bool:
        try:
            slow.sendall(b"E")
            return slow.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    until(closed, "the connection is closed")
    assert places.scrape(places.address).endswith(b"up 1\n")
