"""What is remembered is what would be made anew: of equal inputs, whatever else came between."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cni_cnm import memo
from cni_cnm.memo import Memo

SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from((0.0, 1.0, "", "1", "a"))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=1), inner))


@given(st.lists(st.tuples(st.sampled_from("ab"), VALUES), max_size=20))
def test_only_equal_inputs_have_one_value(calls: list[tuple[str, Any]]) -> None:
    """Also true, 1 and 1.0 are different inputs; a list that was changed later is, too."""
    known: Memo[str] = Memo()
    for name, value in calls:
        assert known.get(name, (value,), lambda value=value: repr(value)) == repr(value)  # type: ignore[misc]
        if isinstance(value, list):
            value.append("changed")
            assert known.get(name, (value,), lambda value=value: repr(value)) == repr(value)  # type: ignore[misc]


def test_it_has_a_bound() -> None:
    """Of names, and of the bytes of one input; what cannot be compared byte by byte is made each time."""
    known: Memo[object] = Memo()
    for number in range(3 * memo.NAMES_MAX):
        known.get(str(number), (number,), object)
        assert len(known._known) <= memo.NAMES_MAX
    for given_value in ("x" * memo.BYTES_MAX, object()):
        assert known.get("large", (given_value,), object) is not known.get("large", (given_value,), object)
    assert known.get("small", ("x",), object) is known.get("small", ("x",), object)
