"""Files of others: what is no file, or has no end, is an error at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_cnm import settings, text_file
from cni_cnm.cnm.interface import tuning
from cni_cnm.docker_protocol import discovery
from cni_cnm.errors import CnmError
from cni_cnm.ipam import dns


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "plugin.json")
    return str(folder / "plugin.json")


def huge(folder: Path) -> str:
    with open(folder / "plugin.json", "wb") as file:
        file.truncate(1 << 40)
    return str(folder / "plugin.json")


def device(folder: Path) -> str:
    (folder / "plugin.json").symlink_to("/dev/zero")
    return str(folder / "plugin.json")


def folder(inside: Path) -> str:
    (inside / "plugin.json").mkdir()
    return str(inside / "plugin.json")


READERS: dict[str, Callable[[str], object]] = {
    "settings": settings.load,
    "resolvConf": dns.read_file,
    "a plugin's description": lambda path: discovery.find("plugin", "/nonexistent", (os.path.dirname(path),)),
    "the list of allowed sysctls": lambda path: tuning.parse({"sysctl": {"net.a.b": "1"}}, None, "e", allowlist=path),
}


@pytest.mark.parametrize("make", [pipe, huge, device, folder])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_text_file(reader: str, make: Callable[[Path], str], tmp_path: Path) -> None:
    """One sentence that names the file; no descriptor stays open."""
    path = make(tmp_path)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(CnmError) as refused:
        READERS[reader](path)
    assert path in refused.value.msg
    assert os.listdir("/proc/self/fd") == before


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    """/etc/resolv.conf is one on many hosts."""
    (tmp_path / "file").write_text("nameserver 10.0.0.1\n")
    (tmp_path / "link").symlink_to("file")
    assert text_file.read(str(tmp_path / "link")) == b"nameserver 10.0.0.1\n"


def test_the_largest_file(tmp_path: Path) -> None:
    """One byte more than the limit is refused, and says so."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * text_file.SIZE_MAX)
    assert text_file.read(str(path)) == b"x" * text_file.SIZE_MAX
    path.write_bytes(b"x" * (text_file.SIZE_MAX + 1))
    with pytest.raises(OSError, match=r"^\[Errno 27\] it is larger than 1 MiB$"):
        text_file.read(str(path))


def test_a_folder_and_a_terminal(tmp_path: Path) -> None:
    """Neither is a file. Reading a terminal does not make it this process's own."""
    main, terminal = os.openpty()
    for path in (str(tmp_path), os.ttyname(terminal), pipe(tmp_path)):
        with pytest.raises(OSError, match=r"^\[Errno 22\] it is no regular file$"):
            text_file.read(path)
    os.close(main)
    os.close(terminal)


def test_what_is_read_is_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is started meanwhile by another thread has no descriptor of it."""
    flags: list[int] = []
    opened = os.open

    def watch(path: str, given: int) -> int:
        flags.append(given)
        return opened(path, given)

    monkeypatch.setattr(os, "open", watch)
    (tmp_path / "file").write_bytes(b"")
    assert text_file.read(str(tmp_path / "file")) == b""
    assert flags == [os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY]
