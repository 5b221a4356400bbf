"""The model of etcd answers as a real etcd does, to any sequence of requests."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cluster.etcd_model import EtcdModel, Refused
from tests.cluster.etcd_server import EtcdServer, b64

_prefixes = count(1)
NAMES = ["a", "b", "b/c", "d"]
name = st.sampled_from(NAMES)


def key(text: str) -> dict[str, Any]:
    return {"key": text}


places = st.one_of(
    name.map(key), name.map(lambda text: {"key": text, "range_end": text + "0"}), st.just({"key": "", "range_end": "~"})
)
puts = st.builds(lambda place, value: {**place, "value": value}, name.map(key), st.sampled_from(["", "x", "y"]))
ranges = st.builds(
    lambda place, more: {**place, **more},
    places,
    st.fixed_dictionaries(
        {}, optional={"limit": st.integers(1, 3), "keys_only": st.just(True), "min_mod_revision": st.integers(0, 9)}
    ),
)
numbers = st.integers(0, 9)
compares = st.one_of(
    st.builds(lambda place, number: {**place, "target": "CREATE", "create_revision": number}, places, numbers),
    st.builds(lambda place, number: {**place, "target": "MOD", "mod_revision": number}, places, numbers),
    st.builds(lambda place, number: {**place, "target": "VERSION", "version": number}, places, st.integers(0, 3)),
    st.builds(lambda place, value: {**place, "target": "VALUE", "value": value}, name.map(key), st.sampled_from("xy")),
)
operations = st.one_of(
    puts.map(lambda request: {"request_put": request}),
    ranges.map(lambda request: {"request_range": request}),
    places.map(lambda request: {"request_delete_range": request}),
)
transactions = st.builds(
    lambda compare, success, failure: {"compare": compare, "success": success, "failure": failure},
    st.lists(compares, max_size=2),
    st.lists(operations, max_size=3),
    st.lists(operations, max_size=2),
)
requests = st.one_of(
    st.tuples(st.just("kv/put"), puts),
    st.tuples(st.just("kv/range"), ranges),
    st.tuples(st.just("kv/deleterange"), places),
    st.tuples(st.just("kv/txn"), transactions),
)


def spelled(raw: Any, prefix: str, offset: int) -> Any:
    """A request as it is sent: keys below the prefix and values in base64, revisions from the test's begin on."""
    if isinstance(raw, list):
        return [spelled(each, prefix, offset) for each in raw]
    if not isinstance(raw, dict):
        return raw
    made: dict[str, Any] = {}
    for place, value in raw.items():
        if place in ("key", "range_end"):
            made[place] = b64(prefix + value)
        elif place == "value":
            made[place] = b64(value)
        elif place in ("min_mod_revision", "create_revision", "mod_revision"):
            made[place] = value + offset if value else 0
        else:
            made[place] = spelled(value, prefix, offset)
    return {"result": "EQUAL", **made} if "target" in made else made


def compared(raw: Any, offset: int) -> Any:
    """An answer without what is of this server, its revisions counted from the test's begin on."""
    if isinstance(raw, list):
        return [compared(each, offset) for each in raw]
    if not isinstance(raw, dict):
        return raw
    found = {}
    for place, value in raw.items():
        if place in ("cluster_id", "member_id", "raft_term"):
            continue
        if place in ("revision", "create_revision", "mod_revision"):
            found[place] = int(value) - offset
        else:
            found[place] = compared(value, offset)
    return found


def same(etcd: EtcdServer, asked: list[tuple[str, Any]]) -> None:
    prefix = f"/model-{next(_prefixes)}/"
    model = EtcdModel()
    _, first = etcd.gateway("kv/range", {"key": b64("x")})
    offset = int(first["header"]["revision"]) - model.revision
    for call, request in asked:
        status, real = etcd.gateway(call, spelled(request, prefix, offset))
        modelled_status, expected = modelled(model, call, spelled(request, prefix, 0))
        real.pop("error", None)
        assert (status == 200) == (modelled_status == 200), (call, request, real, expected)
        assert compared(real, offset) == compared(expected, 0), (call, request)


few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@given(st.lists(requests, min_size=1, max_size=8))
@few
def test_transactions(etcd: EtcdServer, asked: list[tuple[str, Any]]) -> None:
    same(etcd, asked)


@pytest.mark.long
@given(st.lists(requests, min_size=1, max_size=8))
@few
def test_transactions_of_the_newer_release(newer_etcd: EtcdServer, asked: list[tuple[str, Any]]) -> None:
    same(newer_etcd, asked)


def test_a_lease_that_is_no_more_is_answered_without_a_time(etcd: EtcdServer) -> None:
    model = EtcdModel()
    for server in (etcd.gateway, lambda call, request: (200, model.answer(call, request))):
        _, granted = server("lease/grant", {"TTL": 30})
        _, living = server("lease/keepalive", {"ID": granted["ID"]})
        assert living["result"]["TTL"] == "30"
        server("lease/revoke", {"ID": granted["ID"]})
        status, gone = server("lease/keepalive", {"ID": granted["ID"]})
        assert (status, sorted(gone["result"])) == (200, ["ID", "header"])


def test_what_is_compacted_and_a_lease_that_is_not_there_are_refused_alike(etcd: EtcdServer) -> None:
    model = EtcdModel()
    refused = []
    for ask in (etcd.gateway, lambda call, request: modelled(model, call, request)):
        for _ in range(3):
            ask("kv/put", {"key": b64("/compacted"), "value": b64("x")})
        now = int(ask("kv/range", {"key": b64("x")})[1]["header"]["revision"])
        asked = [
            *[("kv/compaction", {"revision": revision}) for revision in (now, now)],
            *[("kv/range", {"key": b64("/compacted"), "revision": revision}) for revision in (now - 1, now, now + 1)],
            ("kv/put", {"key": b64("x"), "value": "", "lease": 99}),
        ]
        refused.append([ask(call, request)[1].get("message") for call, request in asked])
    assert refused[0] == refused[1]
    assert refused[0][0] is None
    assert all(refused[0][place] for place in (1, 2, 4, 5))


def modelled(model: EtcdModel, call: str, request: Any) -> tuple[int, Any]:
    try:
        return 200, model.answer(call, request)
    except Refused as error:
        return 400, {"message": str(error), "code": error.code}
