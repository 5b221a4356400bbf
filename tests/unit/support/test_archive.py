"""The archive's file."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cni_cnm.errors import IoFailed
from cni_cnm.support import archive


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    os.umask(0)
    assert archive.write(str(path), [("one", {"a": 1}), ("two", [])]) == [
        "cni-cnm-support/one.json",
        "cni-cnm-support/two.json",
    ]
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as read:
        member = read.extractfile("cni-cnm-support/one.json")
        assert member is not None
        assert json.load(member) == {"a": 1}


def test_no_file_is_overwritten_and_no_link_followed(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("kept", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("there", "link", "no/folder"):
        with pytest.raises(IoFailed, match="cannot be made"):
            archive.write(str(tmp_path / name), [])
    assert (tmp_path / "there").read_text(encoding="utf-8") == "kept"
    assert not (tmp_path / "elsewhere").exists()


def test_a_part_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def parts() -> Iterator[tuple[str, object]]:
        yield "one", 1
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        archive.write(str(tmp_path / "a"), parts())
    assert not (tmp_path / "a").exists()
