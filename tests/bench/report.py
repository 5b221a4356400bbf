"""Numbers of a run, as a table, as JSON, as a picture."""

from __future__ import annotations

from html import escape
from statistics import median
from textwrap import wrap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLOURS = {"reference": "#9aa5b1", "service": "#1f77b4", "program": "#8cc0e8"}
_BAR, _LEFT, _WIDTH = 13, 330, 560


class Cell(NamedTuple):
    """One contender's times of one verb in one situation, in milliseconds."""

    configuration: str
    present: int
    mode: str
    """`single`, or `burst`, with the number at once if several are measured: then `wall_ms` is the time for all pods.
    Others: tests/bench/rows.py."""
    verb: str
    contender: str
    times_ms: Sequence[float]
    wall_ms: Sequence[float] = ()

    @property
    def typical_ms(self) -> float:
        return median(self.wall_ms or self.times_ms)

    @property
    def p99_ms(self) -> float:
        ordered = sorted(self.times_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def table(cells: Sequence[Cell]) -> str:
    """One line a cell; the ratio is to the reference in the same situation, where it was measured."""
    head = f"{'configuration':<14}{'present':>8}  {'mode':<9}{'verb':<7}{'contender':<11}"
    lines = [f"{head}{'median ms':>11}{'p99 ms':>10}{'ratio':>8}{'calls':>7}"]
    against = _references(cells)
    for cell in cells:
        reference = against.get(cell[:4])
        ratio = f"{cell.typical_ms / reference:.2f}" if reference else "-"
        lines.append(
            f"{cell.configuration:<14}{cell.present:>8}  {cell.mode:<9}{cell.verb:<7}{cell.contender:<11}"
            f"{cell.typical_ms:>11.2f}{cell.p99_ms:>10.2f}{ratio:>8}{len(cell.times_ms):>7}"
        )
    lines.append("median: of the calls; in a burst, of the time for all its pods. p99: of the calls.")
    return "\n".join(lines)


def document(cells: Sequence[Cell], about: Mapping[str, object]) -> dict[str, object]:
    return {
        "about": about,
        "cells": [
            {**cell._asdict(), "median_ms": round(cell.typical_ms, 3), "p99_ms": round(cell.p99_ms, 3)}
            for cell in cells
        ],
    }


def plot(cells: Sequence[Cell], about: Mapping[str, object]) -> str:
    """An SVG of horizontal bars, a group for each situation; lengths are relative to the group's longest."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell[:4], []).append(cell)
    parts, y = [], 46
    for key, members in groups.items():
        configuration, present, mode, verb = key
        label = f"{verb}, {configuration}, {present} present{f', {mode}' if str(mode).startswith('burst') else ''}"
        parts.append(_text(_LEFT - 10, y + _BAR * len(members) / 2 + 4, label, anchor="end"))
        longest = max(cell.typical_ms for cell in members)
        for cell in members:
            width = max(1.0, _WIDTH * cell.typical_ms / longest)
            colour = COLOURS.get(cell.contender, "#555")
            parts.append(f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" fill="{colour}"/>')
            parts.append(_text(_LEFT + width + 5, y + _BAR - 4, f"{cell.typical_ms:.1f} ms"))
            y += _BAR
        y += 9
    legend = []
    for index, (name, colour) in enumerate(COLOURS.items()):
        x = _LEFT + 110 * index
        legend.append(f'<rect x="{x}" y="14" width="11" height="11" fill="{colour}"/>' + _text(x + 16, 24, name))
    lines = wrap(", ".join(f"{key} {value}" for key, value in about.items()), 130)
    said = "".join(_text(10, y + 12 + 15 * number, line) for number, line in enumerate(lines))
    total = _LEFT + _WIDTH + 90
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{y + 9 + 15 * len(lines)}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        + "".join([*legend, *parts, said])
        + "</svg>\n"
    )


def _references(cells: Sequence[Cell]) -> dict[tuple[object, ...], float]:
    return {cell[:4]: cell.typical_ms for cell in cells if cell.contender == "reference"}


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
