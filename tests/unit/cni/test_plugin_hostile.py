"""Malformed and hostile calls of the CNI frontend, and arbitrary JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cni.plugin import handle
from tests.hostile import Hostile, requests
from tests.unit.cni.engine import ENV, FakeEngine, ask

CASES = list(requests())
ALLOWED = {1, 2, 4, 6, 7, 8}


def test_there_are_many_and_each_has_a_name() -> None:
    """Names are unique, so a failure points at one call."""
    assert len({case.id for case in CASES}) == len(CASES) > 250


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_hostile_call(case: Hostile) -> None:
    """One error object with an expected code, exit 1, no traceback, and the engine is not even asked for."""

    def controller() -> FakeEngine:
        raise AssertionError("the engine was asked for")

    reply = handle(case.env, lambda: case.stdin, controller)
    error = json.loads(reply.out)
    assert error["code"] in case.codes, error
    assert error["code"] in ALLOWED
    assert set(error) <= {"cniVersion", "code", "msg", "details"}
    assert error["msg"]
    assert len(reply.out) < 8192
    assert reply.code == 1
    assert "Traceback" not in reply.err
    assert "\n" not in reply.summary
    reply.err.encode()
    reply.summary.encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
KEYS = [
    *(
        "cniVersion",
        "name",
        "type",
        "ipam",
        "dns",
        "args",
        "runtimeConfig",
        "capabilities",
        "prevResult",
        "mac",
    ),
    *("profile", "driver", "options", "internal", "labels", "owner", "statusExhausted", "bridge", "mtu"),
    *("vlanTrunk", "portmap", "enableIPv6", "cni.dev/valid-attachments", "cni.dev/attachments"),
]
INNER = [
    *("type", "cni", "mac", "ips", "dns", "servers", "ipRanges", "portMappings", "hostPort", "bandwidth"),
    *("aliases", "interfaces", "interface", "routes", "dst", "ip4", "address", "containerID", "ifname"),
]
NEAR = st.dictionaries(
    st.sampled_from(KEYS),
    JSON
    | st.dictionaries(
        st.sampled_from(INNER), JSON | st.lists(st.dictionaries(st.sampled_from(INNER), JSON)), max_size=4
    ),
    max_size=8,
)
VERBS = st.sampled_from(("ADD", "CHECK", "DEL", "GC", "STATUS"))


def _never_internal(verb: str, stdin: bytes, name: str = "cni-cnm") -> None:
    answer = ask(verb, stdin, name=name)
    if answer.reply.code:
        refused = name == "loopback" and answer.json["code"] == 999 and "internal error" not in answer.json["msg"]
        assert answer.json["code"] in ALLOWED or refused
    elif verb == "ADD":
        assert answer.json["cniVersion"]
    else:
        assert answer.reply.out == b""


@given(VERBS, JSON)
def test_any_json(verb: str, document: Any) -> None:
    """Whatever JSON comes, the answer is a result or an error with a code of the specification."""
    _never_internal(verb, json.dumps(document).encode())


@given(VERBS, NEAR, st.sampled_from(("1.1.0", "0.4.0", "0.2.0")), st.sampled_from(("cni-cnm", "loopback")))
def test_nearly_right_configurations(verb: str, document: dict[str, Any], version: str, name: str) -> None:
    """The same for configurations with the right keys and any values."""
    _never_internal(verb, json.dumps({"name": "n", "cniVersion": version, **document}).encode(), name)


@given(VERBS, st.binary(max_size=200))
def test_any_bytes(verb: str, stdin: bytes) -> None:
    """Bytes that are no JSON are refused as such."""
    _never_internal(verb, stdin)


@given(
    st.dictionaries(st.sampled_from((*ENV, "CNI_ARGS", "CNI_CNM_OWNER", "CNI_NETNS_OVERRIDE")), st.text(max_size=30))
)
def test_any_environment(env: dict[str, str]) -> None:
    """Any values of the variables give a result or an error."""
    answer = ask(env=dict(env))
    if answer.reply.code:
        assert answer.json["code"] in (*ALLOWED, 3)
