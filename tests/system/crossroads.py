"""A machine at a crossroads, for tests of what other firewalls let through: pods, a neighbour outside, and their ways.

red      publishes port 8080, on podnet         blue    its neighbour
far      on another network                     OUTSIDE a host behind up0, which knows the way to every pod
"""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.system.docker_host import PluginHost
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OUTSIDE = "/run/netns/outside"
POD: dict[str, Any] = {"ipam": {"type": "host-local", "subnet": "10.88.0.0/24"}}
FAR: dict[str, Any] = {"ipam": {"type": "host-local", "subnet": "10.89.0.0/24"}}
MAPPED = {"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}}
PODS = {
    "neighbour": True,
    "out": True,
    "published, from outside": True,
    "published, from the host": True,
    "published, from the neighbour": True,
    "published, from another network": True,
    "another network": False,
    "unasked, from outside": False,
}
"""What is reached where another firewall lets nothing through unasked."""


class Crossroads:
    """`more` are keys of both networks' configuration."""

    def __init__(self, folder: Path, *, forwarding: bool = True, **more: Any) -> None:
        self.host = PluginHost(folder, forwarding=forwarding)
        self.node = self.host.node
        self._more = more
        self._servers: list[subprocess.Popen[bytes]] = []
        for family in ("iptables", "ip6tables"):
            self.node.run("sh", "-c", f"echo 1 >/proc/sys/net/bridge/bridge-nf-call-{family}")
        self.node.add_netns("outside")
        self.node.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "outside").ok()
        for netns, link, address in (("", "up0", "192.0.2.1/24"), (OUTSIDE, "eth0", "192.0.2.9/24")):
            self.node.run("ip", "address", "add", address, "dev", link, netns=netns).ok()
            self.node.run("ip", "link", "set", link, "up", netns=netns).ok()
        self.node.run("ip", "route", "add", "default", "via", "192.0.2.1", netns=OUTSIDE).ok()

    def close(self) -> None:
        self._stop_servers()
        self.host.close()

    def pods(self) -> None:
        self.red = self.host.add("podnet", "red", **POD, **MAPPED, **self._more)
        self.blue = self.host.add("podnet", "blue", **POD, **self._more)
        self.far = self.host.add("farnet", "far", **FAR, **self._more)
        for name in ("red", "blue", "far"):
            command = ("nsenter", f"--net=/run/netns/{name}", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc/cni")
            self._servers.append(self.host.popen(*command))

    def remove_pods(self) -> None:
        """And their networks."""
        self._stop_servers()
        for name, network, conf in (("red", "podnet", POD), ("blue", "podnet", POD), ("far", "farnet", FAR)):
            self.host.delete(network, name, **conf)
        for network in ("podnet", "farnet"):
            self.node.run(str(self.host.program), "network", "rm", network).ok()

    def _stop_servers(self) -> None:
        while self._servers:
            server = self._servers.pop()
            server.kill()
            server.wait()

    # what is reached ------------------------------------------------------------

    def ping(self, source: str, address: str) -> bool:
        return self.node.ping(address, netns=f"/run/netns/{source}", wait=1)

    def answers(self, address: str, port: int, netns: str = "") -> None:
        """Wait for a web server's answer: one that was just started needs a moment."""
        until(lambda: self.asks(address, port, netns), f"{address}:{port} answers")

    def asks(self, address: str, port: int, netns: str = "") -> bool:
        """Whether a web server answers, even if only that it has no such page."""
        shell = f"exec timeout 1 busybox wget -q -O- http://{address}:{port}/ 2>&1"
        done = self.node.run("sh", "-c", shell, netns=netns)
        return done.code == 0 or "404" in done.out

    def of_pods(self) -> dict[str, bool]:
        return together(
            {
                "neighbour": lambda: self.ping("blue", self.red),
                "out": lambda: self.ping("red", "192.0.2.9"),
                "published, from outside": lambda: self.asks("192.0.2.1", 8080, OUTSIDE),
                "published, from the host": lambda: self.asks("127.0.0.1", 8080),
                "published, from the neighbour": lambda: self.asks("192.0.2.1", 8080, "/run/netns/blue"),
                "published, from another network": lambda: self.asks("192.0.2.1", 8080, "/run/netns/far"),
                "another network": lambda: self.ping("far", self.red),
                "unasked, from outside": lambda: self.asks(self.blue, 80, OUTSIDE),
            }
        )


def together(ways: Mapping[str, Callable[[], bool]]) -> dict[str, bool]:
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(ways, pool.map(lambda way: way(), ways.values()), strict=True))


def becomes(view: Callable[[], dict[str, bool]], wanted: Mapping[str, bool], limit: float = 30) -> None:
    """The service needs a moment to see what others changed."""
    end = time.monotonic() + limit
    while (seen := view()) != wanted and time.monotonic() < end:
        time.sleep(0.1)
    assert seen == wanted
