"""The watch: what is said, how often, and when it sleeps. The kernel's reports are scripted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.host import Host
from cni_cnm.cnm.reconcile.changed import EVERYTHING, Changed
from cni_cnm.cnm.reconcile.difference import Outcome
from cni_cnm.cnm.reconcile.gone_namespaces import LOOK_S, GoneNamespaces
from cni_cnm.errors import KernelError
from cni_cnm.kernel.contract.changes import NO_LINKS, NOTHING, FilterChange, LinkChange
from cni_cnm.service import reconcile_watch
from cni_cnm.service.reconcile_watch import Monitors, watch
from tests.memory_kernel.host import memory_host

BROKEN = FilterChange(broken=True)
REPAIRED = Outcome("the network net: br9 is down; put right", "repaired")
FAILED = Outcome("the network net: br9 is down; this was not repaired: no", "failed")


class Script:
    """Runs the watch: each change is followed by a look that answers with the outcomes given for it."""

    def __init__(self, folder: Path, *answers: list[Outcome] | Exception) -> None:
        self.host = memory_host(folder)
        self.answers = list(answers)
        self.looks: list[Changed] = []
        self.lines: list[str] = []
        self.pauses: list[float] = []
        self.now = 1000.0
        self.wake = os.eventfd(0, os.EFD_NONBLOCK)

    def wait(self, wake: int, until: float) -> tuple[FilterChange, LinkChange] | None:
        return (BROKEN, LinkChange(links=frozenset(["br9"]))) if self.answers else None

    def reconcile(self, host: Host, changed: Changed) -> Iterator[Outcome]:
        self.looks.append(changed)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        yield from answer

    def sleep(self, wake: int, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += seconds
        return False

    def run(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Returns the lines of the log, without the times."""

        @contextmanager
        def engine() -> Iterator[Controller]:
            yield Controller(self.host)

        monkeypatch.setattr(reconcile_watch, "reconcile", self.reconcile)
        monkeypatch.setattr(reconcile_watch, "_sleep", self.sleep)
        monkeypatch.setattr(reconcile_watch, "monotonic", lambda: self.now)
        watch(engine, lambda line, *_: self.lines.append(line), cast("Monitors", self), self.wake)
        os.close(self.wake)
        return self.lines


def test_everything_at_first_then_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(tmp_path, [], [], [])
    assert script.run(monkeypatch) == []
    assert script.looks == [EVERYTHING, *[Changed(False, frozenset(["br9"]), frozenset(), True, BROKEN)] * 2]
    assert script.pauses == []


def test_each_repair_is_said_and_each_failure_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = Outcome("the subnet is also that of vpn0", "noted")
    script = Script(tmp_path, [REPAIRED, FAILED], [FAILED, noted], [noted, REPAIRED, FAILED])
    assert script.run(monkeypatch) == [
        f"REPAIR {REPAIRED.sentence}",
        f"REPAIR failed {FAILED.sentence}",
        f"NOTICE {noted.sentence}",
        f"REPAIR {REPAIRED.sentence}",
    ]


def test_another_program_that_goes_on_is_left_alone_for_longer_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same repair in a row: 1, 2, 4 s, up to a minute. Another repair begins anew."""
    other = Outcome("the network net: br9 does not exist; made again, with 1 container on it", "repaired")
    script = Script(tmp_path, *[[REPAIRED]] * 9, [other], [])
    script.run(monkeypatch)
    assert script.pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_same_a_while_later_is_repaired_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(tmp_path, *[[REPAIRED]] * 5)
    ask = script.wait

    def later(wake: int, until: float) -> tuple[FilterChange, LinkChange] | None:
        script.now += reconcile_watch.AGAIN_S
        return ask(wake, until)

    monkeypatch.setattr(script, "wait", later)
    script.run(monkeypatch)
    assert script.pauses == []


@pytest.mark.parametrize("error", [KernelError("the kernel refuses", 1), ValueError("a defect")])
def test_a_look_that_fails_does_not_end_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    script = Script(tmp_path, error, [REPAIRED])
    assert script.run(monkeypatch) == [f"REPAIR {REPAIRED.sentence}"]
    assert str(error) in capsys.readouterr().err


def test_reports_that_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The kernel's socket fails: it is said, and the watch ends."""
    script = Script(tmp_path, [])

    def broken(*_: float) -> tuple[FilterChange, LinkChange] | None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(script, "wait", broken)
    script.run(monkeypatch)
    assert "no longer seen" in capsys.readouterr().err


def test_from_time_to_time_endpoints_without_a_namespace_are_taken_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the time the watch has asked for. An error is said, and the next look comes."""
    script = Script(tmp_path, [])
    times: list[float] = []
    answers: list[list[Outcome] | Exception] = [[], KernelError("refused", 1), ValueError("a defect"), [REPAIRED]]

    def wait(_: int, until: float) -> tuple[FilterChange, LinkChange] | None:
        script.now = until
        return (NOTHING, NO_LINKS) if answers else None

    def look(_: object, host: Host, now: float) -> Iterator[Outcome]:
        times.append(now)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        yield from answer

    monkeypatch.setattr(script, "wait", wait)
    monkeypatch.setattr(GoneNamespaces, "look", look)
    assert script.run(monkeypatch) == [f"REPAIR {REPAIRED.sentence}"]
    assert times == [1000 + LOOK_S * number for number in (1, 2, 3, 4)]
    assert capsys.readouterr().err.count("endpoints without a namespace are not known") == 2
