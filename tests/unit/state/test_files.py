"""The store's files and locks."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from pathlib import Path
from threading import Thread

import pytest

from cni_cnm.errors import IoFailed, TryAgain
from cni_cnm.state.files import FileStore
from cni_cnm.state.store import ENDPOINTS, NETWORKS
from tests.waiting import until


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(str(tmp_path / "run"), str(tmp_path / "lib"))


def test_put_get_delete(store: FileStore, tmp_path: Path) -> None:
    """A record is one readable JSON file of root's alone; missing ones are None, and deleting them is done."""
    assert store.get(ENDPOINTS, "a") is None
    assert list(store.names(ENDPOINTS)) == []
    store.put(ENDPOINTS, "a", {"x": [1]})
    store.put(NETWORKS, "n", {"y": 2})
    assert store.get(ENDPOINTS, "a") == {"x": [1]}
    assert (tmp_path / "run/endpoints/a.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / "lib/networks/n.json").read_text()) == {"y": 2}
    assert list(store.names(ENDPOINTS)) == ["a"]
    store.delete(ENDPOINTS, "a")
    store.delete(ENDPOINTS, "a")
    assert store.get(ENDPOINTS, "a") is None
    assert [path.name for path in (tmp_path / "run/endpoints").iterdir()] == []


def test_a_broken_record_counts_as_none(store: FileStore, tmp_path: Path) -> None:
    """A file that a power cut left empty says nothing and blocks nothing."""
    store.put(ENDPOINTS, "a", {})
    (tmp_path / "run/endpoints/a.json").write_text("")
    assert store.get(ENDPOINTS, "a") is None
    store.put(ENDPOINTS, "a", {"z": 1})
    assert store.get(ENDPOINTS, "a") == {"z": 1}


def test_a_failed_write_is_named_and_leaves_the_old_record(store: FileStore, tmp_path: Path) -> None:
    """A folder in the record's place: one sentence with the path, no temporary file left."""
    (tmp_path / "run/endpoints/a.json/x").mkdir(parents=True)
    with pytest.raises(IoFailed, match=r"run/endpoints/a\.json cannot be written"):
        store.put(ENDPOINTS, "a", {})
    assert [path.name for path in (tmp_path / "run/endpoints").iterdir()] == ["a.json"]


def test_a_record_that_fits_in_part_is_not_half_a_record(store: FileStore, tmp_path: Path) -> None:
    """The kernel takes what there is room for, and says so: the old record stays, and nothing beside it."""
    store.put(ENDPOINTS, "a", {"old": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(IoFailed, match=r"a\.json cannot be written: File too large"):
            store.put(ENDPOINTS, "a", {"new": "x" * 5000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert store.get(ENDPOINTS, "a") == {"old": 1}
    assert [path.name for path in (tmp_path / "run/endpoints").iterdir()] == ["a.json"]


def test_what_a_killed_writer_left_goes_with_the_record(store: FileStore, tmp_path: Path) -> None:
    """SIGKILL between write and rename: the next put or delete takes the half of it along."""
    (tmp_path / "run/endpoints").mkdir(parents=True)
    for put_again in (True, False):
        (tmp_path / "run/endpoints/a.json.tmp").write_text("{")
        if put_again:
            store.put(ENDPOINTS, "a", {})
        store.delete(ENDPOINTS, "a")
        assert list((tmp_path / "run/endpoints").iterdir()) == []


def test_lock_excludes_threads_and_keys_are_apart(store: FileStore) -> None:
    """Two holders of one key wait for each other, of different keys they do not."""
    with store.lock("a"), store.lock("b"), pytest.raises(TryAgain, match="another request holds the lock a"):
        store.lock("a", timeout_s=0.05).__enter__()
    with store.lock("a", timeout_s=0.05):
        pass


def test_shared_locks(store: FileStore) -> None:
    """Readers hold a key together, and keep a writer out."""
    with store.lock("a", shared=True), store.lock("a", shared=True), pytest.raises(TryAgain):
        store.lock("a", timeout_s=0.05).__enter__()


def test_a_killed_holder_lets_go(store: FileStore) -> None:
    """SIGKILL of a process that holds a lock frees it at once."""
    child = os.fork()
    if child == 0:
        store.lock("a").__enter__()
        while True:
            time.sleep(1)

    def held() -> bool:
        try:
            with store.lock("a", timeout_s=0.01):
                return False
        except TryAgain:
            return True

    try:
        until(held, "the other process holds it")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with store.lock("a", timeout_s=1):
        pass


def test_counting_under_the_lock(store: FileStore) -> None:
    """Read, add one, write, from eight threads: nothing is lost."""
    store.put(ENDPOINTS, "n", {"count": 0})

    def work() -> None:
        for _ in range(20):
            with store.lock("n"):
                store.put(ENDPOINTS, "n", {"count": (store.get(ENDPOINTS, "n") or {})["count"] + 1})

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get(ENDPOINTS, "n") == {"count": 160}


@pytest.mark.parametrize("umask", [0, 0o077])
def test_modes_are_ours(tmp_path: Path, umask: int) -> None:
    """Folders and files, and the folders above that were missing, are of root alone under any umask."""
    old = os.umask(umask)
    try:
        store = FileStore(str(tmp_path / "a/b/run"), str(tmp_path / "a/b/lib"))
        with store.lock("key"):
            store.put(ENDPOINTS, "a", {})
            store.put(NETWORKS, "n", {})
    finally:
        os.umask(old)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "a").rglob("*")}
    assert modes | {(tmp_path / "a").stat().st_mode & 0o777} == {0o700, 0o600}


def test_a_link_in_the_place_of_a_record_or_its_temporary_file(store: FileStore, tmp_path: Path) -> None:
    """Nothing is read or written where it leads. Removing removes the link."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text('{"of": "another"}')
    store.put(ENDPOINTS, "a", {})
    record, temporary = tmp_path / "run/endpoints/a.json", tmp_path / "run/endpoints/a.json.tmp"
    temporary.symlink_to(elsewhere)
    with pytest.raises(IoFailed, match=r"a\.json cannot be written: Too many levels of symbolic links"):
        store.put(ENDPOINTS, "a", {"x": 1})
    store.put(ENDPOINTS, "a", {"x": 1})
    record.unlink()
    record.symlink_to(elsewhere)
    with pytest.raises(IoFailed, match=r"a\.json cannot be read: Too many levels of symbolic links"):
        store.get(ENDPOINTS, "a")
    store.delete(ENDPOINTS, "a")
    assert (os.path.lexists(record), elsewhere.read_text()) == (False, '{"of": "another"}')


def test_a_record_that_is_no_file_or_never_ends(store: FileStore, tmp_path: Path) -> None:
    """A pipe, a folder, a huge file: nothing waits, and no more than a record can have is read."""
    folder = tmp_path / "run/endpoints"
    (folder / "folder.json").mkdir(parents=True)
    os.mkfifo(folder / "pipe.json")
    with open(folder / "huge.json", "wb") as file:
        file.truncate(1 << 40)
    assert store.get(ENDPOINTS, "pipe") is None
    for name, reason in (("folder", "Is a directory"), ("huge", "File too large")):
        with pytest.raises(IoFailed, match=rf"{name}\.json cannot be read: {reason}"):
            store.get(ENDPOINTS, name)
