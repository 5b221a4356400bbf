"""A log stops nothing: what cannot be written is dropped, said once on stderr, and leaves no descriptor open."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from cni_cnm.frontend import request_log
from cni_cnm.frontend.reply import Subject
from cni_cnm.frontend.request_log import log
from cni_cnm.settings import Settings

LINES = 50


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has logged nothing yet."""
    monkeypatch.setattr(request_log, "_failing", set())
    sockets: list[socket.socket] = []
    monkeypatch.setattr(request_log, "_sockets", sockets)
    yield
    for opened in sockets:
        opened.close()


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def broken(folder: Path, kind: str) -> str:
    path = folder / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe without a reader":
        os.mkfifo(path)
    elif kind == "folder that is a file":
        path.write_text("")
        return f"{path}/log"
    elif kind == "full disk":
        return "/dev/full"
    return str(path / "log") if kind == "no folder" else str(path)


@pytest.mark.parametrize("kind", ["folder", "pipe without a reader", "folder that is a file", "full disk", "no folder"])
def test_a_log_that_cannot_be_written(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is raised, nothing waits, no descriptor stays open, and stderr has the reason once."""
    settings = Settings(log=broken(tmp_path, kind))
    before = descriptors()
    for _ in range(LINES):
        log("ADD podnet", 1.0, settings)
    assert descriptors() == before
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"cni-cnm: the log {settings.log} cannot be written: ")


def test_a_pipe_whose_reader_does_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines are dropped when the pipe is full. When there is room again they are written, and a new failure is said."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    settings = Settings(log=str(path))
    for _ in range(100):
        log("ADD " + "x" * 1500, 1.0, settings)
    assert len(capsys.readouterr().err.splitlines()) == 1
    while len(os.read(reader, 1 << 16)) == 1 << 16:
        pass
    log("ADD again", 1.0, settings)
    assert b"ADD again" in os.read(reader, 1 << 16)
    os.close(reader)
    log("ADD last", 1.0, settings)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_syslog_that_does_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue takes some lines, the others are dropped; a daemon that is started again gets the next one."""
    path = str(tmp_path / "log")
    monkeypatch.setattr(request_log, "_SYSLOG", path)
    log("ADD without syslog", 1.0, Settings())
    assert not capsys.readouterr().err
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(path)
        for _ in range(5000):
            log("ADD podnet", 1.0, Settings())
        assert len(capsys.readouterr().err.splitlines()) == 1
        assert daemon.recv(4096).startswith(b"<30>")
    os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(path)
        log("ADD again", 1.0, Settings())
        assert daemon.recv(4096).endswith(f" cni-cnm[{os.getpid()}]: ADD again 1.0 ms".encode())


def test_text_from_outside_is_one_line(tmp_path: Path) -> None:
    """Line ends, terminal escapes and bytes that are not UTF-8 are escaped."""
    path = tmp_path / "log"
    log("ADD a\nb\x1b[2J\x9bm\u2028\udcff", 1.0, Settings(log=str(path)))
    (line,) = path.read_bytes().splitlines()
    assert b"ADD a\\nb\\x1b[2J\\x9bm\\u2028\\udcff 1.0 ms" in line


def test_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime may have closed it: Python has none then."""
    monkeypatch.setattr("sys.stderr", None)
    log("ADD podnet", 1.0, Settings(log="/dev/full"))


def test_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, with the process, which `kubectl logs` of a service in a pod shows."""
    log("ADD podnet\nforged", 1.0, Settings(log="stderr"))
    (said,) = capsys.readouterr().err.splitlines()
    assert said == f"cni-cnm[{os.getpid()}]: ADD podnet\\nforged 1.0 ms"


def test_an_event_as_json(tmp_path: Path) -> None:
    """It has its kind and the network, and no code."""
    path = tmp_path / "log"
    settings = Settings(log=str(path), log_format="json")
    log("EVENT network web was made", 0.0, settings, Subject(network="web"), event="network made")
    log("docker: NetworkDriver.Join ok", 1.0, settings, Subject("NetworkDriver.Join", "web", "box", endpoint="ab12"))
    made, joined = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert {key: made[key] for key in made if key not in ("time", "pid")} == {
        "event": "network made", "network": "web", "ms": 0.0, "message": "EVENT network web was made",
    }  # fmt: skip
    wanted = ("NetworkDriver.Join", "web", "box", "ab12", 0)
    assert tuple(joined[key] for key in ("verb", "network", "container", "endpoint", "code")) == wanted


def test_a_line_as_json(tmp_path: Path) -> None:
    """What is known of the request; a line of the service has no request. Other programs can read each line."""
    path = tmp_path / "log"
    settings = Settings(log=str(path), log_format="json")
    subject = Subject("ADD", "web", "c1", "eth0", "shop/cart-0")
    log('ADD web c1/eth0 failed, code 11: "wait"', 4.24, settings, subject, 11)
    log("STATUS web ok", 1.0, settings, Subject("STATUS", "web"))
    log("REPAIR the network web\x07", 1.0, settings)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", line["time"]) for line in lines)  # RFC 3339
    assert [line.pop("pid") for line in lines] == [os.getpid()] * 3
    assert all(datetime.fromisoformat(line.pop("time")).utcoffset() is not None for line in lines)
    assert lines == [
        {
            "verb": "ADD",
            "network": "web",
            "container": "c1",
            "ifname": "eth0",
            "pod": "shop/cart-0",
            "code": 11,
            "ms": 4.2,
            "message": 'ADD web c1/eth0 failed, code 11: "wait"',
        },
        {"verb": "STATUS", "network": "web", "code": 0, "ms": 1.0, "message": "STATUS web ok"},
        {"ms": 1.0, "message": "REPAIR the network web\x07"},
    ]
