"""A watch proves that nothing was missed: over the model of etcd, whose watches can be made silent or wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cni_cnm.cluster.directory import WatchEnded
from cni_cnm.cluster.etcd import watch as watch_module
from cni_cnm.cluster.etcd.directory import EtcdDirectory
from cni_cnm.cluster.values import Change
from cni_cnm.cluster_settings import ClusterSettings
from tests.cluster.etcd_server import b64
from tests.cluster.examples import host, network
from tests.cluster.model_gateway import ModelGateway
from tests.waiting import until

A, B = host("a"), host("b")
OTHER_PROGRAM = {"key": b64("/other/program"), "value": b64("x")}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes hundredths of them."""
    for name, value in (
        ("_LOOK_S", 0.02),
        ("_PAUSE_S", 0.01),
        ("_REOPEN_S", 1.0),
        ("_BEHIND_S", 0.1),
        ("_LINE_S", 1.0),
    ):
        monkeypatch.setattr(watch_module, name, value)


@pytest.fixture
def gateway() -> Iterator[ModelGateway]:
    with ModelGateway() as made:
        yield made


@pytest.fixture
def directory(gateway: ModelGateway) -> Iterator[EtcdDirectory]:
    made = EtcdDirectory(ClusterSettings("etcd", (gateway.url,)), 2)
    yield made
    made.close()


@pytest.fixture
def other(gateway: ModelGateway) -> Iterator[EtcdDirectory]:
    """Of another host."""
    made = EtcdDirectory(ClusterSettings("etcd", (gateway.url,)), 2)
    yield made
    made.close()


def begun(directory: EtcdDirectory) -> Iterator[tuple[int, Any]]:
    """A watch whose first proof of life has come."""
    watch = directory.watch(directory.snapshot().revision)
    assert next(watch)[1] == ()
    return watch


def next_change(watch: Iterator[tuple[int, Any]]) -> list[Change]:
    return list(next(changes for _, changes in watch if changes))


def calls(gateway: ModelGateway, name: str) -> int:
    return sum(call == name for call, _ in gateway.requests)


def test_a_connection_that_is_cut_goes_on_where_it_was_without_a_list(
    gateway: ModelGateway, directory: EtcdDirectory, other: EtcdDirectory
) -> None:
    watch = begun(directory)
    other.announce(A)
    assert next_change(watch) == [Change("host", "a", A)]
    gateway.requests.clear()
    for number in range(3):
        gateway.cut_watches()
        each = host(f"n{number}")
        other.announce(each)
        assert next_change(watch) == [Change("host", each.name, each)]
    assert (calls(gateway, "watch"), calls(gateway, "kv/range")) == (3, 0)


def test_a_server_that_stays_away_ends_the_watch(gateway: ModelGateway, directory: EtcdDirectory) -> None:
    watch = begun(directory)
    gateway.__exit__()
    with pytest.raises(WatchEnded, match=gateway.url):
        list(watch)


def test_a_watch_that_says_nothing_of_a_change_ends(
    gateway: ModelGateway, directory: EtcdDirectory, other: EtcdDirectory
) -> None:
    directory.announce(A)
    directory.show_life(A)
    watch = begun(directory)
    gateway.silent = True
    other.announce(B)
    next(watch)  # nothing is known of it yet
    directory.show_life(A)
    with pytest.raises(WatchEnded, match="did not say so"):
        list(watch)


def test_a_watch_that_says_nothing_of_a_removal_ends(
    gateway: ModelGateway, directory: EtcdDirectory, other: EtcdDirectory
) -> None:
    """No key that is there has a later revision: only their number tells."""
    for each in (A, B):
        directory.announce(each)
    directory.show_life(A)
    watch = begun(directory)
    gateway.silent = True
    other.leave("b")
    directory.show_life(A)
    with pytest.raises(WatchEnded, match="did not say so"):
        list(watch)


def test_the_number_of_keys_is_known_after_any_changes(
    gateway: ModelGateway, directory: EtcdDirectory, other: EtcdDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_ASK_S", 0.0)
    directory.announce(A)
    directory.show_life(A)
    watch = begun(directory)
    web = other.create_network(network("web"))
    for each in (A, B):
        other.announce(each)
        other.claim(web, each)
    other.announce(B._replace(mac="02:00:00:00:00:09"))
    other.leave("b")
    end = other.snapshot().revision
    assert next(revision for revision, _ in watch if revision >= end) == end
    gateway.do(lambda model: model.answer("kv/put", OTHER_PROGRAM))
    directory.show_life(A)
    assert next(revision for revision, _ in watch if revision > end) == end + 1


def test_other_programs_that_write_cost_one_question_now_and_then(
    gateway: ModelGateway, directory: EtcdDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.announce(A)
    directory.show_life(A)
    watch = begun(directory)
    gateway.requests.clear()
    for _ in range(20):
        gateway.do(lambda model: model.answer("kv/put", OTHER_PROGRAM))
        directory.show_life(A)
        next(watch)
    assert calls(gateway, "kv/range") == 1
    monkeypatch.setattr(watch_module, "_ASK_S", 0.0)
    end = gateway.model.revision
    assert next(revision for revision, _ in watch if revision >= end) == end


def test_nothing_is_asked_while_the_store_does_not_change(gateway: ModelGateway, directory: EtcdDirectory) -> None:
    directory.announce(A)
    directory.show_life(A)
    watch = begun(directory)
    gateway.requests.clear()
    for _ in range(20):
        directory.show_life(A)
        next(watch)
    assert {call for call, _ in gateway.requests} == {"lease/keepalive"}


def test_a_watch_without_a_lease_asks_by_itself(
    gateway: ModelGateway, directory: EtcdDirectory, other: EtcdDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_TOLD_S", 0.0)
    watch = directory.watch(directory.snapshot().revision)
    gateway.silent = True
    other.announce(B)
    with pytest.raises(WatchEnded, match="did not say so"):
        list(watch)


def test_a_store_that_was_restored_ends_the_watch(
    gateway: ModelGateway, directory: EtcdDirectory, other: EtcdDirectory
) -> None:
    saved = gateway.model.backup()
    other.announce(A)
    watch = begun(directory)
    gateway.do(lambda model: model.restore(saved))
    gateway.cut_watches()
    with pytest.raises(WatchEnded, match="revision is 1, and 2 was seen before"):
        list(watch)
    assert directory.snapshot().revision == 1


def test_another_store_at_the_same_address_ends_the_watch(gateway: ModelGateway, directory: EtcdDirectory) -> None:
    watch = begun(directory)
    gateway.do(lambda model: setattr(model, "cluster_id", 78))
    gateway.cut_watches()
    with pytest.raises(WatchEnded, match="another store than before: 78, not 77"):
        list(watch)
    assert directory.snapshot().store == "78"


def test_a_compacted_revision_ends_the_watch_also_after_a_cut(
    gateway: ModelGateway, directory: EtcdDirectory, other: EtcdDirectory
) -> None:
    watch = begun(directory)
    gateway.silent = True
    for each in (A, B, host("c")):
        other.announce(each)
    gateway.do(lambda model: model.answer("kv/compaction", {"revision": model.revision}))
    gateway.cut_watches()
    with pytest.raises(WatchEnded, match="is compacted"):
        list(watch)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"result": {"canceled": True, "cancel_reason": "no permission"}}, "no permission"),
        ({"result": {"canceled": True}}, "no reason given"),
        ({"error": {"grpc_code": 7, "http_code": 403, "message": "permission denied"}}, "permission denied"),
        ({"error": {"code": 11, "message": "compacted"}}, "compacted"),
        (["a"], "HTTP status 200"),
        ({"result": {"events": [{"kv": {"key": "%%%"}}]}}, "not as etcd writes it"),
        ({"result": {"events": 7}}, "not as etcd writes it"),
        ({"result": {"events": [{"kv": {"key": "YQ==", "mod_revision": float("inf")}}]}}, "not as etcd writes it"),
    ],
)
def test_a_line_that_ends_the_watch(gateway: ModelGateway, directory: EtcdDirectory, line: Any, said: str) -> None:
    watch = begun(directory)
    gateway.say(json.dumps(line).encode() + b"\n")
    with pytest.raises(WatchEnded, match=said):
        list(watch)


@pytest.mark.parametrize(
    "line",
    [
        b'{"error": {"grpc_code": 14, "message": "etcdserver: no leader"}}\n',
        b'{"error": {"code": 14, "message": "etcdserver: no leader"}}\n',
        b'{"result": {"ev',  # and no more
        b'{"result": {"canceled": true, "cancel_reason": "etcdserver: invalid auth token"}}\n',
    ],
)
def test_a_line_after_which_the_watch_goes_on_elsewhere(
    gateway: ModelGateway, directory: EtcdDirectory, other: EtcdDirectory, line: bytes
) -> None:
    watch = begun(directory)
    gateway.say(line)
    opened = calls(gateway, "watch")

    def announce() -> None:
        until(lambda: calls(gateway, "watch") > opened, "it is opened again", 10)
        other.announce(A)

    thread = threading.Thread(target=announce)
    thread.start()
    assert next_change(watch) == [Change("host", "a", A)]
    thread.join()


def test_a_server_that_ends_each_watch_at_once_is_asked_a_few_times_only(
    gateway: ModelGateway, directory: EtcdDirectory
) -> None:
    watch = begun(directory)
    gateway.requests.clear()
    gateway.say_at_once = b'{"error": {"code": 14, "message": "etcdserver: no leader"}}\n'
    gateway.cut_watches()
    with pytest.raises(WatchEnded, match="no leader"):
        list(watch)
    assert calls(gateway, "watch") <= 6


def test_a_line_without_events_says_nothing_of_the_revision(gateway: ModelGateway, directory: EtcdDirectory) -> None:
    """Servers before 3.4.25 and 3.5.8 notify of progress before they have sent what was before it."""
    watch = begun(directory)
    before = gateway.model.revision
    gateway.say(json.dumps({"result": {"header": {**gateway.model.header(), "revision": "999"}}}).encode() + b"\n")
    for _ in range(3):
        assert next(watch) == (before, ())


def test_a_host_whose_life_was_removed_shows_it_again(
    gateway: ModelGateway, directory: EtcdDirectory, other: EtcdDirectory
) -> None:
    directory.announce(A)
    directory.show_life(A)
    watch = begun(directory)
    other.leave("a", force=True)
    while directory.snapshot().alive == set() and next_change(watch):
        directory.show_life(A)
    there = directory.snapshot()
    assert there.alive == {"a"}
    assert there.hosts == {"a": A}


def test_close_ends_the_watch_of_another_thread(directory: EtcdDirectory) -> None:
    ended = []
    following = threading.Event()

    def follow() -> None:
        watch = begun(directory)
        following.set()
        try:
            list(watch)
        except WatchEnded as error:
            ended.append(str(error))

    thread = threading.Thread(target=follow)
    thread.start()
    assert following.wait(30)
    directory.close()
    thread.join(30)
    assert ended
    assert "closed" in ended[0]


def test_a_watch_begins_only_at_the_last_list(gateway: ModelGateway, directory: EtcdDirectory) -> None:
    with pytest.raises(WatchEnded):
        next(directory.watch(1))
    before = directory.snapshot().revision
    with pytest.raises(WatchEnded):
        next(directory.watch(before + 1))
