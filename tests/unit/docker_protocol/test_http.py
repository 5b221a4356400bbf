"""Calls of a plugin over a real socket: every way it can answer, fail, hang and vanish."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.docker_protocol import IPAM_DRIVER, NETWORK_DRIVER, discovery, http, plugin
from cni_cnm.docker_protocol.discovery import Location
from cni_cnm.docker_protocol.http import post
from cni_cnm.docker_protocol.join_messages import Leave
from cni_cnm.errors import CnmError, DriverFailed, NoSuchDriver, PluginFailed, PluginUnreachable


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


class Scripted:
    """Reads one request a connection, and sends what the script gives for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[bytes] = []
        self.script: Callable[[socket.socket], object] = lambda c: c.sendall(answer(b"{}"))
        self.ended = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def location(self) -> Location:
        return Location(str(self.path), "unix", str(self.path))

    def answers(self, *bodies: bytes) -> None:
        """Whole answers, one a connection, the last one again and again."""
        left = list(bodies)
        self.script = lambda c: c.sendall(left.pop(0) if len(left) > 1 else left[0])

    def close(self) -> None:
        self.ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(20)
                try:
                    self.requests.append(_request(connection))
                    self.script(connection)
                except OSError:
                    continue


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while len(body) < int(lengths[0]):
        body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(4096)
    if not data:
        raise ConnectionResetError("the caller went away")
    return data


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Scripted]:
    made = Scripted(tmp_path / "p.sock")
    yield made
    made.close()


def test_what_is_sent(served: Scripted) -> None:
    """POST, Docker's Accept, a length; an empty body where there is nothing to say."""
    assert post("p", served.location, "NetworkDriver.Leave", Leave("n", "e").to_json()) == {}
    assert post("p", served.location, "Plugin.Activate") == {}
    head, _, body = served.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /NetworkDriver.Leave HTTP/1.1\r\n")
    assert b"Accept: application/vnd.docker.plugins.v1.2+json" in head
    assert head.lower().count(b"\r\nhost:") == 1
    assert body == b'{"NetworkID": "n", "EndpointID": "e"}'
    assert served.requests[1].endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("raw", "words", "status"),
    [
        (answer(b'{"Err": "no room"}'), "no room", 200),
        (answer(b'{"Error": "no pool"}'), "no pool", 200),
        (answer(b'{"Err": "bad"}', "500 No"), "bad", 500),
        (answer(b"plain words\n", "500 No"), "plain words", 500),
        (answer(b"", "500 No"), "no reason given", 500),
        (answer(b"[]", "404 Not Found"), r"\[\]", 404),
        (answer(b"\x1b[31m\xff", "500 No"), "31m", 500),
    ],
)
def test_failures_in_the_plugins_words(served: Scripted, raw: bytes, words: str, status: int) -> None:
    """Each style of an error that plugins have, printable and with plugin and call named."""
    served.answers(raw)
    with pytest.raises(PluginFailed, match=f"the plugin p failed in Call: .*{words}") as caught:
        post("p", served.location, "Call", {})
    assert caught.value.status == status
    assert caught.value.unsupported is (status == 404)
    assert caught.value.msg.isprintable()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (answer(b""), "did not answer Call with JSON: nothing"),
        (answer(b"<html>"), "did not answer Call with JSON: <html>"),
        (answer(b"[" * 100_000), "did not answer Call with JSON"),
        (answer(b"1" * 10_000), "did not answer Call with JSON"),
        (b"garbage\r\n\r\n", "closed the connection in Call"),
        (b"", "closed the connection in Call"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "closed the connection in Call"),
    ],
)
def test_rubbish(served: Scripted, raw: bytes, words: str) -> None:
    """No answer that could be meant is an error of the plugin's."""
    served.answers(raw)
    with pytest.raises(DriverFailed, match=words) as caught:
        post("p", served.location, "Call", {})
    assert not isinstance(caught.value, PluginFailed)
    assert len(caught.value.msg) < 500


def test_an_answer_without_end(served: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than any answer is long is not read."""
    monkeypatch.setattr(http, "_ANSWER_MAX", 1000)
    served.answers(answer(b"x" * 1001))
    with pytest.raises(DriverFailed, match="more than 1000 bytes"):
        post("p", served.location, "Call", {})


@pytest.mark.parametrize("drips", [False, True])
def test_hanging(served: Scripted, drips: bool) -> None:
    """A plugin that says nothing, or a byte at a time for ever: the caller is told to try again."""

    def hang(connection: socket.socket) -> None:
        while not served.ended.wait(0.05):
            if drips:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: y"[:1])

    served.script = hang
    with pytest.raises(PluginUnreachable, match=r"did not answer Call within 0\.4 s") as caught:
        post("p", served.location, "Call", {}, 0.4)
    assert (caught.value.code, caught.value.sent) == (11, True)


@pytest.mark.parametrize(("limit_s", "shown"), [(0.4, "0.4"), (20, "20"), (100, "100")])
def test_a_limit_is_shown_as_it_is_set(monkeypatch: pytest.MonkeyPatch, limit_s: float, shown: str) -> None:
    """Up to the largest `plugin_wait`."""

    class Hanging:
        def request(self, *_: object) -> None:
            raise TimeoutError

        def close(self) -> None: ...

    monkeypatch.setattr(http, "_connect", lambda *_: Hanging())
    with pytest.raises(PluginUnreachable, match=rf"did not answer Call within {shown} s"):
        post("p", Location("", "unix", "/nowhere"), "Call", limit_s=limit_s)


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process listens, or no socket exists: after the time of a restart the address is named."""
    monkeypatch.setattr(http, "RETRY_S", 0.3)
    path = tmp_path / "p.sock"
    location = Location(str(path), "unix", str(path))
    for there in (False, True):
        if there:
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(str(path))
        with pytest.raises(PluginUnreachable, match="cannot be reached at") as caught:
            post("p", location, "Call", {})
        assert str(path) in caught.value.msg


def test_a_plugin_that_restarts(tmp_path: Path) -> None:
    """A call that begins while no process listens goes through when one does."""
    path = tmp_path / "p.sock"
    made: list[Scripted] = []
    timer = threading.Timer(0.3, lambda: made.append(Scripted(path)))
    timer.start()
    try:
        assert post("p", Location(str(path), "unix", str(path)), "Call", {}) == {}
    finally:
        timer.join()
        made[0].close()


@pytest.fixture
def found(served: Scripted, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    monkeypatch.setattr(discovery, "find", lambda name: served.location if name == "p" else None)
    monkeypatch.setattr(plugin, "_activated", {})
    return served


def calls(served: Scripted) -> list[str]:
    return [request.split(b" ")[1].decode() for request in served.requests]


def test_activated_once(found: Scripted) -> None:
    """The handshake comes first and once; the plugin is asked for what it implements only."""
    found.answers(answer(b'{"Implements": ["NetworkDriver"]}'), answer(b"{}"))
    for _ in range(2):
        plugin.open_plugin("p", NETWORK_DRIVER).send(Leave("n", "e"))
    assert calls(found) == ["/Plugin.Activate", "/NetworkDriver.Leave", "/NetworkDriver.Leave"]
    with pytest.raises(NoSuchDriver, match="the plugin p does not implement IpamDriver, it implements NetworkDriver"):
        plugin.open_plugin("p", IPAM_DRIVER)


def test_activated_again_after_it_was_away(found: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that could not be reached may be another one when it comes back."""
    activated, nothing = answer(b'{"Implements": ["NetworkDriver"]}'), answer(b"{}")
    found.answers(activated, nothing)
    opened = plugin.open_plugin("p", NETWORK_DRIVER)
    found.script = lambda _: found.ended.wait(1)
    with pytest.raises(PluginUnreachable):
        opened.send(Leave("n", "e"), 0.2)
    monkeypatch.undo()
    monkeypatch.setattr(discovery, "find", lambda _: found.location)
    plugin._activated.pop("p", None)
    found.answers(activated, nothing)
    plugin.open_plugin("p", NETWORK_DRIVER).send(Leave("n", "e"))
    assert calls(found).count("/Plugin.Activate") == 2


def test_no_such_plugin(found: Scripted) -> None:
    """The places that were looked in are named."""
    with pytest.raises(NoSuchDriver, match="'q' is neither a built-in driver nor a Docker plugin") as caught:
        plugin.open_plugin("q", NETWORK_DRIVER)
    assert "/run/docker/plugins" in caught.value.hint


def test_answers_of_the_wrong_shape(found: Scripted) -> None:
    """Activate answered with something else."""
    bodies: list[Any] = [b'{"Implements": 5}', b'"x"', b'{"Implements": [1]}']
    for body in bodies:
        found.answers(answer(body))
        with pytest.raises(DriverFailed, match=r"Plugin\.Activate"):
            plugin.open_plugin("p", NETWORK_DRIVER)


def test_a_plugin_that_is_busy(tmp_path: Path) -> None:
    """More callers at once than its queue holds: they wait."""
    path = tmp_path / "p.sock"
    answers: list[Any] = []

    def call() -> None:
        try:
            answers.append(post("p", Location("x", "unix", str(path)), "Call", {}))
        except CnmError as error:
            answers.append(str(error))

    threads = [threading.Thread(target=call) for _ in range(8)]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        for thread in threads:
            thread.start()
        listener.settimeout(0.2)
        while any(thread.is_alive() for thread in threads):
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(20)
                _request(connection)
                connection.sendall(answer(b"{}"))
    assert answers == [{}] * 8
