"""The lease lock and the index: what waits, what does not, and what a kill leaves."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from cni_cnm.errors import IoFailed, TryAgain
from cni_cnm.ipam.lease_index import LeaseIndex
from cni_cnm.ipam.lease_lock import LeaseLock
from cni_cnm.ipam.leases import Leases
from tests.unit.ipam.lease_folder import NETWORK, LeaseFolder, ranges
from tests.waiting import until

CONFIG = ranges("10.1.0.0/16")


def test_held_by_another(tmp_path: Path) -> None:
    """A lock that stays held ends in "try again", with the file named."""
    descriptor = os.open(tmp_path / "lock", os.O_RDONLY | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with (
        pytest.raises(TryAgain, match=f"another process holds the lease lock {tmp_path}/lock for more than 0.1 s"),
        LeaseLock(str(tmp_path), 0.1),
    ):
        pytest.fail("held twice")
    os.close(descriptor)
    with LeaseLock(str(tmp_path), 0.1):
        pass


def test_waits_for_its_turn(tmp_path: Path) -> None:
    """A lock that is let go in time is taken."""
    descriptor = os.open(tmp_path / "lock", os.O_RDONLY | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    timer = threading.Timer(0.1, os.close, [descriptor])
    begin = time.monotonic()
    timer.start()
    with LeaseLock(str(tmp_path), 10):
        assert time.monotonic() - begin > 0.05
    timer.join()


def test_lock_is_a_folder(tmp_path: Path) -> None:
    """Where `lock` is a folder, the lock is inside it."""
    (tmp_path / "lock").mkdir()
    with LeaseLock(str(tmp_path), 1):
        assert (tmp_path / "lock/lock").is_file()


def test_no_folder_to_be_had(tmp_path: Path) -> None:
    """A store that cannot be made is named."""
    (tmp_path / "file").touch()
    with pytest.raises(IoFailed, match="file/net/lock cannot be taken"), LeaseLock(f"{tmp_path}/file/net", 1):
        pytest.fail("held in a file")


@pytest.fixture
def store(tmp_path: Path) -> LeaseFolder:
    return LeaseFolder(tmp_path)


def index(store: LeaseFolder) -> LeaseIndex:
    return LeaseIndex(NETWORK, str(store.folder), store.settings.run_dir, store.host.store)


def test_change_in_the_same_tick(store: LeaseFolder) -> None:
    """A change of others that gets the very stamp of our own last change makes the index invalid."""
    store.foreign("10.1.0.9", "other\r\neth0")
    store.add(CONFIG, "c1")
    assert index(store).valid()
    stamp = (store.folder / "10.1.0.2").stat().st_mtime_ns
    os.utime(store.folder, ns=(stamp, stamp))
    assert not index(store).valid()


@pytest.mark.parametrize("granularity_ns", [1_000_000_000, 4_000_000, 100])
def test_coarse_stamps(store: LeaseFolder, granularity_ns: int) -> None:
    """The pinned time is one that a coarse file system can keep, and differs from its present stamp."""
    store.add(CONFIG, "c1")
    coarse = time.time_ns() // granularity_ns * granularity_ns
    os.utime(store.folder, ns=(coarse, coarse))
    index(store).pin()
    pinned = store.folder.stat().st_mtime_ns
    assert pinned % granularity_ns == 0
    assert pinned < coarse


def test_kill_between_the_stamps(store: LeaseFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between stamping the index and the folder leaves an index that is not valid."""
    store.add(CONFIG, "c1")
    (store.folder / "10.1.0.77").write_bytes(b"r\r\neth0")
    real, calls = os.utime, []

    def dies(path: str, *, ns: tuple[int, int]) -> None:
        calls.append(path)
        if path == str(store.folder):
            raise KeyboardInterrupt
        real(path, ns=ns)

    monkeypatch.setattr(os, "utime", dies)
    with pytest.raises(KeyboardInterrupt):
        index(store).pin()
    monkeypatch.undo()
    assert calls[-1] == str(store.folder)
    assert len(calls) == 2
    assert not index(store).valid()
    assert store.delete_unrecorded(CONFIG, "r") == {"10.1.0.77"}


def test_without_a_record_the_lease_is_indexed(store: LeaseFolder) -> None:
    """A lease taken for an endpoint that has no record is found all the same."""
    from cni_cnm.model import EndpointSpec

    store.add(CONFIG, "c1")
    store.pool(CONFIG).acquire(store.key("bare"), EndpointSpec("bare", "eth0", "", "t"))
    assert store.delete_unrecorded(CONFIG, "bare") == {"10.1.0.3"}


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"r\\r\\neth0": ["10.1.0.50"]}'])
def test_damaged_index(store: LeaseFolder, damage: bytes) -> None:
    """An index that is torn or wrong frees nothing that is not the endpoint's."""
    store.foreign("10.1.0.50", "other\r\neth0")
    store.add(CONFIG, "c1")
    (path,) = (Path(store.settings.run_dir) / "leases").iterdir()
    times = path.stat()
    path.write_bytes(damage)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert store.delete_unrecorded(CONFIG, "r") == set()
    assert "10.1.0.50" in store.held()


def test_no_index_can_be_kept(store: LeaseFolder) -> None:
    """Where the index cannot be written, leases are found by reading them."""
    store.foreign("10.1.0.50", "r\r\neth0")
    Path(store.settings.run_dir).mkdir()
    (Path(store.settings.run_dir) / "leases").touch()
    assert store.delete_unrecorded(CONFIG, "r") == {"10.1.0.50"}
    assert store.add(CONFIG, "c1") == ["10.1.0.2"]


def test_modes_are_ours(tmp_path: Path) -> None:
    """The lease folder has the reference's mode, also the folders above it, under the umask 0."""
    old = os.umask(0)
    try:
        with LeaseLock(f"{tmp_path}/cni/networks/podnet"):
            pass
    finally:
        os.umask(old)
    modes = [path.stat().st_mode & 0o777 for path in sorted((tmp_path / "cni").rglob("*"))]
    assert modes == [0o755, 0o755, 0o750]


@pytest.mark.parametrize("place", ["", "/lock"])
def test_a_link_below_the_data_dir_is_not_followed(tmp_path: Path, place: str) -> None:
    """Neither the folder nor the lock: nothing is made where the link leads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = tmp_path / "podnet"
    if place:
        folder.mkdir()
        (folder / "lock").symlink_to(elsewhere / "made")
    else:
        folder.symlink_to(elsewhere)
    with pytest.raises(IoFailed, match="symbolic link"), LeaseLock(str(folder)):
        pytest.fail("followed")
    assert [path.name for path in elsewhere.iterdir()] == []


@pytest.mark.parametrize("content", [None, b'{"c9\\r\\neth0": 7}', b'{"c9\\r\\neth0": ["../x"]}'])
def test_an_index_that_is_damaged(tmp_path: Path, content: bytes | None) -> None:
    """It is no index: the leases are read, the descriptor is closed, and the index is written again."""
    store = LeaseFolder(tmp_path)
    store.foreign("10.1.0.9", "c9\r\neth0")
    assert store.delete_unrecorded(CONFIG, "c1") == set()
    (index,) = (tmp_path / "run/leases").iterdir()
    stamp = index.stat().st_mtime_ns
    if content is None:
        index.unlink()
        index.mkdir()
    else:
        index.write_bytes(content)
    os.utime(index, ns=(stamp, stamp))
    before = os.listdir("/proc/self/fd")
    assert store.delete_unrecorded(CONFIG, "c9") == {"10.1.0.9"}
    assert os.listdir("/proc/self/fd") == before


def test_the_lock_of_a_folder_that_was_removed_locks_nothing(tmp_path: Path) -> None:
    """One that waited for it while the network was deleted waits for the new folder's lock, as all that come later."""
    folder = tmp_path / "podnet"
    folder.mkdir()
    removed = os.open(folder / "lock", os.O_RDONLY | os.O_CREAT)
    fcntl.flock(removed, fcntl.LOCK_EX)
    late, inside = LeaseLock(str(folder), 10), threading.Event()

    def take() -> None:
        with late:
            inside.set()

    thread = threading.Thread(target=take)
    thread.start()
    until(lambda: late._descriptor >= 0, "the lock is waited for")
    (folder / "lock").unlink()
    folder.rmdir()
    with LeaseLock(str(folder), 10):
        os.close(removed)
        assert not inside.wait(0.2), "two hold the lock of one network"
    thread.join()
    assert inside.is_set()


def test_a_folder_that_another_begins_to_use_stays(store: LeaseFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the removal of its lock and its own: it has a new lock then, and the removal is over."""
    store.add(CONFIG, "c1")
    store.delete("c1")
    real = os.rmdir

    def late(path: str) -> None:
        store.foreign("10.1.0.9", "other\r\neth0")
        real(path)

    monkeypatch.setattr(os, "rmdir", late)
    Leases(NETWORK, str(store.folder), store.host).remove_folder()
    assert set(store.held()) == {"10.1.0.9"}


def test_a_folder_that_is_replaced_by_a_link_is_not_followed(store: LeaseFolder, tmp_path: Path) -> None:
    """After the check, while the lock is held: leases are read, made and removed in the folder that was opened."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "10.1.0.9").write_text("c9\r\neth0", newline="")
    store.foreign("10.1.0.8", "c8\r\neth0")
    leases, key = Leases(NETWORK, str(store.folder), store.host), store.key("c1")
    with leases:
        moved = store.folder.rename(tmp_path / "moved")
        store.folder.symlink_to(elsewhere)
        leases.remove(ip_address("10.1.0.9"))
        assert leases.reserve(ip_address("10.1.0.7"), key)
        leases.set_owner(ip_address("10.1.0.7"), store.key("c1-again"))
        leases.set_last_reserved(0, ip_address("10.1.0.7"))
        assert leases.owner("10.1.0.9") == ""
        assert set(leases.names()) == {"10.1.0.7", "10.1.0.8"}
        assert leases.unrecorded(store.key("c8")) == [ip_address("10.1.0.8")]
        leases.remove(ip_address("10.1.0.8"))
    assert sorted(path.name for path in moved.iterdir()) == ["10.1.0.7", "last_reserved_ip.0", "lock"]
    assert [path.name for path in elsewhere.iterdir()] == ["10.1.0.9"]
