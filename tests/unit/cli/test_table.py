"""A table is one line for each row, whatever is in a cell."""

from __future__ import annotations

from cni_cnm.cli.table import table


def test_columns() -> None:
    """As wide as the widest cell, without blanks at the end."""
    assert table(("ID", "NAME"), [("1", "a"), ("22", "bb")]) == "ID  NAME\n1   a\n22  bb"


def test_names_that_a_terminal_would_obey() -> None:
    """The kernel allows them for links, and an executable may have any name."""
    assert table(("IFNAME",), [("\x1b[2J",), ("a\nb",), ("n\udcff",)]).split("\n") == [
        "IFNAME",
        "\\x1b[2J",
        "a\\nb",
        "n\\udcff",
    ]
