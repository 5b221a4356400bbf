"""Rates for people, and reports in a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.cnm.controller import Controller
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


def test_in_a_row(tmp_path: Path) -> None:
    """Each is about what has happened since the one before; there are as many as were wanted."""
    controller = Controller(memory_host(tmp_path))
    found = []
    for number, report in enumerate(reports(controller.host, (), 0.0, 3)):
        found.append([event.sentence for event in report.events])
        if number == 0:
            controller.new_network("shop")
    assert found == [[], ["network shop was made, driver bridge"], []]
