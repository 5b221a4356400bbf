"""Where a Docker plugin is looked for, and what its files may say."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.docker_protocol.discovery import Location, Tls, find
from cni_cnm.errors import InvalidConfig, IoFailed


class Host:
    def __init__(self, root: Path) -> None:
        self.sockets = root / "run"
        self.specs = (root / "etc", root / "usr")
        for folder in (self.sockets, *self.specs):
            folder.mkdir()
        self._open: list[socket.socket] = []

    def listen(self, path: str) -> Path:
        target = self.sockets / path
        target.parent.mkdir(exist_ok=True)
        made = socket.socket(socket.AF_UNIX)
        made.bind(str(target))
        self._open.append(made)
        return target

    def write(self, folder: int, path: str, text: str) -> Path:
        target = self.specs[folder] / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return target

    def find(self, name: str) -> Location | None:
        return find(name, str(self.sockets), [str(folder) for folder in self.specs])

    def close(self) -> None:
        for one in self._open:
            one.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.close()


def test_order(host: Host) -> None:
    """A socket before any file, /etc before /usr/lib, .spec before .json, the plain name before its folder."""
    steps: list[tuple[str, Any]] = [
        ("tcp://h:8", lambda: host.write(1, "p/p.json", '{"Addr": "tcp://h:8"}')),
        ("tcp://h:7", lambda: host.write(1, "p.json", '{"Addr": "tcp://h:7"}')),
        ("tcp://h:6", lambda: host.write(1, "p/p.spec", "tcp://h:6")),
        ("tcp://h:5", lambda: host.write(1, "p.spec", "tcp://h:5")),
        ("tcp://h:4", lambda: host.write(0, "p/p.json", '{"Addr": "tcp://h:4"}')),
        ("tcp://h:3", lambda: host.write(0, "p.json", '{"Addr": "tcp://h:3"}')),
        ("tcp://h:2", lambda: host.write(0, "p/p.spec", "tcp://h:2\n")),
        ("tcp://h:1", lambda: host.write(0, "p.spec", "  tcp://h:1\n")),
        ("", lambda: host.listen("p/p.sock")),
        ("", lambda: host.listen("p.sock")),
    ]
    assert host.find("p") is None
    for address, make in steps:
        made = make()
        found = host.find("p")
        assert found is not None
        assert found.source == str(made)
        assert found.address == (address.removeprefix("tcp://") or str(made))


def test_a_file_is_no_socket(host: Host) -> None:
    """What lies there under the name and is none is passed over."""
    (host.sockets / "p.sock").touch()
    assert host.find("p") is None
    host.write(0, "p.spec", "unix:///run/x.sock")
    assert host.find("p") == Location(str(host.specs[0] / "p.spec"), "unix", "/run/x.sock")


@pytest.mark.parametrize("name", ["", ".", "..", "../p", "a/b", "-x", "ä", "a b", "x" * 200, "a\0"])
def test_names_that_are_none(host: Host, name: str) -> None:
    """No name leads out of the folders."""
    host.listen("p.sock")
    assert host.find(name) is None


@pytest.mark.parametrize(
    ("tls", "read"),
    [
        (None, None),
        ({}, Tls(verify=False)),
        ({"CAFile": "/ca"}, Tls(verify=True, ca="/ca")),
        ({"CAFile": "/ca", "InsecureSkipVerify": True}, Tls(verify=False, ca="/ca")),
        ({"CAFile": "/ca", "CertFile": "/c", "KeyFile": "/k"}, Tls(True, "/ca", "/c", "/k")),
    ],
)
def test_json_with_tls(host: Host, tls: Any, read: Tls | None) -> None:
    """Without a CA nothing is verified, as with Docker."""
    body = {"Name": "p", "Addr": "tcp://h:1", **({} if tls is None else {"TLSConfig": tls})}
    host.write(0, "p.json", json.dumps(body))
    found = host.find("p")
    assert found is not None
    assert found.tls == read
    assert found.encrypted is (read is not None)


def test_https_is_verified_by_the_hosts_authorities(host: Host) -> None:
    """An https address in a .spec names no files."""
    host.write(0, "p.spec", "https://h:1/")
    found = host.find("p")
    assert found == Location(str(host.specs[0] / "p.spec"), "https", "h:1", Tls(verify=True))


@pytest.mark.parametrize(
    "url", ["", "nothing", "ftp://h:1", "tcp://h", "tcp://:1", "tcp://h:0", "tcp://h:65536", "unix://x"]
)
def test_addresses_that_are_none(host: Host, url: str) -> None:
    """The file and what is in it are named."""
    path = host.write(0, "p.spec", url)
    with pytest.raises(InvalidConfig, match=r"p\.spec") as caught:
        host.find("p")
    assert str(path) in caught.value.msg
    assert repr(url)[1:-1] in caught.value.msg


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"Addr": 5}', '{"Addr": "tcp://h:1", "TLSConfig": 5}'])
def test_json_that_is_none(host: Host, text: str) -> None:
    """One sentence with the file's path."""
    host.write(0, "p.json", text)
    with pytest.raises(InvalidConfig, match=r"p\.json"):
        host.find("p")


def test_unreadable(host: Host) -> None:
    """Bytes that are no text, and a folder of the file's name."""
    (host.specs[0] / "p.spec").write_bytes(b"\xff\xfe")
    with pytest.raises(IoFailed, match=r"p\.spec"):
        host.find("p")
    (host.specs[0] / "q.spec").mkdir()
    with pytest.raises(IoFailed, match=r"q\.spec"):
        host.find("q")
