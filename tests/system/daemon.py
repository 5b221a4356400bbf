"""A program that keeps running in a Node.

daemon = Daemon(node, "dockerd", "--debug", log="/run/dockerd.log")
daemon.wait(lambda: answers())      until it is ready; its log is shown if it never is
daemon.pid                          of the program itself, as seen from outside
daemon.stop()                       SIGTERM, and wait for its end
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.system.node import Node
from tests.waiting import until


class Daemon:
    def __init__(self, node: Node, *argv: str, log: str = "", env: Mapping[str, str] | None = None) -> None:
        """Start `argv` in the node. `log` is a file of the node to which its output is appended; none: thrown away."""
        self.argv = argv
        self._log = node.path(log or "/dev/null")
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                node.command(*argv),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=None if env is None else {**os.environ, **env},
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """The program's, as seen from outside: the process started here is nsenter, whose child it is. 0: ended."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="ascii")
        return int(children.split()[0]) if children.split() else 0

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, ready: Callable[[], object], limit: float = 60) -> None:
        """Until `ready` is true. AssertionError if it is not in time, or if the program ends before."""

        def ready_or_ended() -> bool:
            assert self.running, f"{self.argv[0]} ended with {self._process.returncode}\n{self.log()[-3000:]}"
            return bool(ready())

        until(ready_or_ended, f"{self.argv[0]} is ready", limit, lambda: self.log()[-3000:])

    def stop(self, sig: int = signal.SIGTERM, limit: float = 60) -> int:
        """Send it a signal that ends it, and wait: its exit status. No error if it has ended."""
        if self.running and (pid := self.pid):
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(pid, sig)
        return self._process.wait(timeout=limit)

    def freeze(self, seconds: float) -> None:
        """It stands still for so long. nsenter stops with its child, and wakes it."""
        os.kill(self.pid, signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.is_file() else ""
