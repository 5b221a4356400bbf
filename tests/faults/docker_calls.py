"""A host whose service answers Docker, and calls during which the process that answers them is killed.

What dockerd does then: it makes the same call again, or it was killed, too, and later removes what it knows of.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.judgement import STATE, UNTOLD, family_of, is_traced
from tests.faults.scenarios import DOCKER_ADDRESS, SCENARIOS, Answer, Caller, good
from tests.faults.system_calls import KILL, Point, end, names, points
from tests.system.docker_host import PLUGIN_SOCKET, PluginHost
from tests.waiting import until

KINDS = (
    "CreateNetwork", "RequestAddress", "CreateEndpoint", "Join", "ProgramExternalConnectivity",
    "RevokeExternalConnectivity", "Leave", "DeleteEndpoint", "ReleaseAddress", "DeleteNetwork",
)  # fmt: skip
_KILLED = Answer(-1, "no answer")
_SANDBOX = "/run/netns/c1"


class DockerCaller(Caller):
    """dockerd's part, over the socket; it also moves the link into the sandbox and back."""

    def __init__(self, host: PluginHost) -> None:
        self.host = host
        self.pool = ""
        self._link = ""

    def docker(self, call: str, **body: Any) -> Answer:
        try:
            return Answer(0, out=self.host.call(call, body))
        except AssertionError as error:
            return Answer(500, f"{error}")
        except (OSError, ValueError):
            return _KILLED

    def docker_join(self) -> Answer:
        done = super().docker_join()
        if not done.code:
            self._link = done.out["InterfaceName"]["SrcName"]
            node = self.host.node
            node.run("ip", "link", "set", self._link, "netns", "c1", "name", "eth0").ok()
            node.run("ip", "address", "add", DOCKER_ADDRESS, "dev", "eth0", netns=_SANDBOX).ok()
            node.run("ip", "link", "set", "eth0", "up", netns=_SANDBOX).ok()
        return done

    def docker_delete_endpoint(self) -> Answer:
        node = self.host.node
        if "eth0" in node.links(netns=_SANDBOX):
            node.run("ip", "link", "set", "eth0", "netns", str(node.pid), "name", self._link, netns=_SANDBOX)
        return super().docker_delete_endpoint()


class KilledDockerCalls:
    def __init__(self, folder: Path) -> None:
        self.host = PluginHost(folder)
        self.host.node.add_netns("c1")
        self.caller = DockerCaller(self.host)
        for _ in range(2):
            self._clear(SCENARIOS["DeleteEndpoint"].before)
        self.empty = self.state()

    def close(self) -> None:
        self.host.close()

    def points(self, kind: str) -> list[Point]:
        """A kill at each system call of one call of that kind."""
        scenario = SCENARIOS[kind]
        self._steps(scenario.before)
        trace = self.host.node.path("/run/trace")
        with self._traced("-ff", "-o", str(trace)):
            good(getattr(self.caller, scenario.call)())
        self.caller.clear_docker()
        texts = [path.read_text(errors="replace") for path in trace.parent.glob("trace.*")]
        for path in trace.parent.glob("trace.*"):
            path.unlink()
        [text] = [text for text in texts if '"POST /' in text]
        calls = names(text)
        return [point for point in points(calls, every=True) if point.fault == KILL]

    def left(self, kind: str, point: Point, *, again: bool) -> str:
        """What is wrong after a kill there; "" for nothing. `again`: Docker makes the call a second time."""
        scenario = SCENARIOS[kind]
        self._steps(scenario.before)
        with self._traced(*point.options()):
            done = getattr(self.caller, scenario.call)()
        self.host.stop_service(signal.SIGKILL)
        self.host.node.path(PLUGIN_SOCKET).unlink(missing_ok=True)
        self.host.serve()
        found = [] if done.code in (0, _KILLED.code) else [f"{done}"]
        if again and done.code:
            repeated = getattr(self.caller, scenario.call)()
            found += [f"the same call again: {repeated}"] if repeated.code else []
        try:
            self.caller.clear_docker()
        except AssertionError as error:
            found.append(f"{error}")
        found += self._difference()
        return f"{point}: {'; '.join(found)}" if found else ""

    def state(self) -> list[str]:
        out = self.host.node.run("sh", "-c", STATE).out
        return sorted(line for line in out.splitlines() if not UNTOLD.search(line))

    @contextmanager
    def _traced(self, *options: str) -> Iterator[None]:
        """The process that answers Docker under strace, which counts the calls of each of its threads from here on."""
        [docker] = [pid for pid in family_of(self.host.service_pid)[1:] if self._answers(pid)]
        argv = ["strace", "-f", "-qqq", *options, *(() if "-o" in options else ("-o", "/dev/null")), "-p", str(docker)]
        tracer = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        try:
            until(lambda: is_traced(docker), "strace has attached")
            yield
        finally:
            end(tracer)

    def _answers(self, pid: int) -> bool:
        """Whether the process has Docker's socket. The supervisor has it, too, and is no child."""
        rows = Path(f"/proc/{pid}/net/unix").read_text(encoding="ascii").splitlines()
        inodes = {f"socket:[{row.split()[6]}]" for row in rows if row.endswith(PLUGIN_SOCKET)}
        links = (link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir())
        return any(str(link) in inodes for link in links)

    def _difference(self) -> list[str]:
        try:
            until(lambda: self.state() == self.empty, "as before", 5)
        except AssertionError:
            found = self.state()
            return [f"more: {set(found) - set(self.empty)}, missing: {set(self.empty) - set(found)}"]
        return []

    def _steps(self, steps: tuple[str, ...]) -> None:
        for step in steps:
            good(getattr(self.caller, step)())

    def _clear(self, steps: tuple[str, ...]) -> None:
        self._steps(steps)
        self.caller.clear_docker()
