"""The service's connections: what a caller may rely on when it has its answer."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from cni_cnm.service.protocol import Request, encode_request
from cni_cnm.service.server import Answer, Call, Server

if TYPE_CHECKING:
    from pathlib import Path


def _wait(event: threading.Event) -> None:
    event.wait()


def test_the_namespace_is_closed_before_the_answer(require_root: None, tmp_path: Path) -> None:
    """A runtime that has its answer may unmount the namespace, which an open descriptor would make busy."""
    received: list[int] = []
    seen = threading.Event()

    def answer(call: Call) -> Answer:
        received.extend(call.descriptors)
        return Answer(0, b"{}", after=lambda: _wait(seen))

    reader, writer = os.pipe()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as relay:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        service = threading.Thread(target=Server(listener, answer).serve, args=(reader,), daemon=True)
        service.start()
        relay.connect(str(tmp_path / "socket"))
        namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        socket.send_fds(relay, [encode_request(Request({"CNI_COMMAND": "ADD"}, (), b""), 1)], [namespace])
        assert relay.recv(1000)
        assert len(received) == 1
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(received[0])
        seen.set()
        os.close(namespace)
        os.close(writer)
        service.join(timeout=30)
        assert not service.is_alive()
    os.close(reader)
