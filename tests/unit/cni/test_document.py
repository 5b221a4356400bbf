"""JSON as Go reads it, and typed reading."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cni.document import LIMIT_DEPTH, Fields, decode, lowered
from cni_cnm.errors import DecodeFailed, InvalidConfig


def test_keys_in_any_case() -> None:
    """containerd sends HostPort where the specification has hostPort."""
    fields = Fields({"HOSTPORT": 80, "protocol": "tcp"})
    assert (fields.whole("hostPort"), fields.text("Protocol")) == (80, "tcp")


def test_last_of_several_wins() -> None:
    """Of equal keys, also in different case, the last counts, and null changes nothing."""
    assert Fields(decode(b'{"name":"a","NAME":"b","name":"c"}')).text("name") == "c"
    assert Fields(decode(b'{"name":"a","Name":"b","name":null}')).text("name") == "b"


def test_null_is_absent() -> None:
    """A null value of any field is as if the key were not there."""
    fields = Fields({"mtu": None, "dns": None, "ips": None, "name": None, "internal": None})
    assert "mtu" not in fields
    assert (fields.whole("mtu"), fields.items("ips"), fields.text("name"), fields.flag("internal")) == (
        0,
        (),
        "",
        False,
    )
    assert "servers" not in fields.object("dns")


def test_wrong_type_names_key_and_value() -> None:
    """The refusal has the whole path of the key and what is there."""
    fields = Fields({"runtimeConfig": {"dns": {"servers": "1.1.1.1"}}})
    with pytest.raises(InvalidConfig, match=r'runtimeConfig\.dns\.servers is "1\.1\.1\.1", it must be a list'):
        fields.object("runtimeConfig").object("dns").texts("servers")
    with pytest.raises(InvalidConfig, match=r"mtu is true, it must be a whole number"):
        Fields({"mtu": True}).whole("mtu")
    with pytest.raises(InvalidConfig, match=r"mtu is 1500\.0, it must be a whole number"):
        Fields({"mtu": 1500.0}).whole("mtu")


def test_long_values_are_cut_in_messages() -> None:
    """A message stays readable whatever was sent."""
    with pytest.raises(InvalidConfig) as caught:
        Fields({"mtu": "x" * 10_000}).whole("mtu")
    assert len(str(caught.value)) < 200


def test_depth_limit() -> None:
    """Nesting up to the limit is read, one more is refused; brackets inside text do not count."""
    deep = b"[" * (LIMIT_DEPTH - 1) + b"]" * (LIMIT_DEPTH - 1)
    assert decode(b'{"x":' + deep + b"}")
    with pytest.raises(DecodeFailed, match="nested deeper"):
        decode(b'{"x":[' + deep + b"]}")
    assert decode(b'{"x":"' + b"[" * 1000 + b'"}')


def test_lone_surrogates_are_replaced() -> None:
    """A lone surrogate becomes U+FFFD as in Go; a pair stays the character it is."""
    assert decode(rb'{"a\ud800":["x\udfff","\ud83d\ude00"]}') == {"a\ufffd": ["x\ufffd", "\U0001f600"]}


def test_hint_for_empty_stdin() -> None:
    """Who calls by hand and forgets stdin is told."""
    with pytest.raises(DecodeFailed, match="expected on stdin"):
        decode(b"")


@given(st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_decoded_text_can_be_written(value: object) -> None:
    """Whatever text comes in, every string can be encoded and handed to the kernel."""
    decoded = decode(json.dumps({"x": value}).encode())
    json.dumps(decoded, ensure_ascii=False).encode()


def test_lowered_reaches_every_level() -> None:
    """Keys of nested objects too, without nulls; values keep their case."""
    assert lowered({"Ranges": [[{"RangeStart": "A", "Gateway": None}]]}) == {"ranges": [[{"rangestart": "A"}]]}
