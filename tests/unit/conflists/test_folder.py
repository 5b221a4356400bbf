"""The runtime's folder: which file is the first, and how one gets there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cni_cnm.conflists import folder
from cni_cnm.errors import Conflict, Forbidden, IoFailed
from tests.unit.conflists.files import put


def test_names(tmp_path: Path) -> None:
    """As runtimes sort them, without what they do not read."""
    for name in ("20-b.conf", "10-a.conflist", "5.json", "readme", "1.conflist.bak"):
        (tmp_path / name).touch()
    (tmp_path / "0.conflist").mkdir()
    assert folder.names(str(tmp_path)) == ["10-a.conflist", "20-b.conf", "5.json"]
    assert folder.names(str(tmp_path / "nope")) == []


def test_networks_of_nerdctl(tmp_path: Path) -> None:
    """In a subfolder for each of containerd's namespaces. What else is in subfolders may be a copy."""
    for below, name in ((".", "10-a.conflist"), ("default", "nerdctl-b.conflist"), ("other", "nerdctl-b.conflist"),
                        ("default", "10-a.conflist"), ("backup", "10-a.conflist")):  # fmt: skip
        (tmp_path / below).mkdir(exist_ok=True)
        put(tmp_path / below, name, name[-10:-9])
    (tmp_path / "default/nerdctl-c.conflist").write_text("{")
    found = [one.path.removeprefix(f"{tmp_path}/") for one in folder.with_nerdctl(str(tmp_path))]
    assert found == ["10-a.conflist", "default/nerdctl-b.conflist", "other/nerdctl-b.conflist"]
    assert list(folder.with_nerdctl(str(tmp_path / "nope"))) == []


@pytest.mark.parametrize(
    ("present", "first", "path"),
    [
        ((), True, "10-net.conflist"),
        (("10-podnet.conflist",), False, "50-net.conflist"),
        (("87-podman.conflist",), False, "90-net.conflist"),
        (("10-a.conflist",), True, "05-net.conflist"),
        (("05-a.conflist",), True, "00-net.conflist"),
        (("10-podnet.conflist",), True, "10-net.conflist"),
    ],
)
def test_a_place_for_a_new_file(tmp_path: Path, present: tuple[str, ...], first: bool, path: str) -> None:
    for name in present:
        put(tmp_path, name, "other")
    assert folder.new_path(str(tmp_path), "net", first=first) == f"{tmp_path}/{path}"


@pytest.mark.parametrize(
    ("present", "first", "sentence"),
    [
        ((), False, "has no other file"),
        (("99-z.conflist",), False, "would come before"),
        (("00-a.conflist",), True, "comes before any name"),
    ],
)
def test_no_place(tmp_path: Path, present: tuple[str, ...], first: bool, sentence: str) -> None:
    for name in present:
        put(tmp_path, name, "other")
    with pytest.raises(Forbidden, match=sentence):
        folder.new_path(str(tmp_path), "net", first=first)


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    """Also in a file of another name, and of another program."""
    put(tmp_path, "10-x.conflist", "net", {"type": "bridge"})
    with pytest.raises(Conflict, match=r"10-x\.conflist configures a network net already"):
        folder.new_path(str(tmp_path), "net", first=False)


def test_create(tmp_path: Path) -> None:
    """Readable for all, whatever the umask; never in the place of a file; nothing else is left."""
    path = tmp_path / "new" / "10-net.conflist"
    before = os.umask(0o077)
    try:
        folder.create(str(path), b"text")
    finally:
        os.umask(before)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"text", 0o644)
    with pytest.raises(Conflict, match="there is a file"):
        folder.create(str(path), b"other")
    assert [(one.name, one.read_bytes()) for one in path.parent.iterdir()] == [("10-net.conflist", b"text")]


def test_replace(tmp_path: Path) -> None:
    """The mode stays, and a symbolic link, too."""
    target, link = tmp_path / "real.conflist", tmp_path / "link.conflist"
    target.write_text("old", encoding="utf-8")
    target.chmod(0o600)
    link.symlink_to(target)
    folder.replace(str(link), b"new")
    assert (link.is_symlink(), target.read_bytes(), target.stat().st_mode & 0o777) == (True, b"new", 0o600)
    assert sorted(os.listdir(tmp_path)) == ["link.conflist", "real.conflist"]


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(IoFailed, match="cannot be written: Not a directory"):
        folder.create(f"{tmp_path}/file/10-net.conflist", b"")
    with pytest.raises(IoFailed, match="cannot be read: Not a directory"):
        folder.names(f"{tmp_path}/file")
