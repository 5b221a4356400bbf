"""Tables on a terminal, by the library `rich`: as wide as the terminal, with colours. Nothing of a row is left out."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEPT = 16
"""Cells up to this length are not folded, as long as other columns can be."""

UNFOLDED = 1 << 16
"""Characters: wider than any line."""


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[Mapping[str, str]], *, fold: bool
) -> None:
    """Print it on stdout. A cell that does not fit continues on the next line; without `fold` the terminal wraps it.

    NO_COLOR in the environment turns colours off, and TERM=dumb as well.
    """
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=None if fold else UNFOLDED)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for position, title in enumerate(header):
        widest = max((len(row[position]) for row in rows), default=0)
        table.add_column(title, overflow="fold", no_wrap=not fold or widest <= KEPT)
    for row in rows:
        coloured = zip(row, styles, strict=True)
        table.add_row(*(Text(cell, style.get(cell, style.get("", ""))) for cell, style in coloured))
    console.print(table, crop=False)
