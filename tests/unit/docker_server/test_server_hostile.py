"""Whatever comes to Docker's socket: a JSON answer with both error keys or a clean close, in bounded time and memory.

The server and all calls behind it are the real ones, the kernel is one in memory.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cni_cnm.cnm.controller import Controller
from cni_cnm.docker_protocol.endpoint_messages import CREATE_ENDPOINT, DELETE_ENDPOINT, ENDPOINT_OPER_INFO
from cni_cnm.docker_protocol.ipam_messages import RELEASE_ADDRESS, RELEASE_POOL, REQUEST_ADDRESS, REQUEST_POOL
from cni_cnm.docker_protocol.join_messages import (
    JOIN,
    LEAVE,
    PROGRAM_EXTERNAL_CONNECTIVITY,
    REVOKE_EXTERNAL_CONNECTIVITY,
)
from cni_cnm.docker_protocol.network_messages import CREATE_NETWORK, DELETE_NETWORK
from cni_cnm.docker_protocol.plugin_messages import DISCOVER_NEW
from cni_cnm.docker_server import request as docker_request
from cni_cnm.docker_server import server as docker_server
from cni_cnm.docker_server.calls import CALLS, answer
from cni_cnm.docker_server.request import BODY_MAX, Reader
from cni_cnm.docker_server.server import Server
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.model import Json

NETWORK, ENDPOINT = "a" * 64, "b" * 64
ANSWER_MAX = 8 << 10
"""Bytes: no answer to these tests quotes a whole request."""


class Answer(NamedTuple):
    status: int
    json: Any

    def is_error(self) -> bool:
        return isinstance(self.json, dict) and bool(self.json.get("Err")) and self.json["Err"] == self.json.get("Error")


class Frontend:
    """A server on a socket in `folder`, over an engine whose kernel is in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self._namespaces = MemoryNamespaces()
        self._nft = MemoryNft()

        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{folder}/plugin.sock")
        self._listener.listen(1024)
        self.server = Server(self._listener, self.engine, lambda line, _, **__: self.notes.append(line))
        self.server.start()

    @contextmanager
    def engine(self) -> Iterator[Controller]:
        yield Controller(memory_host(self.folder, self._namespaces, self._nft))

    def close(self) -> None:
        self.server.stop()
        self._listener.close()
        assert not [note for note in self.notes if "internal error" in note or "a connection failed" in note]
        assert not [note for note in self.notes if not note.isprintable()]

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(f"{self.folder}/plugin.sock")
        return connection

    def exchange(self, data: bytes) -> list[Answer]:
        """All answers to these bytes, with nothing after them."""
        with self.connect() as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has heard enough
            return answers(received(connection))

    def call(self, name: str, body: Json | bytes = None) -> Answer:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return only(self.exchange(post(name, content)))

    def files(self) -> set[str]:
        return {
            str(path) for path in self.folder.parent.rglob("*") if path.name not in ("locks", "lock", "plugin.sock")
        }


def received(connection: socket.socket) -> bytes:
    out = bytearray()
    while True:
        try:
            data = connection.recv(1 << 16)
        except ConnectionResetError:
            return bytes(out)
        if not data:
            return bytes(out)
        out += data


def answers(raw: bytes) -> list[Answer]:
    """Whole HTTP answers, nothing between and behind them."""
    found = []
    while raw:
        head, end, rest = raw.partition(b"\r\n\r\n")
        assert end, raw
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        length = int(headers["Content-Length"])
        assert len(rest) >= length
        assert length < ANSWER_MAX
        found.append(Answer(int(lines[0].split()[1]), json.loads(rest[:length])))
        raw = rest[length:]
    return found


def only(found: list[Answer]) -> Answer:
    assert len(found) == 1, found
    return found[0]


def post(name: str, content: bytes = b"", *headers: str) -> bytes:
    lines = [f"POST /{name} HTTP/1.1", "Host: plugin", *(headers or (f"Content-Length: {len(content)}",)), "", ""]
    return "\r\n".join(lines).encode() + content


@pytest.fixture
def frontend(require_root: None, tmp_path: Path) -> Iterator[Frontend]:
    (tmp_path / "frontend").mkdir()
    made = Frontend(tmp_path / "frontend")
    yield made
    made.close()


# framing --------------------------------------------------------------------------------------------------------------

CAPABLE = "NetworkDriver.GetCapabilities"
CHUNKED = "Transfer-Encoding: chunked"
FRAMES = {
    "no length, no body": (post(CAPABLE, b"", "X: y"), 200),
    "GET": (f"GET /{CAPABLE} HTTP/1.1\r\n\r\n".encode(), 200),
    "HTTP/1.0": (f"POST /{CAPABLE} HTTP/1.0\r\n\r\n".encode(), 200),
    "the same length twice": (post(CAPABLE, b"{}", "Content-Length: 2", "content-length: 2"), 200),
    "a query": (post(f"{CAPABLE}?x=1"), 200),
    "chunks and a trailer": (post(CAPABLE, b"1;x=y\r\n{\r\n1\r\n}\r\n0\r\nA: b\r\n\r\n", CHUNKED), 200),
    "a length and chunks": (post(CAPABLE, b"2\r\n{}\r\n0\r\n\r\n", "Content-Length: 99", CHUNKED), 200),
    "a negative length": (post(CAPABLE, b"", "Content-Length: -1"), 400),
    "an empty length": (post(CAPABLE, b"", "Content-Length:"), 400),
    "a hexadecimal length": (post(CAPABLE, b"", "Content-Length: 0x10"), 400),
    "a signed length": (post(CAPABLE, b"", "Content-Length: +2"), 400),
    "a list of lengths": (post(CAPABLE, b"{}", "Content-Length: 2, 2"), 400),
    "foreign digits": (post(CAPABLE, b"", "Content-Length: ²"), 400),
    "two different lengths": (post(CAPABLE, b"{}", "Content-Length: 2", "Content-Length: 1"), 400),
    "a length beyond": (post(CAPABLE, b"", f"Content-Length: {BODY_MAX + 1}"), 413),
    "a length of 400 digits": (post(CAPABLE, b"", f"Content-Length: {'9' * 400}"), 413),
    "a body beyond, sent": (post(CAPABLE, b" " * (BODY_MAX + 1)), 413),
    "a negative chunk": (post(CAPABLE, b"-1\r\n", CHUNKED), 400),
    "a chunk size with underscore": (post(CAPABLE, b"1_0\r\n", CHUNKED), 400),
    "a prefixed chunk size": (post(CAPABLE, b"0x1\r\n{\r\n", CHUNKED), 400),
    "an empty chunk size": (post(CAPABLE, b"\r\n", CHUNKED), 400),
    "a chunk size without end": (post(CAPABLE, b"0" * 400, CHUNKED), 400),
    "a chunk beyond": (post(CAPABLE, b"ffffffffffff\r\n", CHUNKED), 413),
    "chunks beyond": (post(CAPABLE, b"80000\r\n" + b" " * 0x80000 + b"\r\n80001\r\n", CHUNKED), 413),
    "a chunk longer than it says": (post(CAPABLE, b"1\r\n{}\r\n0\r\n\r\n", CHUNKED), 400),
    "trailers without end": (post(CAPABLE, b"0\r\n" + b"A: b\r\n" * 10000, CHUNKED), 431),
    "gzip": (post(CAPABLE, b"", "Transfer-Encoding: gzip"), 400),
    "10,000 headers": (post(CAPABLE, b"", *(f"X-{n}: y" for n in range(10000))), 431),
    "a header of 1 MB": (post(CAPABLE, b"", "X: " + "y" * (1 << 20)), 431),
    "a header without colon": (post(CAPABLE, b"", "colon"), 400),
    "no HTTP": (b"hello\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "an empty line": (b"\r\n\r\n", 400),
    "bytes": (bytes(range(256)) + b"\r\n\r\n", 400),
    "a name of 30 kB": (post("N" * 30000), 404),
    "no name": (post(""), 404),
    "a path": (post("../../../etc/passwd"), 404),
    "a call of another plugin": (post("VolumeDriver.Create", b"{}"), 404),
    "other capitals": (post("networkdriver.getcapabilities"), 404),
}


@pytest.mark.parametrize("name", FRAMES)
def test_what_is_sent_is_answered_once_or_refused_with_the_reason(frontend: Frontend, name: str) -> None:
    data, status = FRAMES[name]
    found = frontend.exchange(data)
    assert [one.status for one in found[:1]] == [status]
    assert found[0].is_error() == (status != 200)
    assert len(found) == 1 or status == 404, "after a refusal the connection is closed"
    assert frontend.call(CAPABLE).status == 200


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02\x00\x01\x00", b"POST", post(CAPABLE)[:-1],
                                  post(CAPABLE, b"{}")[:-1], post(CAPABLE, b"5\r\n{", CHUNKED)])  # fmt: skip
def test_half_a_request_is_closed_without_a_word(frontend: Frontend, data: bytes) -> None:
    assert frontend.exchange(data) == []


def test_an_answer_reaches_who_has_closed_its_half(frontend: Frontend) -> None:
    assert only(frontend.exchange(post("Plugin.Activate"))).json["Implements"] == ["NetworkDriver", "IpamDriver"]


def test_requests_behind_each_other_are_answered_in_their_order(frontend: Frontend) -> None:
    pair = post("Plugin.Activate", b"{}") + post(CAPABLE, b"2\r\n{}\r\n0\r\n\r\n", CHUNKED)
    assert [tuple(one.json) for one in frontend.exchange(pair * 50)] == [
        ("Implements",),
        ("Scope", "GwAllocChecker"),
    ] * 50


def test_a_request_that_drips_is_refused_in_time_and_holds_up_nobody(
    frontend: Frontend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is for the whole request, however often a byte comes."""
    monkeypatch.setattr(docker_request, "REQUEST_LIMIT_S", 0.5)
    with frontend.connect() as slow:
        slow.sendall(post(CAPABLE, b"", "Content-Length: 1000000"))
        slow.settimeout(0.02)
        raw = b""
        while not raw:
            slow.sendall(b" ")
            assert frontend.call(CAPABLE).status == 200
            try:
                raw = slow.recv(1 << 16)
            except TimeoutError:
                pass
        assert raw.startswith(b"HTTP/1.1 408")


def test_who_takes_no_answer_holds_up_nobody(frontend: Frontend, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is closed, and what else it sent is not read."""
    monkeypatch.setattr(docker_server, "_SEND_LIMIT_S", 0.5)
    with frontend.connect() as deaf:
        deaf.settimeout(0.2)
        with pytest.raises(OSError):  # noqa: PT012 - the loop ends when the server reads no more
            while True:
                deaf.sendall(post("Plugin.Activate") * 100)
        assert frontend.call(CAPABLE).status == 200
    frontend.server.stop()
    frontend.server = Server(frontend._listener, frontend.engine)  # the fixture stops it again
    frontend.server.start()


# many connections -----------------------------------------------------------------------------------------------------


def test_many_idle_connections_starve_nobody(frontend: Frontend, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has been idle for long makes room; the last one is kept, and still answered.

    Which of several that have just been answered is idle first is up to the scheduler.
    """
    monkeypatch.setattr(docker_server, "_CONNECTIONS_MAX", 8)
    monkeypatch.setattr(docker_server, "_GRACE_S", 0.02)
    with ExitStack() as opened:
        idle = []
        for _ in range(30):
            idle.append(opened.enter_context(closing(frontend.connect())))
            idle[-1].sendall(post(CAPABLE))
            assert b"200 OK" in idle[-1].recv(4096)
            assert len(frontend.server._connections) - len(frontend.server._ended) <= 8
            assert not frontend.server._ended or len(idle) > 8, "no connection is closed below the limit"

        def closed() -> list[socket.socket]:
            return select.select(idle, [], [], 0)[0]

        until(lambda: len(closed()) >= 22, "those beyond the limit are closed")
        assert all(connection.recv(1) == b"" for connection in closed())
        assert set(idle[:8]) <= set(closed())
        idle[-1].sendall(post(CAPABLE))
        assert b"200 OK" in idle[-1].recv(4096)


def test_connections_that_say_nothing_at_all_starve_nobody(frontend: Frontend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_server, "_CONNECTIONS_MAX", 8)
    monkeypatch.setattr(docker_server, "_GRACE_S", 0.02)
    silent = [frontend.connect() for _ in range(100)]
    assert frontend.call(CAPABLE).status == 200
    for connection in silent:
        connection.close()


def test_where_all_connections_are_busy_the_next_waits_for_its_turn(
    frontend: Frontend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_server, "_CONNECTIONS_MAX", 4)
    monkeypatch.setattr(docker_request, "REQUEST_LIMIT_S", 0.5)
    monkeypatch.setattr(docker_server, "_LINGER_S", 0.1)
    busy = []
    for number in range(12):
        busy.append(frontend.connect())
        busy[-1].sendall(b"POST ")
        while len(frontend.server._connections) < min(number + 1, 4) or frontend.server._idle:
            if select.select(busy, [], [], 0.001)[0]:  # on a slow machine the first one is answered before
                break
    assert frontend.call(CAPABLE).status == 200
    for connection in busy:
        assert received(connection).startswith(b"HTTP/1.1 408")
        connection.close()


def test_stopping_ends_idle_connections(frontend: Frontend) -> None:
    idle = [frontend.connect() for _ in range(5)]
    for connection in idle:
        connection.sendall(post(CAPABLE))
        assert b"keep-alive" in connection.recv(4096)
    frontend.server.stop()
    for connection in idle:
        assert connection.recv(1) == b""
        connection.close()
    assert not frontend.server._connections
    frontend.server = Server(frontend._listener, frontend.engine)
    frontend.server.start()


def test_what_has_arrived_is_answered_before_it_stops(frontend: Frontend) -> None:
    """However late: a dockerd whose call gets no answer fails the container."""
    for _ in range(20):
        with frontend.connect() as late:
            late.sendall(post(CAPABLE))
            while not frontend.server._connections:
                time.sleep(0)
            frontend.server.stop()
            assert only(answers(received(late))).status == 200
        frontend.server = Server(frontend._listener, frontend.engine)
        frontend.server.start()


# bodies ---------------------------------------------------------------------------------------------------------------

DATA = [{"AddressSpace": "LocalDefault", "Pool": "10.9.0.0/24", "Gateway": "10.9.0.1/24", "AuxAddresses": {}}]
PORT = {"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080}
WHERE = {"NetworkID": NETWORK, "EndpointID": ENDPOINT}
OPTIONS = {"com.docker.network.portmap": [PORT], "com.docker.network.endpoint.exposedports": [{"Proto": 6, "Port": 80}]}
VALID: dict[str, Json] = {
    CREATE_NETWORK: {
        "NetworkID": NETWORK,
        "Options": {"com.docker.network.enable_ipv6": False, "com.docker.network.generic": {}},
        "IPv4Data": DATA,
        "IPv6Data": [],
    },
    DELETE_NETWORK: {"NetworkID": NETWORK},
    CREATE_ENDPOINT: {
        **WHERE,
        "Interface": {"Address": "10.9.0.5/24", "AddressIPv6": "", "MacAddress": ""},
        "Options": {**OPTIONS, "com.docker.network.endpoint.macaddress": "AkIKAQID"},
    },
    JOIN: {**WHERE, "SandboxKey": "/run/docker/netns/x", "Options": OPTIONS},
    PROGRAM_EXTERNAL_CONNECTIVITY: {**WHERE, "Options": OPTIONS},
    REVOKE_EXTERNAL_CONNECTIVITY: WHERE,
    ENDPOINT_OPER_INFO: WHERE,
    LEAVE: WHERE,
    DELETE_ENDPOINT: WHERE,
    DISCOVER_NEW: {"DiscoveryType": 1, "DiscoveryData": {"Address": "10.0.0.1", "Self": True}},
    REQUEST_POOL: {
        "AddressSpace": "cni-cnm",
        "Pool": "10.8.0.0/24",
        "SubPool": "",
        "Options": {},
        "V6": False,
    },
    REQUEST_ADDRESS: {"PoolID": "docker-10.8.0.0-24", "Address": "", "Options": {}},
    RELEASE_ADDRESS: {"PoolID": "docker-10.8.0.0-24", "Address": "10.8.0.9"},
    RELEASE_POOL: {"PoolID": "docker-10.8.0.0-24"},
}
DEEP = 100_000
BODIES = {
    "cut off": b'{"NetworkID": "a',
    "a list": b"[1]",
    "a text": b'"x"',
    "a number": b"1",
    "true": b"true",
    "two objects": b"{}{}",
    "no UTF-8": b'{"NetworkID": "\xff"}',
    "half a surrogate pair": b'{"NetworkID": "\\ud800", "PoolID": "\\ud800", "EndpointID": "\\udfff"}',
    "NaN": b'{"NetworkID": NaN}',
    "a number of 5,000 digits": b'{"NetworkID": %s}' % (b"9" * 5000),
    "lists in lists": b"[" * DEEP + b"]" * DEEP,
    "objects in objects": b'{"Options":' * DEEP + b"1" + b"}" * DEEP,
    "lists as deep as a parser takes": b'{"Options": %s1%s}' % (b"[" * 900, b"]" * 900),
    "1 MB of keys": json.dumps({f"k{n}": n for n in range(60000)}).encode(),
    "1 MB of text": b'{"NetworkID": "%s"}' % (b"x" * (BODY_MAX - 100)),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_none_of_ours_is_answered(frontend: Frontend, name: str) -> None:
    """By every call. Most say what is wrong; those that look at nothing may not care."""
    for call in CALLS:
        found = frontend.call(call, BODIES[name])
        assert found.status == 200 or found.is_error(), (call, found)


IDS = (
    "", "a", "a" * 11, "A" * 64, "a" * 65, "../" * 8 + "etc/passwd", "a/b" * 8, "a\0" * 8, "a\n" * 8, "é" * 16,
    "٣" * 16, ".", "..", "-" * 16, "x" * (BODY_MAX - 1000), " " * 16, "%00" * 8, "docker/../../x",
)  # fmt: skip


@pytest.mark.parametrize("text", IDS, ids=range(len(IDS)))
def test_ids_of_every_kind(frontend: Frontend, text: str) -> None:
    """Nothing is made under an id that is none, nor outside the folders; what is to go is as good as gone."""
    before = frontend.files()
    for call, body in VALID.items():
        assert isinstance(body, dict)
        for key in ("NetworkID", "EndpointID", "PoolID"):
            if key not in body or (call == CREATE_ENDPOINT and key == "NetworkID"):
                continue
            found = frontend.call(call, {**body, key: text})
            assert found.is_error() or found.json == {}, (call, found)
    outside = {file for file in frontend.files() - before if "/frontend/" not in file}
    assert not outside
    with frontend.engine() as controller:
        assert not list(controller.networks())


@pytest.mark.parametrize("call", VALID)
def test_a_field_of_another_type_is_named(frontend: Frontend, call: str) -> None:
    """Every field, at every depth, as every other kind of JSON value."""
    for path in paths(VALID[call]):
        for value in (None, True, 1, -1, 1.5, "x", [], [1], {}, {"x": 1}):
            found = frontend.call(call, replaced(VALID[call], path, value))
            assert found.status == 200 or found.is_error(), (path, value, found)
        frontend.call(DELETE_NETWORK, {"NetworkID": NETWORK})


def paths(value: Json, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if here:
        yield here
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(inner, (*here, key))


def replaced(value: Json, path: tuple[Any, ...], new: Json) -> Json:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20)
    | st.sampled_from(["10.9.0.0/24", "10.9.0.5/24", "10.9.0.5", "fd00::/64", "0.0.0.0/0", NETWORK, ENDPOINT]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_any_request_is_answered(tmp_path: Path, data: st.DataObject) -> None:
    """A valid life of a network with one field changed: no call meets a defect, and the answer is JSON."""
    frontend = _without_socket(tmp_path)
    changed = data.draw(st.sampled_from(sorted(VALID)))
    for call, body in VALID.items():
        sent = body
        if call == changed:
            sent = replaced(body, data.draw(st.sampled_from(sorted(paths(body), key=str))), data.draw(JSONS))
        reply = answer(frontend.engine, call, json.dumps(sent).encode())
        assert isinstance(json.loads(reply.body), dict)
        assert b"internal error" not in reply.body, (call, sent, reply.body)
    answer(frontend.engine, DELETE_NETWORK, json.dumps({"NetworkID": NETWORK}).encode())


RAW = st.one_of(
    st.sampled_from(
        [b"1e400", b"-1e400", b"NaN", b"Infinity", b"-0", b"1" * 4000, b"9" * 5000, b"0.1e-9999", b"1e", b"01", b"+1",
         b'"\\ud800"', b'"\\udfff\\ud800"', b'"\\u0000"', b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\xaf"', b'"\n"', b'"',
         b"{", b"]", b"nul", b"", b"\x00", b"\xef\xbb\xbf1", b"\xff\xfe1\x00"]
    ),
    st.sampled_from([10, 100, 900, 5000]).map(lambda depth: b"[" * depth + b"]" * depth),
    st.sampled_from([10, 100, 900, 5000]).map(lambda depth: b'{"Options":' * depth + b"{}" + b"}" * depth),
    st.binary(max_size=12),
    JSONS.map(lambda value: json.dumps(value).encode()),
    JSONS.map(lambda value: json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")),
)  # fmt: skip
"""What may stand in the place of a value, JSON or not."""
_HERE = "\x7fhere\x7f"


@st.composite
def raw_bodies(draw: st.DrawFn, valid: Json) -> bytes:
    """A valid request with one value replaced by any bytes, cut off, or with its keys twice."""
    places = sorted(paths(valid), key=str)
    changed = replaced(valid, draw(st.sampled_from(places)), _HERE) if places else {"x": _HERE}
    body = json.dumps(changed).encode().replace(json.dumps(_HERE).encode(), draw(RAW))
    if draw(st.booleans()):
        again = json.dumps(valid).encode()
        body = b"%s,%s" % ((again[:-1], body[1:]) if draw(st.booleans()) else (body[:-1], again[1:]))
    return body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 4)) == 0 else body


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_body_of_any_call_is_answered(tmp_path: Path, data: st.DataObject) -> None:
    """Wrong types, depths, numbers, encodings, surrogates and repeated keys, beside a network that lives."""
    frontend = _without_socket(tmp_path)
    for call in (CREATE_NETWORK, CREATE_ENDPOINT, JOIN):
        assert answer(frontend.engine, call, json.dumps(VALID[call]).encode()).status == 200
    calls = data.draw(st.lists(st.sampled_from(sorted(CALLS)), min_size=1, max_size=3))
    for call in calls:
        body = data.draw(raw_bodies(VALID.get(call, {})))
        reply = answer(frontend.engine, call, body)
        found = Answer(reply.status, json.loads(reply.body))
        assert found.status == 200 or found.is_error(), (call, body, reply)
        assert b"internal error" not in reply.body, (call, body, reply.body)
        reply.body.decode("ascii")
        assert len(reply.body) < ANSWER_MAX
    for call in (LEAVE, DELETE_ENDPOINT, DELETE_NETWORK):
        reply = answer(frontend.engine, call, json.dumps(VALID[call]).encode())
        assert reply.status == 200 or call != DELETE_NETWORK or b"endpoint" in reply.body, (call, calls, reply.body)


def _without_socket(folder: Path) -> Frontend:
    frontend = Frontend.__new__(Frontend)
    frontend._namespaces, frontend._nft = MemoryNamespaces(), MemoryNft()
    made = folder / f"{time.monotonic_ns()}"
    frontend.folder = made
    return frontend


PIECES = st.sampled_from(
    [b"POST /Plugin.Activate HTTP/1.1\r\n", b"\r\n", b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n", b"{}",
     b"2\r\n{}\r\n", b"0\r\n\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"\0", b":", b" ", b"-1"]
)  # fmt: skip


@given(st.lists(PIECES | st.binary(max_size=8), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_answered_or_closed(frontend: Frontend, pieces: list[bytes]) -> None:
    """Each answer is a whole one; the server lives."""
    with frontend.connect() as connection:
        try:
            connection.sendall(b"".join(pieces))
            connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        raw = received(connection).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    for one in answers(raw):
        assert one.status == 200 or one.is_error()


# at once --------------------------------------------------------------------------------------------------------------


def test_the_same_call_many_times_at_once_is_one(frontend: Frontend) -> None:
    """A network, an endpoint, its external connectivity and its end, each by 16 at once: one of each, then none."""

    def together(call: str) -> list[Answer]:
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(lambda _: frontend.call(call, VALID[call]), range(16)))

    for call in (CREATE_NETWORK, CREATE_ENDPOINT, JOIN,
                 PROGRAM_EXTERNAL_CONNECTIVITY, ENDPOINT_OPER_INFO):  # fmt: skip
        found = together(call)
        assert all(one == found[0] for one in found), (call, found)
        assert found[0].status == 200, found[0]
    with frontend.engine() as controller:
        network = next(iter(controller.networks()))
        assert [endpoint.id for endpoint in network.endpoints()] == [ENDPOINT]
    for call in (REVOKE_EXTERNAL_CONNECTIVITY, LEAVE, DELETE_ENDPOINT,
                 DELETE_NETWORK):  # fmt: skip
        assert {one.status for one in together(call)} == {200}
    with frontend.engine() as controller:
        assert not list(controller.networks())
    assert not [file for file in frontend.files() if os.path.isfile(file) and "/leases/" in file]


def test_opposite_calls_at_once_end_in_one_of_the_two_ways(frontend: Frontend) -> None:
    """An endpoint made and deleted by 8 each: every answer is one, and the last word holds."""
    frontend.call(CREATE_NETWORK, VALID[CREATE_NETWORK])
    calls = [CREATE_ENDPOINT, DELETE_ENDPOINT] * 8
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda call: frontend.call(call, VALID[call]), calls))
    assert all(one.status == 200 or one.is_error() for one in found), found
    assert frontend.call(DELETE_ENDPOINT, WHERE).status == 200
    assert frontend.call(DELETE_NETWORK, WHERE).status == 200
    with frontend.engine() as controller:
        assert not list(controller.networks())


def test_a_request_that_cannot_be_read(frontend: Frontend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has no memory for it: an answer that says so, and the next request is served."""
    real = Reader._more
    failures = [OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))]

    class Short:
        """A connection whose first receive fails."""

        def __init__(self, connection: socket.socket) -> None:
            self._connection = connection

        def recv(self, size: int) -> bytes:
            if failures:
                raise failures.pop()
            return self._connection.recv(size)

    def more(reader: Reader) -> bool:
        connection = reader._connection
        reader._connection = Short(connection)  # type: ignore[assignment]
        try:
            return real(reader)
        finally:
            reader._connection = connection

    monkeypatch.setattr(Reader, "_more", more)
    found = frontend.call("IpamDriver.GetCapabilities")
    assert (found.status, found.is_error()) == (503, True)
    assert "the request cannot be read: No buffer space available" in found.json["Err"]
    assert frontend.call("IpamDriver.GetCapabilities").status == 200


def test_waiting_for_connections_fails(frontend: Frontend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has no memory for poll(2): the threads that wait go on."""
    real, failed = select.poll, list[object]()

    class Short:
        """Its first wait fails."""

        def __init__(self) -> None:
            self._poll = real()
            self.register = self._poll.register

        def poll(self, timeout_ms: float | None = None) -> list[tuple[int, int]]:
            if self not in failed:
                failed.append(self)
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
            return self._poll.poll(timeout_ms)

    frontend.server.stop()
    monkeypatch.setattr(select, "poll", Short)
    frontend.server = Server(frontend._listener, frontend.engine, lambda line, _, **__: frontend.notes.append(line))
    frontend.server.start()
    until(lambda: len(failed) == 2, "both threads have waited")
    assert frontend.call("IpamDriver.GetCapabilities").status == 200
    waits = ("connections cannot be waited for", "the next look comes early")
    expected = {f"docker: {what}: Cannot allocate memory" for what in waits}
    until(lambda: expected <= set(frontend.notes), "both threads have said so")
