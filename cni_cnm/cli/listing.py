"""Listings: rows of one kind, printed as a table, by a template, as JSON, or as names alone.

Each listing has the same options. On a terminal the table is as wide as the terminal and has colours
(cli/terminal.py). In a pipe it is plain text, and no line is cut.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError

from cni_cnm import spelling
from cni_cnm.cli.template import Template
from cni_cnm.frontend.one_line import one_line
from cni_cnm.model import ip_address
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from cni_cnm.model import IPAddress

    Row = Mapping[str, Any]
    """A row as `--json` prints it: JSON key to value. It may have keys that no column shows."""

EQUAL, PREFIX, PART, ADDRESS = "equal", "prefix", "part", "address"
"""How `--filter` compares: with the whole value, its beginning, any part of it, or as an IP address in any spelling."""

ID_SHORT = 12
"""Digits of an id."""


class Column(NamedTuple):
    field: str
    """Its name in `--format`, as Docker spells it: `Name`, `HostPort`."""
    header: str = ""
    """Above the table's column. By default the field in capitals."""
    key: str = ""
    """Its key in a row. By default the field in lower case."""
    filter: str = ""
    """Its key in `--filter`, where Docker has another one."""
    text: Callable[[Row], object] | None = None
    """The value shown, where it is not `row[key]`."""
    shown: bool = True
    """False: only `--format` and `--filter` have it."""
    short: int | Callable[[Row], int] = 0
    """Characters that are shown without `--no-trunc`. 0: all."""
    match: str | Callable[[Row, str], bool] = EQUAL
    """How `--filter` compares."""
    styles: Mapping[str, str] = {}
    """Colours on a terminal, in the words of `rich`, by the cell's text; "" is for every other text."""
    wide: bool = False
    """Left out on a terminal that has no room for all columns."""

    @property
    def name(self) -> str:
        return self.key or self.field.lower()

    @property
    def title(self) -> str:
        return self.header or self.field.upper()

    def style(self, cell: str) -> str:
        return self.styles.get(cell, self.styles.get("", ""))

    def value(self, row: Row) -> object:
        return self.text(row) if self.text else row.get(self.name)

    def cell(self, row: Row, *, whole: bool) -> str:
        """One line without control characters, however long; "" for nothing."""
        text = one_line(_text(self.value(row)), sys.maxsize)
        short = self.short(row) if callable(self.short) else self.short
        return text[:short] if short and not whole else text

    def matches(self, row: Row, wanted: str) -> bool:
        """Compares with the row's value and with the one shown; of a list or an object with each member."""
        if callable(self.match):
            return self.match(row, wanted)
        return any(
            _compare(text, wanted, self.match)
            for value in (row.get(self.name), self.value(row))
            for text in _members(value)
        )


def container_column() -> Column:
    """Rows have the name as `container`, and the id as `container_id`. An id that stands for a name is shortened."""
    return Column("Container", match=PART, short=lambda row: ID_SHORT if row["container"] == row["container_id"] else 0)


class Listing:
    """The columns of one kind of rows, and the options of the verb that prints them."""

    def __init__(self, *columns: Column, quiet: str = "ID") -> None:
        """`quiet` is the field that `-q` prints."""
        self.columns = {column.field: column for column in columns}
        self._by_filter = {column.filter or column.name: column for column in columns}
        self._quiet = self.columns[quiet]

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add --json, --format, -q, --filter and --no-trunc. A wrong value is a usage error: nothing is read."""
        example, fields = f"{{{{.{self._quiet.field}}}}}", ", ".join(self.columns)
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--json", action="store_true", help="print a JSON array, with all that is known of each row")
        how.add_argument(
            "--format",
            type=self._template,
            metavar="TEMPLATE",
            help=f"print each row by a template such as '{example}', a table as 'table {example}', "
            f"or each row as JSON on a line as 'json'; fields: {fields}",
        )
        how.add_argument("-q", "--quiet", action="store_true", help=f"print {self._quiet.title} alone")
        self.add_filter(parser)
        parser.add_argument("--no-trunc", action="store_true", help="do not shorten ids, and do not fold lines")

    def add_filter(self, parser: argparse.ArgumentParser) -> None:
        """Add --filter alone, for a verb that chooses among the rows and lists nothing."""
        action = parser.add_argument(
            "--filter",
            "-f",
            type=self._filter,
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help=f"only rows that match; of several for one key, one must match; keys: {', '.join(self._by_filter)}",
        )
        vars(action)["filter_keys"] = tuple(self._by_filter)  # for build/completions.py

    def show(self, arguments: argparse.Namespace, rows: Iterable[Row]) -> None:
        """Print the rows that match, as the options say."""
        rows = self.matching(arguments, rows)
        whole, template = arguments.no_trunc, arguments.format
        if arguments.json:
            write(json.dumps(rows, indent=4))
        elif arguments.quiet:
            write(*(self._quiet.cell(row, whole=whole) for row in rows))
        elif template is not None and template.json:
            every = self.columns.values()
            write(*(json.dumps({one.field: one.cell(row, whole=whole) for one in every}) for row in rows))
        elif template is not None and not template.table:
            write(*(template.fill(lambda field: self.columns[field].cell(row, whole=whole)) for row in rows))  # noqa: B023
        else:
            self.table(rows, whole=whole, fields=template.fields if template else ())

    def matching(self, arguments: argparse.Namespace, rows: Iterable[Row]) -> list[Row]:
        """The rows that `--filter` leaves."""
        return [row for row in rows if self._matches(row, arguments.filter)]

    def table(self, rows: Sequence[Row], *, whole: bool = False, fields: Sequence[str] = ()) -> None:
        """Print a table, by default of the columns that are shown."""
        shown = [column for column in self.columns.values() if column.shown]
        columns = [self.columns[field] for field in fields] or shown
        cells = [[column.cell(row, whole=whole) or "-" for column in columns] for row in rows]
        if sys.stdout.isatty():
            from cni_cnm.cli import terminal

            terminal.print_table(columns, cells, fold=not whole)
        else:
            write(*plain([column.title for column in columns], cells))

    def groups(self, rows: Sequence[Row], by: str) -> None:
        """As `table`. On a terminal the cell of the column `by` is a line above all rows that follow with it."""
        if not sys.stdout.isatty():
            self.table(rows)
            return
        from cni_cnm.cli import terminal

        columns = [column for column in self.columns.values() if column.shown]
        cells = [[column.cell(row, whole=False) or "-" for column in columns] for row in rows]
        terminal.print_groups(columns, cells, columns.index(self.columns[by]))

    def _matches(self, row: Row, filters: Sequence[tuple[str, str]]) -> bool:
        wanted: dict[str, list[str]] = {}
        for name, value in filters:
            wanted.setdefault(name, []).append(value)
        return all(any(self._by_filter[name].matches(row, one) for one in values) for name, values in wanted.items())

    def _template(self, text: str) -> Template:
        return Template.parse(text, self.columns)

    def _filter(self, text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if not equals:
            raise ArgumentTypeError(f"{text!r} is not KEY=VALUE")
        if name not in self._by_filter:
            raise ArgumentTypeError(f"there is no key {name!r} ({spelling.hint(name, list(self._by_filter))})")
        return name, value


def plain(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table for a pipe: columns as wide as their widest cell, no blanks at the end."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def write(*lines: str) -> None:
    """Lines to stdout. Characters that its encoding does not have are escaped."""
    if not lines:
        return
    text = "\n".join(lines) + "\n"
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(_members(value)) if isinstance(value, dict | list | tuple) else str(value)


def _members(value: object) -> list[str]:
    if isinstance(value, dict):
        return [f"{key}={_text(one)}" for key, one in value.items()]
    return [_text(one) for one in value] if isinstance(value, list | tuple) else [_text(value)]


def _compare(text: str, wanted: str, match: str) -> bool:
    """An address with a prefix length is found without it, and `KEY=VALUE` by KEY."""
    if match == PREFIX:
        return text.startswith(wanted)
    if match == PART:
        return wanted in text
    if match == ADDRESS:
        return _address(text) == _address(wanted)
    return wanted in (text, text.partition("/")[0], text.partition("=")[0])


def _address(text: str) -> IPAddress | str:
    """Without its prefix length; the text itself if it is no address."""
    try:
        return ip_address(text.partition("/")[0])
    except ValueError:
        return text
