"""A list in JSON, read while it comes: in any parts the same as at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cluster.kubernetes import json_items
from cni_cnm.cluster.kubernetes.json_items import items

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.lists(VALUES, max_size=5), st.dictionaries(st.text(), VALUES, max_size=3), st.integers(1, 40), st.booleans())
def test_in_any_parts(values: list[Any], head: dict[str, Any], size: int, last: bool) -> None:
    head.pop("items", None)
    whole = {**head, "items": values} if last else {"items": values, **head}
    text = json.dumps(whole, ensure_ascii=False, indent=1 if last else None).encode() + b"\n"
    read: dict[str, Any] = {}
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    assert list(items(parts, read)) == values
    assert read == head


@given(st.binary(max_size=40) | st.text('{}[]:,"items 1e', max_size=20).map(str.encode))
def test_any_bytes_raise_nothing_else(data: bytes) -> None:
    try:
        list(items([data[:7], data[7:]], {}))
    except ValueError:
        pass


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b'{"items": [1, 2',
        b'{"items": [1, 2]',
        b'{"items": [1, {]}',
        b'{"items": [1]} x',
        b'{"a" 5}',
        b'{"a": [[[["',
        b'{"a": ' + b"[" * 50_000,
        b'{"a": "\xff"}',
    ],
)
def test_what_is_no_such_list(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"it ends too early|it has|no JSON|comes behind it|can't decode"):
        list(items([text], {}))


def test_items_that_are_no_list_are_a_value() -> None:
    head: dict[str, Any] = {}
    assert list(items([b'{"items": null, "n": 12'[:-1], b"2}"], head)) == []
    assert head == {"items": None, "n": 12}


def test_a_value_without_an_end_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_items, "VALUE_MAX", 1000)
    taken = []

    def endless() -> Any:
        yield b'{"items": ["'
        while True:
            taken.append(1)
            yield b"x" * 100

    with pytest.raises(ValueError, match="too long"):
        list(items(endless(), {}))
    assert len(taken) < 20
