"""`cni-cnm watch`: what happens on this host, as it happens: rates, drops, who joins and leaves."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentTypeError
from typing import Any

from cni_cnm.cli.listing import write
from cni_cnm.find.networks import find_network
from cni_cnm.frontend.one_line import one_line
from cni_cnm.watch.report import bits, reports
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from cni_cnm.watch.report import Report

LEAST_S = 0.1


def configure(nouns: Any) -> None:
    parser = nouns.add_parser(
        "watch",
        help="show rates, drops, and who joins and leaves, as it happens",
        description="Show what happens on this host until Ctrl-C. On a terminal the screen has the busiest endpoints, "
        "what was dropped by our rules and why, and the last events. In a pipe it is a line for each event, each "
        "reason of drops, and each endpoint with traffic.",
    )
    parser.add_argument("--network", action="append", default=[], help="only this network; may be repeated")
    parser.add_argument("--interval", type=_seconds, default=1.0, metavar="S", help="between two looks (default: 1)")
    parser.add_argument("--count", type=_looks, default=0, metavar="N", help="end after N looks")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")
    parser.set_defaults(verb=watch)


def watch(arguments: argparse.Namespace) -> None:
    with open_controller() as controller:
        networks = [find_network(controller, name).name for name in arguments.network]
        found = reports(controller.host, networks, arguments.interval, arguments.count)
        try:
            if arguments.json or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
                for report in found:
                    write(*(_objects(report) if arguments.json else _lines(report)))
                    sys.stdout.flush()
            else:
                from cni_cnm.cli.watch_screen import show

                show(found, os.uname().nodename)
        except KeyboardInterrupt:
            pass


def _lines(report: Report) -> Iterator[str]:
    for event in report.events:
        yield one_line(f"{report.time} {event.sentence}")
    for drop in report.drops:
        yield f"{report.time} {drop.sentence}"
    for rate in report.rates:
        if rate.bits or rate.dropped:
            seen = rate.endpoint
            lost = f", {rate.dropped} dropped by the link" if rate.dropped else ""
            yield one_line(
                f"{report.time} {seen.container} {seen.network}/{seen.ifname} receives {bits(rate.received_bits)} "
                f"({rate.received_packets:.0f} packets/s), sends {bits(rate.sent_bits)} "
                f"({rate.sent_packets:.0f} packets/s){lost}"
            )


def _objects(report: Report) -> Iterator[str]:
    for event in report.events:
        yield json.dumps({"time": report.time, "what": "event", **event._asdict()})
    for drop in report.drops:
        yield json.dumps({"time": report.time, "what": "drop", **drop._asdict()})
    for rate in report.rates:
        if rate.bits or rate.dropped:
            numbers = {key: value for key, value in rate._asdict().items() if key != "endpoint"}
            yield json.dumps({"time": report.time, "what": "rate", **rate.endpoint._asdict(), **numbers})


def _looks(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r} is no number of looks from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not LEAST_S <= found <= 3600:
        raise ArgumentTypeError(f"{text!r} is no number of seconds between {LEAST_S} and 3600")
    return found
