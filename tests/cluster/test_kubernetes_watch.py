"""The watch of Nodes: what ends it, what does not, and that nothing is missed or asked without a pause."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from time import monotonic
from typing import Any

import pytest

from cni_cnm.cluster.directory import WatchEnded, WatchNotOpened
from cni_cnm.cluster.kubernetes import client as client_module
from cni_cnm.cluster.kubernetes import watch as watch_module
from cni_cnm.cluster.kubernetes.directory import KubernetesDirectory
from cni_cnm.cluster.values import Change, ClusterHost
from cni_cnm.errors import DirectoryUnreachable
from tests.cluster.assigning_stores import StandIn
from tests.cluster.examples import host
from tests.kubernetes.api_server import ApiServer, Fault, Request, status_fault

A, B, C = host("a"), host("b"), host("c")
Batches = Iterator[tuple[int, Sequence[Change]]]


@pytest.fixture
def api(stand_in: StandIn) -> ApiServer:
    for each in (A, B, C):
        stand_in.expect(each)
    return stand_in.api


@pytest.fixture
def directory(api: ApiServer, stand_in: StandIn) -> KubernetesDirectory:
    return stand_in.directory()


@pytest.fixture
def other(api: ApiServer, stand_in: StandIn) -> KubernetesDirectory:
    return stand_in.directory()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(watch_module, "sleep", found.append)
    return found


def begun(directory: KubernetesDirectory, other: KubernetesDirectory) -> Batches:
    """A watch that has reported a host."""
    watch = iter(directory.watch(directory.snapshot().revision))
    other.announce(A)
    assert Change("host", "a", A) in next(watch)[1]
    return watch


def joined(watch: Batches, wanted: ClusterHost) -> list[Change]:
    """All changes up to the one that this host has come."""
    found: list[Change] = []
    for _, changes in islice(watch, 100):
        found += changes
        if Change("host", wanted.name, wanted) in changes:
            return found
    raise AssertionError(found)


@pytest.mark.parametrize("how", ["cut_watches", "end_watches"])
def test_a_watch_that_ends_goes_on_where_it_was(
    api: ApiServer, directory: KubernetesDirectory, other: KubernetesDirectory, slept: list[float], how: str
) -> None:
    """No list is made, and what happens between is not missed."""
    watch = begun(directory, other)
    assert slept == []

    def announced_meanwhile(request: Request) -> None:
        if request.what == "watch nodes":
            api.fault = lambda _request: None
            api.model.change("b", {"metadata": {"annotations": annotation(api, "a", "b")}})

    api.fault = announced_meanwhile
    getattr(api, how)()
    changes = joined(watch, B)
    assert [each.kind for each in changes] == ["host", "block"]
    assert len(api.asked("list nodes")) == 1
    versions = [each.query["resourceVersion"] for each in api.asked("watch nodes")]
    assert int(versions[1]) > int(versions[0])
    assert len(slept) == 1
    assert 0 <= slept[0] <= 1


def test_a_watch_that_ends_twice_at_once_ends(
    api: ApiServer, directory: KubernetesDirectory, other: KubernetesDirectory, slept: list[float]
) -> None:
    watch = begun(directory, other)
    api.fault = lambda request: Fault("answer", 200, b"") if request.what == "watch nodes" else None
    api.cut_watches()
    with pytest.raises(WatchEnded, match="ends each watch soon"):
        next(watch)
    assert (len(api.asked("watch nodes")), len(slept)) == (2, 1)


@pytest.mark.parametrize(
    ("fault", "why", "ends"),
    [
        (status_fault(410, "Expired", "too old resource version: 5 (9)"), "compacted .* too old", WatchEnded),
        (status_fault(403, "Forbidden", "cannot watch"), r"cannot watch \(allow get, list and watch", WatchEnded),
        (status_fault(404, "NotFound", "not found"), "not found", WatchEnded),
        (status_fault(504, "Timeout", "Too large resource version: 9, current: 5"), "Too large", WatchEnded),
        (status_fault(401, "Unauthorized", "Unauthorized"), "Unauthorized", WatchNotOpened),
        (status_fault(429, "TooManyRequests", "slow down", Retry_After="9"), "slow down", WatchNotOpened),
        (Fault("before"), "does not answer", WatchNotOpened),
        (Fault("answer", 500, b"<html>"), "HTTP status 500: <html>", WatchNotOpened),
        (Fault("answer", 503, b""), "HTTP status 503", WatchNotOpened),
    ],
)
def test_a_watch_that_cannot_begin(
    api: ApiServer, directory: KubernetesDirectory, slept: list[float], fault: Fault, why: str, ends: type
) -> None:
    """What a later watch may get needs no list. A missing right does: lists show now and then what there is."""
    revision = directory.snapshot().revision
    api.fault = lambda request: fault if request.what == "watch nodes" else None
    with pytest.raises(WatchEnded, match=why) as caught:
        next(iter(directory.watch(revision)))
    assert type(caught.value) is ends
    assert slept == []
    assert len(api.asked("watch nodes")) <= 2  # once more with a token that may be new


def test_a_watch_that_cannot_be_opened_again_goes_on_later_where_it_was(
    api: ApiServer, directory: KubernetesDirectory, other: KubernetesDirectory, slept: list[float]
) -> None:
    """As when the one API server restarts: for some seconds nothing answers."""
    watch = begun(directory, other)
    api.send_bookmark()
    api.fault = lambda request: Fault("before") if request.what == "watch nodes" else None
    api.cut_watches()
    with pytest.raises(WatchNotOpened, match="does not answer") as caught:
        list(watch)
    with pytest.raises(DirectoryUnreachable):  # what the write thread is told meanwhile
        directory.show_life(A)
    api.fault = lambda _request: None
    other.announce(B)
    watch = iter(directory.watch(caught.value.revision))
    assert next(watch) == (caught.value.revision, ())  # the proof that it answers again: changes may be seldom
    directory.show_life(A)
    joined(watch, B)
    assert len(api.asked("list nodes")) == 1


def test_a_watch_that_is_refused_for_a_while_keeps_lists_away_too(
    api: ApiServer, directory: KubernetesDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of a thousand Nodes has 15 MB: the opposite of what an overloaded server asks for."""
    later = [0.0]
    monkeypatch.setattr(client_module, "monotonic", lambda: monotonic() + later[0])
    revision = directory.snapshot().revision
    slow_down = status_fault(429, "TooManyRequests", "slow down", Retry_After="30")
    api.fault = lambda request: slow_down if request.what == "watch nodes" else None
    with pytest.raises(WatchNotOpened, match="slow down"):
        next(iter(directory.watch(revision)))
    asked = len(api.requests)
    calls: list[Callable[[], object]] = [directory.snapshot, lambda: directory.announce(A)]
    for call in calls:
        with pytest.raises(DirectoryUnreachable, match="wants not to be asked for 30 s: slow down"):
            call()
    with pytest.raises(WatchNotOpened, match="wants not to be asked for 30 s: slow down"):
        next(iter(directory.watch(revision)))
    assert len(api.requests) == asked
    later[0] = 31
    assert directory.snapshot().alive == {"a", "b", "c"}


def test_changes_that_are_forgotten_end_it(
    api: ApiServer, directory: KubernetesDirectory, other: KubernetesDirectory
) -> None:
    """As an ERROR event, with the status 200: so the real server says it."""
    revision = directory.snapshot().revision
    other.announce(A)
    api.do(lambda model: model.compact())
    with pytest.raises(WatchEnded, match="has compacted the changes since version"):
        next(iter(directory.watch(revision)))
    assert directory.snapshot().hosts == {"a": A}


def event(kind: str, version: object, **more: Any) -> bytes:
    node = {"kind": "Node", "metadata": {"name": "x", "resourceVersion": version}, **more}
    return json.dumps({"type": kind, "object": node}).encode() + b"\n"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"no json\n", "no JSON object"),
        (b"5\n", "no JSON object"),
        (b"[" * 100_000 + b"\n", "no JSON object"),
        (b"{}\n", "no resourceVersion"),
        (b'{"type": "ADDED", "object": 5}\n', "no resourceVersion"),
        (b'{"type": "ADDED", "object": {"metadata": {"name": "x"}}}\n', "no resourceVersion"),
        (event("ADDED", 5), "no resourceVersion"),
        (event("ADDED", ""), "no resourceVersion"),
        (event("CHANGED", "99999"), "unknown type"),
        (event("BOOKMARK", "7"), "went back from version .* to 7"),
        (event("MODIFIED", "7"), "went back from version .* to 7"),
        (b'{"type": "ERROR", "object": {"code": 410, "message": "gone"}}\n', "compacted .* gone"),
        (b'{"type": "ERROR", "object": {"code": 500, "message": "a\\u001bb"}}\n', "refused: a b"),
        (b'{"type": "ERROR", "object": {"code": true, "message": 5, "reason": []}}\n', "refused: HTTP status 500"),
        (b'{"type": "ERROR"}\n', "refused: HTTP status 500"),
    ],
)
def test_a_line_that_makes_no_sense_ends_it(
    api: ApiServer, directory: KubernetesDirectory, other: KubernetesDirectory, line: bytes, why: str
) -> None:
    watch = begun(directory, other)
    api.say(line)
    with pytest.raises(WatchEnded, match=why):
        next(watch)
    with pytest.raises(Exception, match=why):  # what the write thread is told, until there is a list
        directory.show_life(A)
    assert directory.snapshot().hosts == {"a": A}
    directory.show_life(A)


def test_empty_lines_and_a_line_in_parts_are_read(
    api: ApiServer, directory: KubernetesDirectory, other: KubernetesDirectory
) -> None:
    watch = begun(directory, other)
    api.say(b"\n\r\n   \n")
    line = event("ADDED", "99999", spec={"podCIDRs": ["10.0.0.0/24"]})
    api.say(line[:30])
    api.say(line[30:])
    assert next(watch) == (99999, [Change("alive", "x", True)])


def test_a_cut_in_a_line_is_as_a_cut_before_it(
    api: ApiServer, directory: KubernetesDirectory, other: KubernetesDirectory, slept: list[float]
) -> None:
    watch = begun(directory, other)
    api.say(event("ADDED", "99999")[:-10])
    api.cut_watches()
    other.announce(B)
    joined(watch, B)
    assert len(slept) == 1


def test_a_silent_watch_is_opened_again(
    api: ApiServer,
    directory: KubernetesDirectory,
    other: KubernetesDirectory,
    slept: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch = begun(directory, other)
    patient_s = watch_module._SILENT_S
    monkeypatch.setattr(watch_module, "_SILENT_S", 0.1)
    api.silent = True

    def heard(request: Request) -> None:
        if request.what == "watch nodes":
            api.silent = False
            monkeypatch.setattr(watch_module, "_SILENT_S", patient_s)

    api.fault = heard
    other.announce(B)
    joined(watch, B)
    assert len(api.asked("watch nodes")) == 2


def test_bookmarks_move_the_version_on(
    api: ApiServer,
    directory: KubernetesDirectory,
    other: KubernetesDirectory,
    slept: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other objects than Nodes change, too. Without bookmarks the version that was reached would be forgotten."""
    monkeypatch.setattr(watch_module, "_PROOF_S", 0.0)
    watch = begun(directory, other)
    api.model.version += 500
    api.send_bookmark()
    assert next(watch) == (api.model.version, [])
    api.do(lambda model: model.compact())
    api.cut_watches()
    other.announce(B)
    joined(watch, B)
    assert len(api.asked("list nodes")) == 1


def test_kubelets_reports_are_no_changes(
    api: ApiServer, directory: KubernetesDirectory, other: KubernetesDirectory
) -> None:
    watch = begun(directory, other)
    for _ in range(50):
        api.do(lambda model: model.report("c"))
    other.announce(B)
    batches = []
    for batch in watch:
        batches.append(batch)
        if Change("host", "b", B) in batch[1]:
            break
    assert [each for _, changes in batches for each in changes if each.kind != "block"] == [Change("host", "b", B)]
    assert len(batches) <= 2


def test_what_is_left_out_is_told_at_once(
    api: ApiServer, directory: KubernetesDirectory, other: KubernetesDirectory
) -> None:
    """It changes nothing that hosts agree on, but people are to know why a Node is no host."""
    watch = begun(directory, other)
    api.do(lambda model: model.change("b", {"metadata": {"annotations": {"cni-cnm/underlay": "{"}}}))
    assert next(watch)[1] == []
    assert "Node b is no JSON" in directory.skipped()[0]


def test_what_has_come_at_once_is_one_batch(
    api: ApiServer, directory: KubernetesDirectory, other: KubernetesDirectory, slept: list[float]
) -> None:
    """Also where the connection ends behind it: nothing is lost."""
    watch = begun(directory, other)
    lines = b"".join(event("ADDED", str(99_000 + number)).replace(b'"x"', b'"x%d"' % number) for number in range(700))
    api.say(lines + b'{"type": "MODI')
    api.cut_watches()
    batches = [next(watch), next(watch)]
    assert [len(changes) for _, changes in batches] == [500, 200]
    assert [revision for revision, _ in batches] == [99_499, 99_699]


def test_a_batch_before_a_line_that_makes_no_sense_is_told(
    api: ApiServer, directory: KubernetesDirectory, other: KubernetesDirectory
) -> None:
    watch = begun(directory, other)
    api.say(event("ADDED", "99999") + b"no json\n")
    assert next(watch) == (99999, [Change("alive", "x", True)])
    with pytest.raises(WatchEnded):
        next(watch)


def test_a_directory_that_is_closed_ends_its_watch(
    api: ApiServer, directory: KubernetesDirectory, other: KubernetesDirectory, slept: list[float]
) -> None:
    watch = begun(directory, other)
    directory.close()
    with pytest.raises(WatchEnded):
        next(watch)
    assert len(api.asked("watch nodes")) == 1


def test_the_watch_is_of_the_last_list(directory: KubernetesDirectory) -> None:
    with pytest.raises(WatchEnded, match="the last list"):
        next(iter(directory.watch(5)))


def annotation(api: ApiServer, of: str, to: str) -> dict[str, str]:
    """What the host `of` has announced, with the addresses and the MAC of `to`."""
    found: dict[str, str] = dict(api.model.nodes[of]["metadata"]["annotations"])
    said = json.loads(found["cni-cnm/underlay"])
    new = host(to)
    said |= {"addresses": list(map(str, new.addresses)), "mac": new.mac, "instance": new.instance}
    return {"cni-cnm/underlay": json.dumps(said)}
