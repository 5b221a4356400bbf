"""The recording plugin as a test sees it: started in a node, its requests read, its answers scripted."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.system.daemon import Daemon
from tests.system.node import Node

PROGRAM = Path(__file__).with_name("recording_plugin.py")


class Request(NamedTuple):
    call: str
    """Without the subsystem where that is NetworkDriver."""
    body: Any
    headers: dict[str, str]


class Recorder:
    def __init__(self, node: Node, name: str = "rec", address: str = "", pem: str = "") -> None:
        self.node = node
        self.name = name
        self.folder = f"/run/recorder-{name}"
        self.address = address or f"/run/docker/plugins/{name}.sock"
        self._pem = [pem] if pem else []
        self._daemon: Daemon | None = None
        node.path(self.folder).mkdir()
        self.start()

    def start(self) -> None:
        """Also again, after it died: without memory, unless it keeps one."""
        self.stop()
        log = f"{self.folder}/log"
        self.node.path(log).unlink(missing_ok=True)
        argv = (sys.executable, "-IS", str(PROGRAM), self.folder, self.address, *self._pem)
        daemon = self._daemon = Daemon(self.node, *argv, log=log)
        daemon.wait(lambda: "ready" in daemon.log())

    def stop(self) -> None:
        """As a kill does: the socket stays."""
        if self._daemon is not None:
            self._daemon.stop(signal.SIGKILL)
            self._daemon = None

    def script(self, **calls: Any) -> None:
        """What calls of NetworkDriver do from now on; `Ipam_…` for those of IpamDriver, `keep` for a memory."""
        names = {
            name if name == "keep" else f"IpamDriver.{name[5:]}" if name[:5] == "Ipam_" else f"NetworkDriver.{name}": v
            for name, v in calls.items()
        }
        target = self.node.path(f"{self.folder}/script.json")
        partial = target.with_suffix(".new")
        partial.write_text(json.dumps(names))
        partial.rename(target)

    def requests(self, *, handshakes: bool = False) -> list[Request]:
        """All since the last `forget`, in order."""
        file = self.node.path(f"{self.folder}/requests")
        lines = file.read_text().splitlines() if file.exists() else []
        found = [Request(*json.loads(line)) for line in lines]
        named = [one._replace(call=one.call.removeprefix("NetworkDriver.")) for one in found]
        return [one for one in named if handshakes or one.call != "Plugin.Activate"]

    def calls(self) -> list[str]:
        return [request.call for request in self.requests()]

    def body(self, call: str) -> Any:
        """Of the only request of that call."""
        (found,) = [request.body for request in self.requests() if request.call == call]
        return found

    def forget(self) -> None:
        self.node.path(f"{self.folder}/requests").unlink(missing_ok=True)

    def memory(self) -> Any:
        """Networks, endpoints and pools that a plugin with a memory knows."""
        return json.loads(self.node.path(f"{self.folder}/memory.json").read_text())
