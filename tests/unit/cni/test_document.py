"""JSON as Go reads it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cni import document
from cni_cnm.cni.document import LIMIT_DEPTH, decode
from cni_cnm.errors import DecodeFailed
from cni_cnm.fields import Fields, lowered


def test_last_of_several_wins() -> None:
    """Of a key given twice the last counts, and null changes nothing."""
    assert Fields(decode(b'{"name":"a","NAME":"b","name":"c"}')).text("name") == "c"
    assert Fields(decode(b'{"name":"a","Name":"b","name":null}')).text("name") == "b"


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


@pytest.mark.parametrize(
    ("text", "hint"),
    [(b'{"a": 1, }', "remove the comma before it"), (b'{"a": [1,]}', "remove the comma before it"), (b'{"a" 1}', "")],
)
def test_hint_for_a_comma_too_many(text: bytes, hint: str) -> None:
    with pytest.raises(DecodeFailed, match="is not JSON") as caught:
        decode(text)
    assert caught.value.hint == hint


MEMBERS = st.sampled_from((
    '"a":1', '"a" : {"b":null,"b":[]}', '"x:y":"::"', '"A":":"', '"a":null', '"c":[[{"d":"e:f"}]]',
    '"\\u003a":"\\""', '"b":1e3', '"a":NaN', '"a":1e999', '"c":' + "[" * LIMIT_DEPTH + "]" * LIMIT_DEPTH, '"a":,',
))  # fmt: skip


@given(st.lists(st.lists(MEMBERS, max_size=4), max_size=3), st.lists(MEMBERS))
def test_many_objects_are_read_as_few(inner: list[list[str]], outer: list[str]) -> None:
    """The way without a call for each object gives the same value, with its keys in the same order, or error."""
    objects = ",".join(f"{{{','.join(one)}}}" for one in inner)
    text = "{" + ",".join([f'"list":[{objects}]', *outer]) + "}"

    def read(many: int) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(document, "_MANY", many)
            try:
                return repr(decode(text.encode()))
            except DecodeFailed as error:
                return str(error)

    assert read(0) == read(1 << 20)


def test_a_null_in_many_objects_changes_nothing() -> None:
    """Of a key given twice the last value that is not null counts, also in a long list."""
    one = b'{"hostPort":1,"hostPort":null}'
    assert decode(b'{"list":[' + b",".join([one] * 100) + b"]}") == {"list": [{"hostPort": 1}] * 100}


@given(st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_decoded_text_can_be_written(value: object) -> None:
    """Whatever text comes in, every string can be encoded and handed to the kernel."""
    decoded = decode(json.dumps({"x": value}).encode())
    json.dumps(decoded, ensure_ascii=False).encode()


def test_lowered_reaches_every_level() -> None:
    """Keys of nested objects too, without nulls; values keep their case."""
    assert lowered({"Ranges": [[{"RangeStart": "A", "Gateway": None}]]}) == {"ranges": [[{"rangestart": "A"}]]}
