"""A host and a LAN with IPv6 only: pods with IPv6 addresses, in both profiles, over every path.

docs/firewall.md has the table of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.program import program
from tests.side import Side
from tests.system.daemon import Daemon
from tests.system.node import Done
from tests.system.test_ports import ASK, SERVE
from tests.waiting import until

HOST, OUTSIDE = "2001:db8::1", "2001:db8::2"
Conf = dict[str, Any]


def net(name: str, number: int, host_port: int = 0, **keys: Any) -> Conf:
    conf: Conf = {
        "cniVersion": "1.1.0",
        "name": name,
        "ipam": {"ranges": [[{"subnet": f"fd00:{number}::/64"}]]},
        **keys,
    }
    if host_port:
        mapping = {"hostPort": host_port, "containerPort": 80, "protocol": "tcp"}
        conf |= {"capabilities": {"portMappings": True}, "runtimeConfig": {"portMappings": [mapping]}}
    return conf


def _is_empty(show: Callable[[], Done]) -> bool:
    return not show().ok().out


class Lan:
    """The host, another host `outside`, and c1 with a published port, c2 on its network, c3 on another one."""

    def __init__(self, side: Side) -> None:
        self.side, self.node = side, side.node
        self.outside = self.node.add_netns("outside")
        self.node.run("ip", "link", "add", "wan0", "up", "type", "veth", "peer", "eth0", "netns", "outside").ok()
        self.node.run("ip", "address", "add", f"{HOST}/64", "dev", "wan0", "nodad").ok()
        self.node.run("ip", "address", "add", f"{OUTSIDE}/64", "dev", "eth0", "nodad", netns=self.outside).ok()
        self.node.run("ip", "link", "set", "eth0", "up", netns=self.outside).ok()
        self.node.run("ip", "-6", "route", "add", "default", "via", HOST, netns=self.outside).ok()
        for link, netns in (("wan0", ""), ("eth0", self.outside)):  # link-local addresses are tentative for a second
            show = partial(self.node.run, "ip", "address", "show", link, "tentative", netns=netns)
            until(partial(_is_empty, show), f"{link} has its addresses")
        self.addresses: dict[str, str] = {}
        self._servers: list[Daemon] = []

    def close(self) -> None:
        self.side.close()
        for server in self._servers:
            server.stop()

    def add(self, container: str, conf: Conf) -> Any:
        result = self.side.add(conf, container).ok().json
        self.addresses[container] = result["ips"][0]["address"].partition("/")[0]
        self.serve(f"/run/netns/{container}")
        return result

    def serve(self, netns: str) -> None:
        log = f"/run/{netns.rpartition('/')[2]}.log"
        served = Daemon(self.node, "nsenter", f"--net={netns}", "python3", "-c", SERVE, "tcp", "80", log=log)
        self._servers.append(served)
        served.wait(lambda: "up" in served.log())

    def ask(self, source: str, address: str, port: int = 80) -> str:
        """Which address the answering side saw; "" if there was no answer."""
        netns = "" if source == "host" else f"/run/netns/{source}"
        out = self.node.run("python3", "-c", ASK, "tcp", address, str(port), netns=netns).out.strip()
        return "" if out.startswith("no ") else out


@pytest.fixture
def lan(require_root: None, tmp_path: Path) -> Iterator[Lan]:
    side = Side(program(tmp_path), "cni-cnm")
    for container in ("c1", "c2", "c3"):
        side.container(container)
    made = Lan(side)
    yield made
    made.close()


@pytest.mark.parametrize("driver", ["bridge", "ptp"])
def test_pods_of_an_own_network(lan: Lan, driver: str) -> None:
    """Outside and neighbours are reached. Other networks and other hosts reach published ports only."""
    web = net("web", 60, 8080, driver=driver)
    first = lan.add("c1", web)
    lan.add("c2", net("web", 60, driver=driver))
    lan.add("c3", net("other", 61, driver=driver))
    lan.serve(lan.outside)
    one, two = lan.addresses["c1"], lan.addresses["c2"]
    assert lan.ask("c1", OUTSIDE) == HOST, "masqueraded"
    assert lan.ask("c2", one) == two
    assert lan.ask("host", one)
    assert lan.ask("c3", one) == ""
    assert lan.ask("outside", one) == ""
    assert lan.ask("outside", HOST, 8080) == OUTSIDE
    assert lan.ask("c3", HOST, 8080)
    assert lan.ask("host", HOST, 8080)
    lan.side.check(web, first, "c1").ok()
    for name, conf in (("c1", web), ("c2", net("web", 60, driver=driver)), ("c3", net("other", 61, driver=driver))):
        lan.side.delete(conf, name).ok()
    assert lan.ask("outside", HOST, 8080) == ""


def test_pods_of_the_reference_profile(lan: Lan) -> None:
    """The keys of the reference, with one IPv6 range set."""
    keys = {"bridge": "cni0", "isDefaultGateway": True, "ipMasq": True}
    lan.add("c1", {**net("web", 60, 8080, **keys), "ipam": {"type": "host-local", "subnet": "fd00:60::/64"}})
    lan.serve(lan.outside)
    assert lan.ask("c1", OUTSIDE) == HOST
    assert lan.ask("outside", HOST, 8080) == OUTSIDE
    assert lan.ask("outside", lan.addresses["c1"]) == OUTSIDE


def test_a_network_without_a_subnet(lan: Lan) -> None:
    """The pools give IPv4 in any case: an IPv6 subnet has to be named."""
    result = lan.side.add({"cniVersion": "1.1.0", "name": "chosen"}, "c1").ok().json
    assert [":" in ip["address"] for ip in result["ips"]] == [False]
