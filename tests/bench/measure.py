"""Runs CNI plugins and times them, from posix_spawn (vfork) to the end of the process: what a runtime
waits for.

A contender is one plugin or a chain of them, called one after the other with the result so far, as libcni does; the
time of a chain is that of its processes. stdin and stdout are files in memory; nothing of this program runs beside a
single call.
"""

from __future__ import annotations

import json
import os
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from tests.bench.host import Host


class Link(NamedTuple):
    """A plugin of a chain."""

    executable: str
    conf: Mapping[str, Any]
    runtime: Callable[[Pod], Mapping[str, Any]] | None = None
    """What the runtime adds for a pod, as `runtimeConfig`."""


class Contender(NamedTuple):
    """Plugins as a runtime executes them, for one network."""

    name: str
    links: tuple[Link, ...]
    environ: Mapping[str, str]
    host: Host | None = None
    """Where they are called, and work; None: where this program is."""


class Pod(NamedTuple):
    container_id: str
    netns: str
    number: int = 0


EMPTY = "EMPTY"
"""A verb that does not exist. It is refused, so it costs what every call does."""


class Failed(Exception):
    pass


class _Turn:
    """One pod's way through the links of a contender; libcni keeps its result for DEL, and so does this."""

    results: ClassVar[dict[tuple[str, str], Any]] = {}

    def __init__(self, contender: Contender, verb: str, pod: Pod, files: str) -> None:
        self.contender, self.verb, self.pod, self._files = contender, verb, pod, files
        self._key = f"{contender.name} {contender.links[0].conf['name']}", pod.container_id
        self._left = deque(contender.links if verb == "ADD" else reversed(contender.links))
        self._previous = None if verb == "ADD" else self.results.get(self._key)
        self.prepare()

    def prepare(self) -> None:
        """What the next plugin is to read."""
        link = self._left.popleft()
        self._executable, conf = link.executable, dict(link.conf)
        if link.runtime is not None:
            conf["runtimeConfig"] = link.runtime(self.pod)
        if self._previous is not None:
            conf["prevResult"] = self._previous
        with open(f"{self._files}-in", "w") as file:
            json.dump(conf, file)

    def spawn(self) -> int:
        environ = {
            **self.contender.environ,
            "CNI_COMMAND": self.verb,
            "CNI_CONTAINERID": self.pod.container_id,
            "CNI_NETNS": self.pod.netns,
            "CNI_IFNAME": "eth0",
        }
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, f"{self._files}-in", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, f"{self._files}-out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, f"{self._files}-err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        return os.posix_spawn(self._executable, [self._executable], environ, file_actions=actions)

    def ended(self, status: int) -> bool:
        """Whether that was the last plugin; Failed with what it said."""
        code = os.waitstatus_to_exitcode(status)
        said = _read(f"{self._files}-out")
        if bool(code) != (self.verb == EMPTY):
            said += _read(f"{self._files}-err")
            name = os.path.basename(self._executable)
            raise Failed(f"{self.verb} by {self.contender.name} ({name}) ended with {code}: {said[:2000]}")
        if self.verb == "ADD":
            self._previous = self.results[self._key] = json.loads(said)
        return not self._left


def call(contender: Contender, verb: str, pod: Pod, scratch: str) -> float:
    """One call; seconds its processes took. Failed with what one of them said."""
    if contender.host is not None:
        contender.host.enter()
    turn, elapsed = _Turn(contender, verb, pod, f"{scratch}/call"), 0.0
    while True:
        started = perf_counter()
        pid = turn.spawn()
        _, status = os.waitpid(pid, 0)
        elapsed += perf_counter() - started
        if turn.ended(status):
            return elapsed
        turn.prepare()


def burst(contender: Contender, verb: str, pods: Sequence[Pod], width: int, scratch: str) -> tuple[float, list[float]]:
    """A call for each pod, `width` at once: seconds for all of them, and for each."""
    if contender.host is not None:
        contender.host.enter()
    waiting = deque(pods)
    running: dict[int, tuple[_Turn, float]] = {}
    each: list[float] = []
    begun = perf_counter()
    while waiting or running:
        while waiting and len(running) < width:
            pod = waiting.popleft()
            started = perf_counter()
            turn = _Turn(contender, verb, pod, f"{scratch}/burst-{pod.number}")
            running[turn.spawn()] = turn, started
        pid, status = os.waitpid(-1, 0)
        if pid not in running:
            raise Failed(f"the service ended during a burst of {verb}")
        turn, started = running.pop(pid)
        if turn.ended(status):
            each.append(perf_counter() - started)
        else:
            turn.prepare()
            running[turn.spawn()] = turn, started
    return perf_counter() - begun, each


def _read(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()
