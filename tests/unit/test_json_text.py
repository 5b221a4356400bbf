"""The json package reads and writes the same."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.json_text import decoder, encoder

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_it_writes_what_json_writes(value: object) -> None:
    assert encoder()(value) == json.dumps(value)
    assert encoder((",", ":"), sort_keys=True)(value) == json.dumps(value, separators=(",", ":"), sort_keys=True)


@given(JSON, st.sampled_from(["", " ", "\n\t\r "]))
def test_it_reads_what_json_reads(value: object, blanks: str) -> None:
    text = f"{blanks}{json.dumps(value)}{blanks}"
    assert decoder()(text) == decoder()(text.encode()) == value


@pytest.mark.parametrize(
    "text", ["", " ", "{", '{"a"', '{"a":}', "[1,]", "{} x", '"\n"', "\ufeff{}", "tru", "\xa0{}", "01"]
)
def test_errors_are_those_of_json(text: str) -> None:
    with pytest.raises(ValueError) as expected:
        json.loads(text)
    with pytest.raises(ValueError) as found:
        decoder()(text)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("text", ['{"a"', "[1 2]", ""])
def test_an_error_where_json_is_not_loaded(text: str) -> None:
    program = """
import sys
from cni_cnm.json_text import decoder
assert "json" not in sys.modules
try:
    decoder()(sys.argv[1])
except ValueError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program, text], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("JSONDecodeError Expecting"), done


def test_hooks_see_each_object_constant_and_number() -> None:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is refused")

    decode = decoder(tuple, refuse, str)
    assert decode('{"a": 1.50, "a": [2e3]}') == (("a", "1.50"), ("a", ["2e3"]))
    with pytest.raises(ValueError, match="NaN is refused"):
        decode("[NaN]")


def test_a_value_that_is_no_json() -> None:
    with pytest.raises(TypeError, match="a set cannot be written"):
        encoder()({"a": {1}})
