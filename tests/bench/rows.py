"""Rows beside ADD and DEL in one situation: other verbs, and a host without a service."""

from __future__ import annotations

import os
import signal
from time import monotonic, sleep
from typing import TYPE_CHECKING

from tests.bench.measure import EMPTY, Failed, call
from tests.bench.report import Cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.bench.measure import Contender, Pod

VERBS = (("ADD", "ADD"), ("CHECK", "CHECK"), ("DEL", "DEL"), ("GONE", "DEL"), ("STATUS", "STATUS"), ("EMPTY", EMPTY))
"""Name of a row, and the verb. GONE: a DEL of what was deleted; EMPTY: what a call by the service costs at least."""
FIRST_CALLS = 10


def verbs(calls: int, present: int, service: Contender, pods: Sequence[Pod], scratch: str) -> Iterator[Cell]:
    """All of them in turn, by the service. STATUS is of version 1.1.0, so all are."""
    (link,) = service.links
    newer = service._replace(links=(link._replace(conf={**link.conf, "cniVersion": "1.1.0"}),))
    times: dict[str, list[float]] = {name: [] for name, _ in VERBS}
    for turn in range(calls):
        for name, verb in VERBS:
            times[name].append(call(newer, verb, pods[turn % len(pods)], scratch) * 1000)
    for name, _ in VERBS:
        yield Cell("bare", present, "verbs", name, "service", times[name])


def alone(
    calls: int, program: str, contenders: Sequence[Contender], pods: Sequence[Pod], scratch: str
) -> Iterator[Cell]:  # fmt: skip
    """No service runs at first. `first`: each ADD is the first call, no service is there. `alone`: one pod after the
    other, with what the first calls have left behind."""
    for mode, count in (("first", FIRST_CALLS), ("alone", calls)):
        times: dict[tuple[str, str], list[float]] = {}
        for contender in contenders:
            end_services(program)
            for turn in range(count):
                if mode == "first":
                    end_services(program)
                for verb in ("ADD", "DEL"):
                    elapsed = call(contender, verb, pods[turn % len(pods)], scratch)
                    times.setdefault((verb, contender.name), []).append(elapsed * 1000)
        for verb in ("ADD",) if mode == "first" else ("ADD", "DEL"):
            for contender in contenders:
                yield Cell("bare", 0, mode, verb, contender.name, times[verb, contender.name])
    end_services(program)


def end_services(program: str) -> None:
    """End the processes of the program, which is in a pid namespace of its own, and wait for that."""
    deadline = monotonic() + 20
    while left := [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _runs(pid, program)]:
        if monotonic() > deadline:
            raise Failed(f"processes of {program} do not end: {left}")
        for pid in left:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        sleep(0.02)


def _runs(pid: int, program: str) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            state = file.read().rpartition(")")[2].split()[0]
        return state != "Z" and os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(program)
    except OSError:
        return False
