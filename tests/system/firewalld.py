"""A real firewalld in a Node, with a D-Bus of its own and no systemd.

with Firewalld(node) as firewalld:
    firewalld("--zone=public", "--list-interfaces")     `firewall-cmd …`, its output
    firewalld.reload()                                  `firewall-cmd --reload`: what is not permanent is forgotten
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.system.daemon import Daemon

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
        self._daemon: Daemon | None = None
        node.path(BUS).parent.mkdir(parents=True)
        node.write("/run/bus.conf", CONFIG)
        self._bus = Daemon(node, "dbus-daemon", "--config-file=/run/bus.conf", "--nofork")

    def start(self, limit: float = 60) -> None:
        argv = ("firewalld", "--nofork", "--nopid", "--log-target", "console")
        self._daemon = Daemon(self.node, *argv, log="/run/firewalld.log")
        self._daemon.wait(lambda: self.node.run("firewall-cmd", "--state").code == 0, limit)

    def stop(self) -> None:
        """It removes its rules before it ends."""
        if self._daemon is not None:
            self._daemon.stop()

    def reload(self) -> None:
        self("--reload")

    def __call__(self, *argv: str) -> str:
        """`firewall-cmd argv…`: its output, trimmed; AssertionError with what it said if it fails."""
        return self.node.run("firewall-cmd", *argv).ok().out.strip()

    def interfaces(self, zone: str) -> set[str]:
        return set(self(f"--zone={zone}", "--list-interfaces").split())

    def log(self) -> str:
        return self._daemon.log() if self._daemon else ""

    def close(self) -> None:
        self.stop()
        self._bus.stop()
