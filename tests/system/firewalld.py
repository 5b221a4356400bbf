"""A real firewalld in a Node, with a D-Bus of its own and no systemd.

with Firewalld(node) as firewalld:
    firewalld("--zone=public", "--list-interfaces")     `firewall-cmd …`, its output
    firewalld.reload()                                  `firewall-cmd --reload`: what is not permanent is forgotten
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.node import Node

PROGRAMS = ("dbus-daemon", "firewalld", "firewall-cmd")
BUS = "/run/dbus/system_bus_socket"
CONFIG = f"""\
<busconfig>
  <type>system</type>
  <listen>unix:path={BUS}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""


def missing() -> str:
    """Why no firewalld can run here; "" if one can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"needs {', '.join(absent)}" if absent else ""


class Firewalld:
    """Stopped at first. It forgets at `start` and `reload` what was not made permanent."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._log = node.path("/run/firewalld.log")
        self._process: subprocess.Popen[bytes] | None = None
        node.path(BUS).parent.mkdir(parents=True)
        node.write("/run/bus.conf", CONFIG)
        command = node.command("dbus-daemon", "--config-file=/run/bus.conf", "--nofork")
        self._bus = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self, limit: float = 60) -> None:
        with self._log.open("ab") as log:
            command = self.node.command("firewalld", "--nofork", "--nopid", "--log-target", "console")
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + limit
        while self.node.run("firewall-cmd", "--state").code != 0:
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError(f"firewalld did not come up in {limit:.0f} s\n{self.log()[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """In peace: its rules go with it."""
        if self._process is not None and self._process.poll() is None:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="ascii")
            self.node.kill(int(children.split()[0]), 15)
            self._process.wait(60)

    def reload(self) -> None:
        self("--reload")

    def __call__(self, *argv: str) -> str:
        """`firewall-cmd argv…`: its output, trimmed; AssertionError with what it said if it fails."""
        return self.node.run("firewall-cmd", *argv).ok().out.strip()

    def interfaces(self, zone: str) -> set[str]:
        return set(self(f"--zone={zone}", "--list-interfaces").split())

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        self.stop()
        self._bus.kill()
        self._bus.wait()
