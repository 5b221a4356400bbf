"""The screen of `watch`, within its lines."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from cni_cnm.cli import run_command
from cni_cnm.cli.watch_screen import draw
from cni_cnm.watch.compare import Rate
from cni_cnm.watch.report import Report
from cni_cnm.watch.sample import Seen


@pytest.mark.parametrize("number", [0, 1, 500])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (40, 8)])
def test_a_screen(number: int, width: int, height: int) -> None:
    """It has at most as many lines as the terminal, with the busiest endpoints, drops and events. Names are escaped."""
    rates = [
        Rate(Seen(str(at), f"web/front-{at}\x1b[2J", "shop", "eth0", ("10.9.0.2/24",), "ready", "veth"), 1000.0 - at)
        for at in range(number)
    ]
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, highlight=False, markup=False)
    console.print(draw(Report("19:44:05", rates, (), ()), "node1", {"isolation": 14}, [Text("an event")], console.size))
    lines = file.getvalue().splitlines()
    assert len(lines) <= height
    assert lines[0].startswith("node1  19:44:05")
    assert ("dropped by isolation: 14" in lines[0]) == (width > 40)
    assert "an event" in lines[-1]
    assert "\x1b" not in file.getvalue()
    assert ("web/front-0" in file.getvalue()) == (number > 0)


def test_long_names_of_containers(capsys: pytest.CaptureFixture[str]) -> None:
    """The rates are whole, and names stay different, on 80 columns."""
    names = [f"production/checkout-service-7d9f6b5c4-x2vh{at}" for at in range(3)]
    seen = [Seen(name, name, "shop", "eth0", ("10.9.0.2/24",), "ready", "veth") for name in names]
    rates = [Rate(one, received_bits=2.5e9, sent_bits=1.5e6) for one in seen]
    console = Console(width=80, height=24, highlight=False, markup=False)
    console.print(draw(Report("19:44:05", rates, (), ()), "node1", {}, (), console.size))
    rows = capsys.readouterr().out.splitlines()[3:6]
    assert len(set(rows)) == 3
    assert all("2.5 Gbit/s" in row and "1.5 Mbit/s" in row and "-x2vh" in row and "ready" in row for row in rows)


@pytest.mark.parametrize("count", ["-1", "0", "1.5", "x", ""])
def test_a_wrong_number_of_looks(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused: there would be no look, or no end that was asked for."""
    assert run_command(["cni-cnm", "watch", f"--count={count}"]) == 2
    assert f"{count!r} is no number of looks from 1 on" in capsys.readouterr().err
