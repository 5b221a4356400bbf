"""Tables on a terminal, by the library `rich`: as wide as the terminal, with colours.

A table that is too wide is folded between words, the widest columns first. If that is not enough, columns that are not
needed are left out, and long words are cut into lines, after `/`, `-` or `,` if possible.
"""

from __future__ import annotations

import sys
from typing import Protocol

from rich.console import Console, ConsoleDimensions
from rich.table import Table
from rich.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

Size = ConsoleDimensions
"""Columns and lines of a terminal."""
GAP = 2
"""Blanks between columns."""
NARROWEST = 8
"""No column is narrower, unless all are."""
READABLE = 24
"""A longer word may be cut into lines, but not to fewer characters while a column is shown that is not needed."""
UNFOLDED = 1 << 16
"""Characters: wider than any line."""


class Column(Protocol):
    """What is drawn of a column of a listing."""

    @property
    def title(self) -> str: ...
    @property
    def wide(self) -> bool: ...
    def style(self, cell: str) -> str: ...


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, fold: bool) -> None:
    """Print it on stdout. Without `fold` each row is one line, which the terminal wraps.

    NO_COLOR in the environment turns colours off, and TERM=dumb as well.
    """
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=None if fold else UNFOLDED)
    measures = [_measure([column.title, *(row[at] for row in rows)]) for at, column in enumerate(columns)]
    kept = _kept(columns, measures, console.width)
    widths = _widths([measures[at] for at in kept], console.width)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for at, width in zip(kept, widths, strict=True):
        table.add_column(columns[at].title, overflow="fold", width=width)
    for row in rows:
        cells = ((_fold(row[at], width), columns[at].style(row[at])) for at, width in zip(kept, widths, strict=True))
        table.add_row(*(Text(cell, style) for cell, style in cells))
    console.print(table, crop=False)


def print_groups(columns: Sequence[Column], rows: Sequence[Sequence[str]], by: int) -> None:
    """Print rows in their order. A cell of the column `by` is a line of its own, above all rows that follow with it."""
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    kept = [at for at in range(len(columns)) if at != by]
    measures = [_measure([row[at] for row in rows]) for at in kept]
    widths = _widths(measures, console.width - GAP)
    group = None
    for row in rows:
        if row[by] != group:
            group = row[by]
            console.print(Text(group, "bold"), soft_wrap=True)
        table = Table.grid(padding=(0, GAP, 0, 0))
        table.add_column(width=0)
        for width in widths:
            table.add_column(width=width, overflow="fold")
        table.add_row(
            "",
            *(Text(_fold(row[at], width), columns[at].style(row[at])) for at, width in zip(kept, widths, strict=True)),
        )
        console.print(table)


def _fold(cell: str, width: int) -> str:
    """In lines of at most that many characters: between words, else after a mark, else anywhere."""
    lines = []
    while len(cell) > width:
        at = cell.rfind(" ", 1, width + 1)
        if at < 0:
            at = max(cell.rfind(mark, width // 2, width) for mark in "/-,") + 1 or width
        lines.append(cell[:at].rstrip())
        cell = cell[at:].lstrip()
    return "\n".join([*lines, cell])


def _measure(cells: Sequence[str]) -> tuple[int, int]:
    """The longest word and the longest cell."""
    longest = max(map(len, cells))
    return max((len(word) for cell in set(cells) for word in cell.split()), default=longest), longest


def _kept(columns: Sequence[Column], measures: Sequence[tuple[int, int]], room: int) -> list[int]:
    """The positions of the columns for which there is room; one that is not needed is left out, from the right."""
    kept = list(range(len(columns)))
    for at in reversed(kept[:]):
        if sum(min(measures[one][0], READABLE) + GAP for one in kept) - GAP <= room:
            break
        if columns[at].wide:
            kept.remove(at)
    return kept


def _widths(measures: Sequence[tuple[int, int]], room: int) -> list[int]:
    """The width of each column: what is too much is taken from the widest one, first between words."""
    widths = [longest for _, longest in measures]
    left = sum(widths) + GAP * (len(widths) - 1) - room
    for floors in ([word for word, _ in measures], [min(NARROWEST, word) for word, _ in measures], [1] * len(widths)):
        while left > 0:
            widest = max(range(len(widths)), key=lambda at: (widths[at] > floors[at], widths[at]))
            if widths[widest] <= floors[widest]:
                break
            widths[widest] -= 1
            left -= 1
    return widths
