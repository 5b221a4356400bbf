"""Runs CNI plugins and times them, from posix_spawn (vfork) to the end of the process: what a runtime
waits for.

stdin is a file in memory, stdout and stderr go to another; nothing of this program runs beside a single
call.
"""

from __future__ import annotations

import os
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.host import Host


class Contender(NamedTuple):
    """A plugin as a runtime executes it, for one network."""

    name: str
    executable: str
    conf: str
    """Path of its configuration."""
    environ: Mapping[str, str]
    host: Host | None = None
    """Where it is called, and works; None: where this program is."""


class Pod(NamedTuple):
    container_id: str
    netns: str


class Failed(Exception):
    pass


def call(contender: Contender, verb: str, pod: Pod, scratch: str) -> float:
    """One call; seconds it took. Failed with what it said."""
    if contender.host is not None:
        contender.host.enter()
    started = perf_counter()
    pid = _spawn(contender, verb, pod, f"{scratch}/out")
    _, status = os.waitpid(pid, 0)
    elapsed = perf_counter() - started
    _require(status, contender, verb, f"{scratch}/out")
    return elapsed


def burst(contender: Contender, verb: str, pods: Sequence[Pod], width: int, scratch: str) -> tuple[float, list[float]]:
    """A call for each pod, `width` at once: seconds for all of them, and for each."""
    if contender.host is not None:
        contender.host.enter()
    waiting = deque(enumerate(pods))
    running: dict[int, tuple[int, float]] = {}
    each: list[float] = []
    begun = perf_counter()
    while waiting or running:
        while waiting and len(running) < width:
            number, pod = waiting.popleft()
            started = perf_counter()
            running[_spawn(contender, verb, pod, f"{scratch}/out-{number}")] = number, started
        pid, status = os.waitpid(-1, 0)
        if pid not in running:
            raise Failed(f"the service ended during a burst of {verb}")
        number, started = running.pop(pid)
        each.append(perf_counter() - started)
        _require(status, contender, verb, f"{scratch}/out-{number}")
    return perf_counter() - begun, each


def _spawn(contender: Contender, verb: str, pod: Pod, output: str) -> int:
    environ = {
        **contender.environ,
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": pod.container_id,
        "CNI_NETNS": pod.netns,
        "CNI_IFNAME": "eth0",
    }
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, contender.conf, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(contender.executable, [contender.executable], environ, file_actions=actions)


def _require(status: int, contender: Contender, verb: str, output: str) -> None:
    code = os.waitstatus_to_exitcode(status)
    if code:
        with open(output, errors="replace") as said:
            raise Failed(f"{verb} by {contender.name} ended with {code}: {said.read()[:2000]}")
