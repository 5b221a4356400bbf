"""A caller in Python asks as a relay does: the real server answers it, and what is no answer is TryAgain."""

from __future__ import annotations

import socket
from pathlib import Path
from threading import Thread

import pytest

from cni_cnm.errors import TryAgain
from cni_cnm.service import client
from cni_cnm.service.protocol import STDIN_MAX, Incoming, Request, encode_reply

LARGE = Request({"CNI_COMMAND": "STATUS"}, ["cni-cnm", "a b"], b"x" * STDIN_MAX)


def listening(folder: Path) -> tuple[socket.socket, str]:
    path = str(folder / "s")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    return listener, path


@pytest.mark.parametrize(
    "request_", [Request({"CNI_COMMAND": "VERSION"}, ["cni-cnm"], b""), LARGE], ids=["small", "4 MiB"]
)
def test_a_request_arrives_whole(tmp_path: Path, request_: Request) -> None:
    """With the caller's namespace. The service has closed its end when the answer is read."""
    listener, path = listening(tmp_path)
    seen = []

    def answer() -> None:
        incoming = Incoming(listener.accept()[0])
        request = None
        while request is None:
            request = incoming.receive()
        seen.append((request, len(incoming.descriptors)))
        incoming.connection.sendall(encode_reply(3, b"out", b"err"))
        incoming.close()

    thread = Thread(target=answer)
    thread.start()
    with listener:
        assert client.ask(path, request_, 10) == (3, b"out", b"err")
        thread.join()
    assert seen == [(request_, 1)]


@pytest.mark.parametrize("reply", [b"", b"CNICNM1\0", encode_reply(0, b"out", b"")[:-1], b"x" * 100])
def test_no_answer(tmp_path: Path, reply: bytes) -> None:
    """A service that is absent, declines, or ends in its answer."""
    with pytest.raises(TryAgain, match=f"the service at {tmp_path}/none does not answer: No such file"):
        client.ask(f"{tmp_path}/none", LARGE._replace(stdin=b""), 10)
    listener, path = listening(tmp_path)

    def answer() -> None:
        connection, _ = listener.accept()
        connection.recv(1 << 16)
        connection.sendall(reply)
        connection.close()

    thread = Thread(target=answer)
    thread.start()
    with listener, pytest.raises(TryAgain, match="does not answer"):
        client.ask(path, LARGE._replace(stdin=b""), 10)
    thread.join()


def test_a_service_that_hangs(tmp_path: Path) -> None:
    """The time ends it: a connection is made by the kernel alone."""
    listener, path = listening(tmp_path)
    with listener, pytest.raises(TryAgain, match="timed out"):
        client.ask(path, LARGE._replace(stdin=b""), 0.01)
