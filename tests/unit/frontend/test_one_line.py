"""Any text is one line that a terminal shows and does not obey."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.frontend.one_line import LIMIT, one_line

any_text = st.text(st.characters() | st.characters(categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), max_size=40)


@given(any_text)
def test_any_text(text: str) -> None:
    """It has no control character, can be encoded, and printable text is not changed."""
    line = one_line(text)
    assert line.isprintable()
    assert line.encode().decode() == line
    if text.isprintable():
        assert line == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b", "\\x9b"),
        ("a\u2028b", "a\\u2028b"),
        ("\u202eabc", "\\u202eabc"),
        ("\udcff", "\\udcff"),
        ('it\'s "ü"', 'it\'s "ü"'),
    ],
)
def test_what_is_escaped(text: str, line: str) -> None:
    """Line ends, terminal sequences, changes of direction, bytes that are not UTF-8."""
    assert one_line(text) == line


def test_it_is_cut() -> None:
    """A long text stays one bounded line, whether it is escaped or not."""
    assert one_line("x" * LIMIT) == "x" * LIMIT
    assert one_line("x" * (LIMIT + 1)) == f"{'x' * LIMIT}…"
    assert one_line("\n" * LIMIT) == "\\n" * (LIMIT // 2) + "…"
