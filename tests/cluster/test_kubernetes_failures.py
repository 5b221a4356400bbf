"""An API server that refuses, cuts, hangs or answers strangely: lists, announcements and claims."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing, suppress
from time import monotonic
from typing import Any

import pytest

from cni_cnm.cluster.known import Known
from cni_cnm.cluster.kubernetes import client as client_module
from cni_cnm.cluster.kubernetes.announcement import ANNOTATION
from cni_cnm.cluster.kubernetes.directory import KubernetesDirectory
from cni_cnm.cluster.stores import open_directory
from cni_cnm.cluster.values import Snapshot
from cni_cnm.errors import CnmError, DirectoryUnreachable, NotReady
from tests.cluster.assigning_stores import StandIn
from tests.cluster.examples import host
from tests.kubernetes.api_server import ApiServer, Fault, Request, status_fault

A = host("a")


@pytest.fixture
def directory(stand_in: StandIn) -> KubernetesDirectory:
    stand_in.expect(A)
    return stand_in.directory(0.5)


@pytest.fixture
def api(stand_in: StandIn) -> ApiServer:
    return stand_in.api


def once(what: str, fault: Fault) -> Callable[[Request], Fault | None]:
    """The fault at the first request of this kind."""
    left = [fault]
    return lambda request: left.pop() if request.what == what and left else None


def always(fault: Fault) -> Callable[[Request], Fault | None]:
    return lambda _request: fault


def announced(api: ApiServer) -> Any:
    return json.loads(api.model.nodes["a"]["metadata"]["annotations"].get(ANNOTATION, "null"))


# reading -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "message", "hint"),
    [
        (status_fault(403, "Forbidden", "nodes is forbidden"), "nodes is forbidden", "get, list and watch of nodes"),
        (status_fault(401, "Unauthorized", "Unauthorized"), "Unauthorized", "the user test of"),
        (status_fault(404, "NotFound", "not found"), "not found", "kubectl get nodes"),
        (status_fault(500, "InternalError", "etcd is away"), "etcd is away", ""),
        (Fault("answer", 503, b"<html>\n\x1b[31mgateway\n"), r"HTTP status 503: <html>  \[31mgateway", ""),
        (Fault("answer", 302, b""), "HTTP status 302", ""),
        (Fault("answer", 200, b"<html>hello"), "does not answer as Kubernetes does: a list is no JSON", "proxy's page"),
        (Fault("answer", 200, b"[]"), "a list is no JSON", ""),
        (Fault("answer", 200, b'{"kind": "PodList", "items": []}'), "a list of Nodes has another kind", ""),
        (Fault("answer", 200, b'{"kind": "NodeList", "items": []}'), "has no resourceVersion", ""),
        (
            Fault("answer", 200, b'{"kind": "NodeList", "metadata": {"resourceVersion": 5}, "items": []}'),
            "has no resourceVersion",
            "",
        ),
        (
            Fault("answer", 200, b'{"metadata": {"resourceVersion": "5"}, "items": [{"a": '),
            "ends too early|no JSON",
            "",
        ),
        (Fault("answer", 200, b'{"metadata": {"resourceVersion": "5"}, "items": []} more'), "comes behind it", ""),
        (Fault("answer", 500, b"[" * 100_000), "HTTP status 500", ""),
        (Fault("before"), "does not answer", ""),
        (Fault("hang"), "did not answer in time", ""),
    ],
)
def test_a_list_that_is_none(
    api: ApiServer, directory: KubernetesDirectory, fault: Fault, message: str, hint: str
) -> None:
    api.fault = always(fault)
    with pytest.raises(DirectoryUnreachable, match=message) as caught:
        directory.snapshot()
    assert hint in caught.value.hint
    with pytest.raises(DirectoryUnreachable, match=message):  # of which the write thread tells, without a request
        directory.show_life(A)
    api.fault = lambda _request: None
    assert directory.snapshot().alive == {"a"}
    directory.show_life(A)


def test_a_kept_connection_that_was_closed_is_no_failure(api: ApiServer, directory: KubernetesDirectory) -> None:
    directory.snapshot()
    api.fault = once("list nodes", Fault("before"))
    assert directory.snapshot().alive == {"a"}
    api.fault = once("get nodes", Fault("before"))
    directory.announce(A)
    assert announced(api)


def test_a_server_that_wants_not_to_be_asked_is_not_asked(
    api: ApiServer, directory: KubernetesDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = [0.0]
    monkeypatch.setattr(client_module, "monotonic", lambda: monotonic() + later[0])
    api.fault = once("list nodes", status_fault(429, "TooManyRequests", "too many requests", Retry_After="30"))
    with pytest.raises(DirectoryUnreachable, match="too many requests"):
        directory.snapshot()
    asked = len(api.requests)
    calls: list[Callable[[], object]] = [directory.snapshot, lambda: directory.announce(A)]
    for call in calls:
        with pytest.raises(DirectoryUnreachable, match="wants not to be asked for 30 s: too many requests"):
            call()
    assert len(api.requests) == asked
    later[0] = 31
    assert directory.snapshot().alive == {"a"}


@pytest.mark.parametrize("value", ["-1", "9" * 400, "Wed, 21 Oct 2026 07:28:00 GMT", "1e9", "\u0663"])
def test_a_strange_time_to_wait(api: ApiServer, directory: KubernetesDirectory, value: str) -> None:
    """RFC 9110 allows a date, too. Kubernetes sends seconds."""
    fault = status_fault(429, "TooManyRequests", "too many requests")
    fault.headers["Retry-After"] = value.encode().decode("latin-1")
    api.fault = once("list nodes", fault)
    with pytest.raises(DirectoryUnreachable, match="too many requests"):
        directory.snapshot()
    assert directory.snapshot().alive == {"a"}


def test_a_list_whose_token_has_expired_begins_again(stand_in: StandIn, directory: KubernetesDirectory) -> None:
    """A server may give pages of what it has in its memory, too."""
    api = stand_in.api
    page = {"kind": "NodeList", "metadata": {"resourceVersion": "5", "continue": "token"}, "items": []}
    gone = status_fault(410, "Expired", "The provided continue parameter is too old")
    faults = [gone, Fault("answer", 200, json.dumps(page).encode())]
    api.fault = lambda _request: faults.pop() if faults else None
    assert directory.snapshot().alive == {"a"}
    queries = [each.query for each in api.asked("list nodes")]
    assert queries[1]["continue"] == "token"
    assert queries[2].keys() == {"limit"}


def test_the_latest_list_is_read_in_pages(stand_in: StandIn, directory: KubernetesDirectory) -> None:
    api = stand_in.api
    for number in range(600):
        stand_in.node(f"n{number:03}", ["192.0.2.1"], [])
    first = directory.snapshot()
    api.do(lambda model: setattr(model, "version", first.revision - 1))
    assert len(directory.snapshot().alive) == 601
    assert ["continue" in each.query for each in api.asked("list nodes")] == [False, False, False, True]


def test_lists_come_from_the_servers_memory(stand_in: StandIn, directory: KubernetesDirectory) -> None:
    """API servers before 1.34 read each list from etcd that has a limit and another version than 0."""
    directory.snapshot()
    directory.snapshot()
    first, second = (each.query for each in stand_in.api.asked("list nodes"))
    assert first["resourceVersion"] == "0"
    assert (second["resourceVersionMatch"], "limit" in second) == ("NotOlderThan", False)


def test_an_agent_that_starts_takes_no_list_older_than_its_disk(stand_in: StandIn) -> None:
    """One of several API servers is behind, and gives what it has for the version 0 (kubernetes#59848)."""
    stand_in.expect(A)
    behind = stand_in.api.model.backup()
    stand_in.expect(host("b"))
    before = stand_in.directory().snapshot()

    def old_list(request: Request) -> Fault | None:
        if request.what == "list nodes" and request.query.get("resourceVersion") == "0":
            return Fault("answer", 200, json.dumps(behind.list_nodes({})).encode())
        return None

    stand_in.api.fault = old_list
    with closing(open_directory(stand_in.settings, known=Known(before))) as directory:
        assert directory.snapshot().alive == {"a", "b"}
    assert stand_in.api.asked("list nodes")[-1].query["resourceVersion"] == str(before.revision)


def test_an_agent_that_starts_after_a_backup_was_restored_takes_what_there_is(stand_in: StandIn) -> None:
    stand_in.expect(A)
    restore = stand_in.backup()
    stand_in.expect(host("b"))
    before = stand_in.directory().snapshot()
    restore()
    with closing(open_directory(stand_in.settings, known=Known(before))) as directory:
        assert directory.snapshot().alive == {"a"}


def test_a_revision_of_another_store_says_nothing(stand_in: StandIn) -> None:
    with closing(open_directory(stand_in.settings, known=Known(Snapshot("a cluster of etcd", 5)))) as directory:
        directory.snapshot()
    assert stand_in.api.asked("list nodes")[-1].query["resourceVersion"] == "0"


def test_a_restored_backup_is_listed_though_its_versions_are_lower(
    stand_in: StandIn, directory: KubernetesDirectory
) -> None:
    restore = stand_in.backup()
    directory.announce(A)
    first = directory.snapshot()
    restore()
    second = directory.snapshot()
    assert (first.hosts, second.hosts) == ({"a": A}, {})
    assert second.revision < first.revision
    directory.announce(A)
    assert directory.snapshot().hosts == {"a": A}


# writing -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["before", "after"])
def test_an_announcement_without_an_answer_is_looked_up(
    api: ApiServer, directory: KubernetesDirectory, kind: str
) -> None:
    api.fault = once("patch nodes/status", Fault(kind))
    directory.announce(A)
    assert announced(api)["instance"] == A.instance
    assert len(api.asked("patch nodes/status")) == (2 if kind == "before" else 1)


def test_an_announcement_that_never_has_an_answer(api: ApiServer, directory: KubernetesDirectory) -> None:
    api.fault = lambda request: Fault("before") if request.what.startswith("patch") else None
    with pytest.raises(DirectoryUnreachable, match="has no known outcome"):
        directory.announce(A)


def test_a_node_that_is_made_anew_meanwhile_is_read_again(stand_in: StandIn, directory: KubernetesDirectory) -> None:
    """The patch names the Node's uid, so the new Node does not get what was meant for the old one."""
    api, addresses = stand_in.api, [str(each) for each in A.addresses]

    def made_anew(request: Request) -> None:
        if request.what == "patch nodes/status" and len(api.asked("patch nodes/status")) == 1:
            api.model.remove("a")
            api.model.add("a", *addresses, pod_cidrs=["10.244.9.0/24"])

    api.fault = made_anew
    directory.announce(A)
    assert len(api.asked("get nodes")) == 2
    assert announced(api)["instance"] == A.instance


def test_life_is_shown_without_a_request(stand_in: StandIn, directory: KubernetesDirectory) -> None:
    """Also where the announcement failed: the agent tries that again by itself."""
    revision = directory.snapshot().revision
    stand_in.delete("a")
    with pytest.raises(NotReady, match="has no Node a"):
        directory.announce(A)
    before = len(stand_in.api.requests)
    assert directory.show_life(A) == revision
    assert len(stand_in.api.requests) == before


@pytest.mark.parametrize(
    ("right", "call"),
    [
        ("get nodes", lambda directory: directory.announce(A)),
        ("patch nodes/status", lambda directory: directory.announce(A)),
        ("list nodes", lambda directory: directory.snapshot()),
    ],
)
def test_a_missing_right_is_named(
    api: ApiServer, directory: KubernetesDirectory, right: str, call: Callable[[KubernetesDirectory], object]
) -> None:
    api.tokens["agent"] -= {right}
    with pytest.raises(DirectoryUnreachable, match=f"cannot {right.partition(' ')[0]} resource") as caught:
        call(directory)
    assert "allow get, list and watch of nodes, and patch of nodes/status" in caught.value.hint


def test_rights_are_no_more_than_needed(stand_in: StandIn, directory: KubernetesDirectory) -> None:
    """Each call of the contract, with the rights of the ClusterRole."""
    there = directory.snapshot()
    directory.announce(A)
    block = directory.claim(there.networks["pods"], A)
    directory.claim_again(block)
    directory.release(block)
    directory.show_life(A)
    watch = directory.watch(directory.snapshot().revision)
    stand_in.expect(host("b"))
    next(iter(watch))
    directory.leave("a", instance=A.instance)
    asked = {each.what for each in stand_in.api.requests}
    assert asked == {"get nodes", "list nodes", "watch nodes", "patch nodes/status"}


@pytest.mark.parametrize("call", ["snapshot", "announce", "claim", "claim_again", "leave"])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"5",
        b'"x"',
        b"[]",
        b"{}",
        b'{"metadata": 5}',
        b'{"metadata": {"annotations": []}, "spec": 7}',
        b'{"metadata": {"name": "a", "annotations": 5}, "status": {"addresses": {}}, "spec": {"podCIDRs": 7}}',
    ],
)
def test_strange_answers_raise_what_callers_expect(
    api: ApiServer, directory: KubernetesDirectory, call: str, answer: bytes
) -> None:
    network = directory.snapshot().networks["pods"]
    block = directory.claim(network, A)
    calls: dict[str, Callable[[], object]] = {
        "snapshot": directory.snapshot,
        "announce": lambda: directory.announce(A._replace(mac="02:00:00:00:00:09")),
        "claim": lambda: directory.claim(network, A),
        "claim_again": lambda: directory.claim_again(block),
        "leave": lambda: directory.leave("a"),
    }
    api.fault = always(Fault("answer", 200, answer))
    with suppress(CnmError):
        calls[call]()
