"""What real etcd does to its clients: servers that end, hang or are full, compaction, a restored backup."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cni_cnm.cluster.directory import WatchEnded
from cni_cnm.cluster.etcd import watch as watch_module
from cni_cnm.cluster.etcd.directory import EtcdDirectory
from cni_cnm.cluster.follow import Away, Changed, News, Whole, follow
from cni_cnm.cluster.values import Change
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.errors import DirectoryUnreachable
from tests.cluster.etcd_server import EtcdServer, b64, cluster, program
from tests.cluster.examples import host, network
from tests.waiting import until

A, B = host("a"), host("b")


@pytest.fixture(autouse=True)
def needed() -> None:
    if not program():
        pytest.skip("needs etcd: etcd-server")


@pytest.fixture
def opened() -> Iterator[Callable[..., EtcdDirectory]]:
    made: list[EtcdDirectory] = []

    def make(*servers: EtcdServer, timeout_s: float = 10) -> EtcdDirectory:
        made.append(EtcdDirectory(ClusterSettings("etcd", tuple(server.url for server in servers)), timeout_s))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path / "etcd")
    yield server
    server.kill()


class Follower:
    """Follows a directory in a thread, and keeps the news."""

    def __init__(self, directory: EtcdDirectory) -> None:
        self.news: list[News] = []
        self._stop = threading.Event()
        self._directory = directory
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        quick = lambda seconds: self._stop.wait(min(seconds, 0.1))  # noqa: E731
        for news in follow(self._directory, quick, lambda: 0.0, lambda: 0.5):
            self.news.append(news)

    def lists(self) -> list[Whole]:
        return [each for each in self.news if isinstance(each, Whole)]

    def away(self) -> list[str]:
        return [each.reason for each in self.news if isinstance(each, Away)]

    def has(self, change: Change) -> bool:
        return any(change in each.changes for each in self.news if isinstance(each, Changed))

    def end(self) -> None:
        self._stop.set()
        self._directory.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


def test_one_of_three_servers_is_killed(tmp_path: Path, opened: Callable[..., EtcdDirectory]) -> None:
    """Each is the first one of some hosts. No host needs a new list, and no change is missed."""
    servers = cluster(tmp_path, 3)
    rotated = [servers[at:] + servers[:at] for at in range(3)]
    followers = [Follower(opened(*each)) for each in rotated]
    writers = [opened(*each, timeout_s=15) for each in rotated]
    try:
        web = writers[0].create_network(network("web"))
        until(lambda: all(each.lists() for each in followers), "all have a list")
        servers[1].kill()
        blocks = []
        for number, writer in enumerate(writers):
            own = host(f"node{number}")
            writer.announce(own)
            writer.show_life(own)
            blocks.append(writer.claim(web, own))
        for block in blocks:
            change = Change("block", block.key, block)
            until(lambda change=change: all(each.has(change) for each in followers), "all have it", 20)  # type: ignore[misc]
        servers[1].start()
        writers[1].announce(B)
        until(lambda: all(each.has(Change("host", "b", B)) for each in followers), "all have it", 20)
        assert [(len(each.lists()), each.away()) for each in followers] == [(1, [])] * 3
        for server in servers[1:]:
            server.kill()
        with pytest.raises(DirectoryUnreachable, match=servers[0].url):
            writers[0].announce(A)
        for server in servers[1:]:
            server.start()
        writers[0].announce(A)
        until(
            lambda: all(
                each.has(Change("host", "a", A)) or "a" in each.lists()[-1].snapshot.hosts for each in followers
            ),
            "all have it",
            30,
        )
    finally:
        for each in followers:
            each.end()
        for server in servers:
            server.kill()


def test_a_compaction_while_a_host_is_cut_off(alone: EtcdServer, opened: Callable[..., EtcdDirectory]) -> None:
    """The host was away for so long that etcd does not have the changes any more: it takes a list."""
    watching, writer = opened(alone), opened(alone)
    writer.announce(A)
    watch = watching.watch(watching.snapshot().revision)
    writer.announce(A._replace(mac="02:00:00:00:00:01"))
    assert next(watch)[1]
    watching._stream.close()  # as a network that is cut: the watch finds a closed connection
    for number in range(9):
        writer.announce(host(f"node{number}"))
    revision = writer.snapshot().revision
    assert alone.gateway("kv/compaction", {"revision": revision})[0] == 200
    with pytest.raises(WatchEnded, match=f"before revision {revision} is compacted"):
        for _ in watch:
            pass
    assert len(watching.snapshot().hosts) == 10


def test_a_full_database_refuses_writes_and_says_what_to_do(
    tmp_path: Path, opened: Callable[..., EtcdDirectory]
) -> None:
    server = EtcdServer(tmp_path / "etcd", "--quota-backend-bytes=2000000")
    try:
        directory = opened(server)
        web = directory.create_network(network("web"))
        directory.announce(A)
        directory.show_life(A)
        block = directory.claim(web, A)
        for _ in range(40):
            status, answer = server.gateway("kv/put", {"key": b64("/fill"), "value": b64(b"x" * 200_000)})
            if status != 200:
                break
        assert "space exceeded" in answer["message"]
        for write in (lambda: directory.announce(B), lambda: directory.claim(web, A)):
            with pytest.raises(DirectoryUnreachable, match="database space exceeded") as caught:
                write()
            assert "etcdctl alarm disarm" in caught.value.hint
        there = directory.snapshot()
        assert (there.hosts, there.blocks) == ({"a": A}, {block.key: block})
        directory.show_life(A)
        server.gateway("kv/compaction", {"revision": there.revision})
        server.gateway("maintenance/defragment", {})
        status, alarms = server.gateway("maintenance/alarm", {"action": "GET"})
        for alarm in alarms["alarms"]:
            server.gateway("maintenance/alarm", {"action": "DEACTIVATE", **alarm})
        directory.announce(B)
        assert directory.claim(web, A).subnets != block.subnets
        directory.release(block)
    finally:
        server.kill()


def test_a_server_that_hangs_costs_its_part_of_the_time(tmp_path: Path, opened: Callable[..., EtcdDirectory]) -> None:
    hanging = EtcdServer(tmp_path / "hanging")
    answering = EtcdServer(tmp_path / "answering")
    try:
        alone, both = opened(hanging, timeout_s=0.5), opened(hanging, answering, timeout_s=2)
        alone.announce(A)
        hanging.pause()
        for call in (alone.snapshot, lambda: alone.announce(A), lambda: alone.show_life(A)):
            with pytest.raises(DirectoryUnreachable, match="did not answer in time"):
                call()
        both.snapshot()
        both.announce(B)
        hanging.go_on()
        assert alone.snapshot().hosts == {"a": A}
    finally:
        hanging.kill()
        answering.kill()


@pytest.mark.long
def test_a_hanging_server_is_left_by_its_watches(
    tmp_path: Path, opened: Callable[..., EtcdDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing, and ends nothing. The answers of the other servers tell that there is more."""
    for name, value in (("_LOOK_S", 0.1), ("_LINE_S", 0.5)):
        monkeypatch.setattr(watch_module, name, value)
    servers = cluster(tmp_path, 3)
    try:
        directory, writer = opened(*servers, timeout_s=6), opened(*servers, timeout_s=15)
        directory.announce(A)
        directory.show_life(A)
        watch = directory.watch(directory.snapshot().revision)
        next(watch)
        servers[directory._stream._at].pause()
        writer.announce(B)
        directory.show_life(A)
        with pytest.raises(WatchEnded, match="did not say so"):
            all(directory.show_life(A) for _ in watch)
        assert set(directory.snapshot().hosts) == {"a", "b"}
    finally:
        for server in servers:
            server.go_on()
            server.kill()


@pytest.mark.long
def test_a_restored_backup_is_seen_as_a_lower_revision(
    alone: EtcdServer, opened: Callable[..., EtcdDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of an earlier time, put back: the identity of the store is the same, its revision lower."""
    monkeypatch.setattr(watch_module, "_LOOK_S", 0.1)
    directory = opened(alone)
    web = directory.create_network(network("web"))
    directory.announce(A)
    first = directory.claim(web, A)
    alone.stop()
    shutil.copytree(alone.folder / "data", alone.folder / "backup")
    alone.start()
    until(lambda: directory.snapshot(), "it answers")
    second = directory.claim(web, A)
    directory.announce(B)
    before = directory.snapshot()
    watch = directory.watch(before.revision)
    next(watch)
    alone.stop()
    shutil.rmtree(alone.folder / "data")
    shutil.copytree(alone.folder / "backup", alone.folder / "data")
    alone.start()
    with pytest.raises(WatchEnded, match="was seen before"):
        for _ in watch:
            pass
    after = directory.snapshot()
    assert after.store == before.store
    assert after.revision < before.revision
    assert (set(after.hosts), list(after.blocks.values())) == ({"a"}, [first])
    directory.announce(B)
    assert directory.claim(web, B, [second.subnets]).subnets == second.subnets
    assert directory.claim_again(first)
    assert not directory.claim_again(second)
