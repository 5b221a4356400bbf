"""Rates for people, and reports in a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.frontend import events
from cni_cnm.frontend.events import Event
from cni_cnm.watch.report import bits, reports
from tests.memory_kernel.host import memory_host


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bit/s"),
        (999, "999 bit/s"),
        (1234, "1.2 kbit/s"),
        (123456, "123 kbit/s"),
        (2_500_000, "2.5 Mbit/s"),
        (98_700_000_000, "98.7 Gbit/s"),
    ],
)
def test_bits(number: float, text: str) -> None:
    assert bits(number) == text


def test_what_the_service_has_noted(tmp_path: Path) -> None:
    """Beside what two samples show, and only of the networks that were asked for, or of the whole host."""
    controller = Controller(memory_host(tmp_path))
    run_dir = controller.host.settings.run_dir
    Path(run_dir).mkdir(parents=True, exist_ok=True)
    events.append(run_dir, Event(events.NOTED, "too early"))
    found = []
    for number, report in enumerate(reports(controller.host, ["shop"], 0.0, 3)):
        found.append([(event.kind, event.sentence) for event in report.events])
        if number == 0:
            for network in ("shop", "other", ""):
                events.append(run_dir, Event(events.POOL_LOW, f"of {network}", network))
            events.append(run_dir, Event(events.NETWORK_MADE, "shown already", "shop"))
    assert found == [[], [(events.POOL_LOW, "of shop"), (events.POOL_LOW, "of ")], []]


def test_in_a_row(tmp_path: Path) -> None:
    """Each is about what has happened since the one before; there are as many as were wanted."""
    controller = Controller(memory_host(tmp_path))
    found = []
    for number, report in enumerate(reports(controller.host, (), 0.0, 3)):
        found.append([event.sentence for event in report.events])
        if number == 0:
            controller.new_network("shop")
    assert found == [[], ["network shop was made, driver bridge"], []]
