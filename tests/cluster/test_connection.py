"""One request has a limit for the whole of it, and an answer is read as HTTP writes it: servers of a few bytes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cni_cnm.cluster.http.connection import Connection, NoAnswer
from cni_cnm.cluster.http.endpoint import endpoint
from cni_cnm.cluster.http.tls import Tls

Serve = Callable[[Callable[[socket.socket], object]], Connection]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A connection to a server that does with its end what the test says, once it has read the request's head."""
    opened: list[Connection] = []
    threads: list[threading.Thread] = []

    def make(answer: Callable[[socket.socket], object]) -> Connection:
        listener = socket.create_server(("127.0.0.1", 0))

        def run() -> None:
            near, _ = listener.accept()
            with listener, near:
                try:
                    request = b""
                    while not request.endswith(b"{}"):
                        request += near.recv(1 << 16)
                    answer(near)
                except OSError:
                    pass

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        opened.append(Connection(endpoint(url, 2379), Tls(), time.monotonic() + 5))
        return opened[-1]

    yield make
    for each in opened:
        each.close()
    for thread in threads:
        thread.join(10)


def dribble(text: bytes, pause_s: float = 0.01) -> Callable[[socket.socket], None]:
    def answer(near: socket.socket) -> None:
        for at in range(len(text)):
            near.sendall(text[at : at + 1])
            time.sleep(pause_s)

    return answer


def post(connection: Connection, limit_s: float = 5) -> tuple[int, bytes]:
    found = connection.ask("POST", "/v3/kv/range", b"{}", {}, time.monotonic() + limit_s)
    return found.status, found.content


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n{}",
    ],
)
def test_answers_of_each_form(serve: Serve, text: bytes) -> None:
    assert post(serve(lambda near: near.sendall(text))) == (200, b"{}")
    assert post(serve(dribble(text, 0))) == (200, b"{}")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    ],
)
def test_an_answer_that_is_cut_is_no_answer(serve: Serve, text: bytes) -> None:
    with pytest.raises(NoAnswer) as caught:
        post(serve(lambda near: near.sendall(text)))
    assert caught.value.sent


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"])
def test_a_byte_now_and_then_does_not_hold_the_caller(serve: Serve, head: bytes) -> None:
    connection = serve(dribble(head + b"x" * 500))
    with pytest.raises(NoAnswer, match="in time"):
        post(connection, 0.3)


def test_a_connection_that_the_server_closed_is_not_fresh(serve: Serve) -> None:
    ended = threading.Event()

    def answer(near: socket.socket) -> None:
        near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        ended.wait(10)

    connection = serve(answer)
    assert post(connection) == (200, b"{}")
    assert connection.fresh()
    ended.set()
    for _ in range(500):
        if not connection.fresh():
            break
        time.sleep(0.01)
    assert not connection.fresh()


STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def lines(connection: Connection, count: int, wait_s: float = 5.0, line_s: float = 5.0) -> list[bytes | None]:
    stream = connection.stream("POST", "/v3/watch", b"{}", {}, time.monotonic() + 5)
    return [stream.line(wait_s, line_s) for _ in range(count)]


@pytest.mark.parametrize(
    "body",
    [
        chunk(b"one\ntwo\n") + chunk(b""),
        chunk(b"one\n") + chunk(b"two\n") + chunk(b""),
        chunk(b"o") + chunk(b"ne\ntw") + chunk(b"o\n") + chunk(b""),
        b"8;name=value\r\none\ntwo\n\r\n0\r\n\r\n",
    ],
)
def test_lines_are_lines_whatever_the_chunks(serve: Serve, body: bytes) -> None:
    assert lines(serve(lambda near: near.sendall(STREAM + body)), 4) == [b"one\n", b"two\n", b"", b""]
    assert lines(serve(dribble(STREAM + body, 0)), 3) == [b"one\n", b"two\n", b""]


def test_no_line_within_the_wait_is_none_and_the_next_one_comes(serve: Serve) -> None:
    go_on = threading.Event()

    def answer(near: socket.socket) -> None:
        near.sendall(STREAM + chunk(b"one\n"))
        go_on.wait(10)
        near.sendall(chunk(b"two\n"))

    connection = serve(answer)
    stream = connection.stream("POST", "/v3/watch", b"{}", {}, time.monotonic() + 5)
    assert stream.line(5, 5) == b"one\n"
    assert stream.line(0.05, 5) is None
    assert stream.line(0, 5) is None
    go_on.set()
    assert stream.line(5, 5) == b"two\n"


def test_a_line_that_is_not_finished_in_time_is_no_answer(serve: Serve) -> None:
    with pytest.raises(NoAnswer, match="in time"):
        lines(serve(dribble(STREAM + chunk(b"x" * 500), 0.01)), 1, 5, 0.2)
    with pytest.raises(NoAnswer, match="within a line"):
        lines(serve(lambda near: near.sendall(STREAM + chunk(b"half"))), 1)


@pytest.mark.parametrize("size", [b"xyz", b"-5", b""])
def test_a_chunk_without_a_size_is_no_answer(serve: Serve, size: bytes) -> None:
    with pytest.raises(NoAnswer):
        lines(serve(lambda near: near.sendall(STREAM + size + b"\r\nabc\r\n")), 1)


def test_the_name_of_a_server() -> None:
    """What messages name has no user and no password."""
    found = endpoint("https://root:canary@4711@[2001:db8::1]:2379/?token=canary", 1)
    assert found == ("https://[2001:db8::1]:2379", "2001:db8::1", 2379, True)
    assert endpoint("http://etcd1/", 2379) == ("http://etcd1", "etcd1", 2379, False)
