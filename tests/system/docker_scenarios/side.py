"""A machine with dockerd and our service, and the driver whose networks are looked at.

    side.network("red", "--internal")                    `docker network create`, with the driver
    side.web("web", "--net=red", "-p", "8080:80")        a web server on ports 80 and 81
    side.asks("192.0.2.1", 8080, OUTSIDE)                whether one answers

OUTSIDE is a host behind the link up0, which knows the way to every network.
"""

from __future__ import annotations

import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

from tests.system.crossroads import OUTSIDE, together
from tests.waiting import until

if TYPE_CHECKING:
    from tests.system.docker_host import DockerHost
    from tests.system.docker_scenarios import Seen, Ways
    from tests.system.node import Done

HOST4, HOST6 = "192.0.2.1", "2001:db8:9::1"
OUT4, OUT6 = "192.0.2.9", "2001:db8:9::9"
BOTH = ("--ipv6", "--subnet", "172.30.1.0/24", "--subnet", "fd00:1::/64")
OTHER = ("--ipv6", "--subnet", "172.30.2.0/24", "--subnet", "fd00:2::/64")
_SERVERS = "busybox httpd -p 81; exec busybox httpd -f -p 80"


def uplink(host: DockerHost) -> None:
    """The link up0 and the host behind it."""
    node = host.node
    node.add_netns("outside")
    node.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "outside").ok()
    for netns, link, addresses in (("", "up0", (HOST4, HOST6)), (OUTSIDE, "eth0", (OUT4, OUT6))):
        for address, length in zip(addresses, (24, 64), strict=True):
            extra = ("nodad",) if length == 64 else ()
            node.run("ip", "address", "add", f"{address}/{length}", "dev", link, *extra, netns=netns).ok()
        node.run("ip", "link", "set", link, "up", netns=netns).ok()
    for gateway in (HOST4, HOST6):
        node.run("ip", "route", "add", "default", "via", gateway, netns=OUTSIDE).ok()
    for family in ("iptables", "ip6tables"):
        node.run("sh", "-c", f"echo 1 >/proc/sys/net/bridge/bridge-nf-call-{family}")


def label(key: str, value: str) -> tuple[str, str]:
    """`-o` with one of Docker's options."""
    return ("-o", f"com.docker.network.{key}={value}")


def modes(mode: str) -> tuple[str, ...]:
    """A gateway mode for both IP versions."""
    return tuple(text for v in (4, 6) for text in label(f"bridge.gateway_mode_ipv{v}", mode))


class Side:
    """`driver`: options of `docker network create`."""

    def __init__(self, host: DockerHost, driver: tuple[str, ...]) -> None:
        self.host, self.driver = host, driver
        self.docker, self.node = host.dockerd, host.node

    def network(self, name: str, *options: str) -> None:
        self.docker("network", "create", *self.driver, *options, name)

    def web(self, name: str, *options: str) -> None:
        self.docker.start(name, *options, command=("sh", "-c", _SERVERS))
        until(partial(self.container_asks, name, "127.0.0.1", 80), "the server answers")

    def starts(self, *options: str) -> bool:
        """Whether a container starts with these options. It is removed."""
        return self.docker.try_("run", "--rm", *options, "box", "true").code == 0

    def clear(self) -> None:
        """Remove all containers and networks."""
        containers = self.docker("ps", "-aq").split()
        if containers:
            self.docker.remove(*containers)
        networks = self.docker("network", "ls", "-q", "--filter", "type=custom").split()
        if networks:
            self.docker("network", "rm", *networks)

    # addresses -------------------------------------------------------------------

    def address(self, container: str, network: str, family: int = 4) -> str:
        return self.docker.address(container, network, family=family)

    def inside(self, container: str, *argv: str) -> Done:
        """A command of the machine in the container's network namespace."""
        return self.node.run(*argv, netns=self.docker.netns(container))

    def addresses(self, container: str, link: str = "eth0") -> set[str]:
        """Of a container's interface, without those that the kernel made."""
        found = self.node.addresses(link, netns=self.docker.netns(container))
        return {one for one in found if not one.startswith("fe80")}

    # what is reached ----------------------------------------------------------------

    def asks(self, address: str, port: int, netns: str = "") -> bool:
        """Whether a web server answers, even if only that it has no such page."""
        shown = f"[{address}]" if ":" in address else address
        command = f"exec timeout 1.5 busybox wget -q -O- http://{shown}:{port}/ 2>&1"
        done = self.node.run("sh", "-c", command, netns=netns)
        return done.code == 0 or "404" in done.out

    def container_asks(self, container: str, address: str, port: int) -> bool:
        return self.asks(address, port, self.docker.netns(container))

    def pings(self, container: str, address: str) -> bool:
        return self.node.ping(address, netns=self.docker.netns(container), wait=1)

    def outside_pings(self, address: str) -> bool:
        return self.node.ping(address, netns=OUTSIDE, wait=1)

    def names(self, container: str, name: str, family: int = 4) -> bool:
        """Whether a container reaches another one by its name."""
        return self.docker.execute(container, "ping", f"-{family}", "-c1", "-W2", name).code == 0

    def see(self, ways: Ways, seconds: float = 1) -> Seen:
        """Look at all at once. What is not seen is looked at again for some seconds, and at least once.

        A server that has just started needs a moment, and an address that the kernel has made a second.
        """
        calls = {what: partial(way[0], *way[1:]) for what, way in ways.items()}
        end, again = time.monotonic() + seconds, True
        found = together(calls)
        while not all(found.values()) and (again or time.monotonic() < end):
            again = False
            found.update(together({what: calls[what] for what, reached in found.items() if not reached}))
        return dict(found)

    def datagram(self, port: int, address: str, sender_netns: str, receiver: str) -> bool:
        """Whether a datagram to this address arrives in a container, at the same port."""
        listener = "import socket as s,sys;u=s.socket(s.AF_INET6 if ':' in sys.argv[2] else 2,2);u.bind(('',int(sys.argv[1])));u.settimeout(2);print('ready',flush=True);u.recvfrom(9)"  # noqa: E501
        argv = self.node.command("python3", "-Ic", listener, str(port), address, netns=self.docker.netns(receiver))
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as receiving:
            assert receiving.stdout is not None
            assert receiving.stdout.readline() == b"ready\n"
            sender = "import socket as s,sys;s.socket(s.AF_INET6 if ':' in sys.argv[2] else 2,2).sendto(b'x',(sys.argv[2],int(sys.argv[1])))"  # noqa: E501
            self.node.run("python3", "-Ic", sender, str(port), address, netns=sender_netns)
            return receiving.wait(timeout=20) == 0

    def source(self, container: str) -> str:
        """The address with which a container's packets arrive outside."""
        listener = "import socket as s;u=s.socket(2,2);u.bind(('',9));u.settimeout(3);print('ready',flush=True);print(u.recvfrom(9)[1][0])"  # noqa: E501
        argv = self.node.command("python3", "-Ic", listener, netns=OUTSIDE)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as receiving:
            assert receiving.stdout is not None
            assert receiving.stdout.readline() == "ready\n"
            sender = f"import socket as s;s.socket(2,2).sendto(b'x',('{OUT4}',9))"
            self.inside(container, "python3", "-Ic", sender)
            return receiving.communicate(timeout=20)[0].strip()
