"""The screen of `cni-cnm watch`: the busiest endpoints, drops by reason, the last events."""

from __future__ import annotations

from collections import deque

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cni_cnm.frontend.one_line import one_line
from cni_cnm.watch.report import bits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import JustifyMethod

    from cni_cnm.cli.terminal import Size
    from cni_cnm.watch.compare import Rate
    from cni_cnm.watch.report import Report

EVENTS = 8
"""The last ones that are shown."""
_TITLES = ("CONTAINER", "NETWORK", "ADDRESSES", "RECEIVES", "SENDS", "PACKETS/S", "STATE")
_NUMBERS = ("RECEIVES", "SENDS", "PACKETS/S")
_NOT_NEEDED = ("NETWORK", "ADDRESSES", "PACKETS/S", "STATE")
"""Left out, in this order, where there is no room for all columns."""
_NARROWEST = 12
"""Characters of a container's name, at least."""
_GAP = 2
_AROUND = 5
"""Lines that are no row: the head, the table's header, blanks."""


def show(reports: Iterable[Report], host: str) -> None:
    """Draw each report in the place of the one before, until there is none."""
    console = Console(highlight=False, markup=False, emoji=False)
    events: deque[Text] = deque(maxlen=EVENTS)
    drops: dict[str, int] = {}
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for report in reports:
            events.extend(Text(one_line(f"{report.time}  {event.sentence}")) for event in report.events)
            for drop in filter(lambda drop: drop.is_fault, report.drops):
                drops[drop.reason] = drops.get(drop.reason, 0) + drop.packets
                events.append(Text(f"{report.time}  {drop.sentence}", "red"))
            live.update(draw(report, host, drops, events, console.size), refresh=True)


def draw(report: Report, host: str, drops: Mapping[str, int], events: Sequence[Text], size: Size) -> Group:
    """One screen of that many lines."""
    rows = max(1, size.height - _AROUND - len(events))
    return Group(_head(report, host, drops), Text(), _table(report.rates[:rows], size.width), Text(), *events)


def _head(report: Report, host: str, drops: Mapping[str, int]) -> Text:
    total = sum(rate.bits for rate in report.rates)
    head = Text(f"{host}  {report.time}  {len(report.rates)} endpoints  {bits(total)}", "bold", no_wrap=True)
    for reason, packets in sorted(drops.items(), key=lambda one: -one[1]):
        head.append(f"  dropped by {reason}: {packets}", "bold red")
    return head


def _table(rates: Sequence[Rate], width: int) -> Table:
    rows = [dict(zip(_TITLES, _cells(rate), strict=True)) for rate in rates]
    widths = {title: max([len(title), *(len(row[title]) for row in rows)]) for title in _TITLES}
    for title in _NOT_NEEDED:
        if _room(widths, width) < widths["CONTAINER"]:
            del widths[title]
    room = max(_NARROWEST, _room(widths, width))
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for title in widths:
        justify: JustifyMethod = "right" if title in _NUMBERS else "left"
        table.add_column(title, justify=justify, no_wrap=True, overflow="ellipsis")
    for rate, row in zip(rates, rows, strict=True):
        style = "" if rate.endpoint.state == "ready" else "yellow"
        row["CONTAINER"] = _shortened(row["CONTAINER"], room)
        table.add_row(*(Text(row[title], style if rate.bits or style else "dim") for title in widths))
    return table


def _room(widths: Mapping[str, int], width: int) -> int:
    """What the other columns leave to the container's name."""
    return width - sum(width + _GAP for title, width in widths.items() if title != "CONTAINER")


def _shortened(name: str, room: int) -> str:
    """Without a part of its middle: containers mostly differ at the end of their names."""
    if len(name) <= room:
        return name
    begin = (room - 1) // 3
    return f"{name[:begin]}…{name[begin + 1 - room :]}"


def _cells(rate: Rate) -> tuple[str, ...]:
    seen = rate.endpoint
    return (
        one_line(seen.container),
        one_line(f"{seen.network}/{seen.ifname}"),
        " ".join(address.partition("/")[0] for address in seen.addresses),
        bits(rate.received_bits),
        bits(rate.sent_bits),
        f"{rate.received_packets + rate.sent_packets:.0f}",
        f"{seen.state}, {rate.dropped} dropped by its link" if rate.dropped else seen.state,
    )
