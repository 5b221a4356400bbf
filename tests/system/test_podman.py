"""podman 4.3 with its CNI backend: the life of containers, over its own generated lists and over ours.

The program is installed as docs/podman.md says. podman's generated lists name bridge, host-local, portmap, firewall and
tuning, and stay as they are.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.program import ROOT, form
from tests.system.node import Node
from tests.system.podman import IMAGE, Podman, missing
from tests.system.test_ports import ASK, SERVE
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUBNETS = {"web": "10.81.0.0/24", "back": "10.82.0.0/24"}
STATIC = "ip=10.81.0.77,mac=02:00:00:00:00:77,interface_name=eth0"
KINDS = ("generated", "own")


class Host:
    """A node with the program and podman. `state`: a folder for what outlives it."""

    def __init__(self, state: Path) -> None:
        self.node = Node()
        for number, folder in enumerate(("/var/lib/cni", "/var/lib/cni-cnm", "/etc/cni/net.d")):
            kept = state / str(number)
            kept.mkdir(parents=True, exist_ok=True)
            self.node.run("mkdir", "-p", folder).ok()
            self.node.run("mount", "--bind", str(kept), folder).ok()
        self.node.run(str(ROOT / "scripts/install"), "--drop-in").ok()
        self.node.write("/etc/cni-cnm/config.toml", 'log = "/run/log"\n')
        self.podman = Podman(self.node, "/opt/cni/drop-in", storage=str(state / "graph"))

    def close(self) -> None:
        self.podman.close()
        self.node.close()

    def create(self, kind: str) -> None:
        for name, subnet in SUBNETS.items():
            if kind == "generated":
                self.podman("network", "create", "--subnet", subnet, name)
            else:
                self.node.write(f"/etc/cni/net.d/{name}.conflist", conflist(name, subnet))

    def serve(self, netns: str, kind: str, number: int) -> None:
        command = self.node.command(sys.executable, "-Ic", SERVE, kind, str(number), netns=netns)
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.stdout.close()
        process.returncode = 0  # it ends with the node's init

    def ask(self, kind: str, address: str, number: int, netns: str = "") -> str:
        return self.node.run(sys.executable, "-Ic", ASK, kind, address, str(number), netns=netns).out.strip()

    def endpoints(self) -> set[tuple[str, str]]:
        """Network and interface of each."""
        shown = self.node.run("cni-cnm", "endpoint", "ls", "--json").ok().out
        return {(one["network"], one["ifname"]) for one in json.loads(shown)}

    def published(self) -> str:
        return self.node.run("cni-cnm", "port", "ls", "-q").ok().out.strip()


def conflist(name: str, subnet: str) -> str:
    capabilities = {"portMappings": True, "ips": True, "mac": True, "aliases": True}
    plugin = {"type": "cni-cnm", "capabilities": capabilities, "ipam": {"subnet": subnet}}
    return json.dumps({"cniVersion": "0.4.0", "name": name, "plugins": [plugin]})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def host(bundle: Path, require_root: None, state: Path) -> Iterator[Host]:
    if form() == "service":
        pytest.skip("once without a service is enough")
    if why := missing():
        pytest.skip(why)
    made = Host(state)
    yield made
    made.close()


@pytest.mark.quick("own")
@pytest.mark.parametrize("kind", KINDS)
def test_the_life_of_containers(host: Host, kind: str) -> None:
    podman = host.podman
    host.create(kind)
    files = {name: host.node.path(f"/etc/cni/net.d/{name}.conflist").read_text() for name in SUBNETS}
    ports = ("-p", "8080:80", "-p", "5353:53/udp", "-p", "9000-9002:9000-9002")
    podman.run("one", "--network", "web", *ports)
    assert "listens" not in host.node.path("/run/log").read_text()  # podman itself does, to hold the ports
    podman.run("two", "--network", f"web:{STATIC}", "--network", "back:interface_name=eth1")
    assert podman.addresses("two")["web"] == "10.81.0.77"
    assert "02:00:00:00:00:77" in podman("exec", "two", "ip", "link", "show", "eth0")
    one = podman.netns("one")
    for protocol, inside in (("tcp", 80), ("udp", 53), ("tcp", 9002)):
        host.serve(one, protocol, inside)
    address = podman.addresses("one")["web"]
    assert host.ask("tcp", "10.81.0.1", 8080, podman.netns("two")) != ""
    assert host.ask("tcp", address, 80, podman.netns("two")) == "10.81.0.77"
    for protocol, published in (("tcp", 8080), ("udp", 5353), ("tcp", 9002)):
        assert not host.ask(protocol, "10.81.0.1", published).startswith("no")
    assert host.ask("tcp", "10.81.0.1", 9001).startswith("no")
    assert host.endpoints() == {("web", "eth0"), ("back", "eth1")}
    # connect, disconnect
    podman("network", "connect", "back", "one")
    assert podman.addresses("one")["back"].startswith("10.82.0.")
    podman("network", "disconnect", "back", "one")
    assert "back" not in podman.addresses("one")
    # restart: the same static address, the ports again
    podman("restart", "-t", "0", "one", "two")
    assert podman.addresses("two")["web"] == "10.81.0.77"
    host.serve(podman.netns("one"), "tcp", 80)
    assert not host.ask("tcp", "10.81.0.1", 8080).startswith("no")
    # a network in use stays
    assert podman.try_("network", "rm", "web").code != 0
    podman("stop", "-t", "0", "one")  # SIGKILL
    until(lambda: host.endpoints() == {("web", "eth0"), ("back", "eth1")} and not host.published(), "one is gone")
    podman("rm", "-f", "-t", "0", "one", "two")
    assert host.endpoints() == set()
    assert {name: host.node.path(f"/etc/cni/net.d/{name}.conflist").read_text() for name in SUBNETS} == files
    podman("network", "rm", "web", "back")
    assert not any(name in podman("network", "ls", "-q").split() for name in SUBNETS)


@pytest.mark.quick("generated")
@pytest.mark.parametrize("kind", KINDS)
def test_after_a_reboot(host: Host, state: Path, kind: str) -> None:
    """Power is lost: the run state is gone, leases and podman's containers are on the disk."""
    host.create(kind)
    host.podman.run("one", "--network", "web", "-p", "8080:80")
    host.podman.run("two", "--network", "web:ip=10.81.0.77")
    host.node.close()
    for lease in (state / "0").rglob("10.*"):
        os.utime(lease, (0, 0))  # a boot takes longer than the 5 s of doubt about a lease's age (state/epoch.py)
    again = Host(state)
    try:
        again.podman("start", "one", "two")
        assert again.podman.addresses("two") == {"web": "10.81.0.77"}
        again.serve(again.podman.netns("one"), "tcp", 80)
        assert not again.ask("tcp", "10.81.0.1", 8080).startswith("no")
        assert again.endpoints() == {("web", "eth0")}
    finally:
        again.close()


def test_installed_by_the_page(host: Host) -> None:
    """The commands of docs/podman.md for CNI as they stand (install, printf, podman), on a host without the program."""
    page = (ROOT / "docs/podman.md").read_text(encoding="utf-8")
    (commands,) = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "--drop-in" in block]
    host.node.run("rm", "-r", "/opt/cni", "/etc/containers/containers.conf").ok()
    script = f"set -e\ncd {ROOT}\n{commands.replace('IMAGE', IMAGE)}"
    shown = host.node.run("sh", "-c", script).ok().out
    assert re.search(r"^\S+ +web +shop +eth0 +\S+ +8080->80/tcp +cni/podman +ready$", shown, re.MULTILINE), shown
