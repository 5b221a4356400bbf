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


READERS: dict[str, Callable[[str], object]] = {
    "settings": settings.load,
    "resolvConf": dns.read_file,
    "a plugin's description": lambda path: discovery.find("plugin", "/nonexistent", (os.path.dirname(path),)),
    "the list of allowed sysctls": lambda path: tuning.parse({"sysctl": {"net.a.b": "1"}}, None, "e", allowlist=path),
}


@pytest.mark.parametrize("make", [pipe, huge, device])
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
