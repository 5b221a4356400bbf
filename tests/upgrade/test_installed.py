"""Real builds of earlier commits are replaced by this one, and come back, under live pods of a real containerd.

`scripts/reference earlier` builds them. Meanwhile TCP connections to pods stay open, and requests come without a
pause.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.program import ROOT
from tests.system import packages
from tests.system.containerd import Containerd
from tests.system.cri import Pod
from tests.system.daemon import Daemon
from tests.system.node import COPIED, Done, Node
from tests.system.open_connection import OpenConnection
from tests.system.test_containerd import configure
from tests.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

COMMITS = ("614c984", "28c1647", "82e618f")
"""0.1.0, and two of the time after it."""
BIN = "/opt/cni/bin"
SOCKET = "/run/cni-cnm/service.sock"
SIDE: dict[str, Any] = {
    "cniVersion": "1.0.0", "name": "side", "type": "cni-cnm", "bridge": "br-side", "isGateway": True, "ipMasq": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.66.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
    "portmap": {}, "firewall": {"ingressPolicy": "same-bridge"}, "bandwidth": {},
}  # fmt: skip
RUNTIME = {
    "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
    "bandwidth": {"ingressRate": 10**8, "ingressBurst": 10**7, "egressRate": 10**8, "egressBurst": 10**7},
}


def earlier(commit: str) -> Path:
    """Its checkout, built."""
    command = [str(ROOT / "scripts/reference"), "--built", "earlier"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip())
    return Path(done.stdout.strip()) / commit


class Machine:
    """A node whose program is installed, with a service, pods by containerd, one by hand, and calls without a pause."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.refused: list[str] = []
        self.calls = 0
        self._service: Daemon | None = None
        self._end = Event()
        self._thread = Thread(target=self._call_on, daemon=True)

    def serve(self) -> None:
        """The installed program: the earlier one ends, the other one starts. Calls go on meanwhile."""
        before, self._service = self._service, None
        if before is not None:
            assert before.stop() == 0
        self._service = Daemon(self.node, "/opt/cni/lib/cni-cnm/current/cni-cnm", "serve", log="/run/service.log")
        self._service.wait(self.node.path(SOCKET).exists)

    def live(self) -> None:
        """From now on pods live here."""
        for container in ("hand", "busy"):  # first: ip mounts /run/netns, which would hide pods' namespaces there
            self.node.add_netns(container)
        self.containerd = Containerd(self.node, bin_dir=Path(BIN))
        configure(self.containerd)
        self.pods = [self.containerd.cri.run_pod(f"pod-{number}") for number in range(2)]
        self.result = json.loads(self.call("ADD", "hand", runtimeConfig=RUNTIME).ok().out)
        first, second = self.pods
        self.connections = [
            OpenConnection(self.node, first.netns, first.addresses[0], client=second.netns),
            OpenConnection(self.node, "/run/netns/hand", self.result["ips"][0]["address"].split("/")[0], port=7778),
        ]
        self._thread.start()

    def call(self, verb: str, container: str, **keys: Any) -> Done:
        environ = {"CNI_COMMAND": verb, "CNI_CONTAINERID": container, "CNI_NETNS": f"/run/netns/{container}",
                   "CNI_IFNAME": "eth0", "CNI_PATH": BIN, "CNI_CNM_OWNER": "cni/test"}  # fmt: skip
        return self.node.run(f"{BIN}/cni-cnm", stdin=json.dumps({**SIDE, **keys}), env=environ)

    def _call_on(self) -> None:
        while not self._end.is_set():
            for verb in ("ADD", "DEL"):
                done = self.call(verb, "busy")
                self.calls += 1
                if done.code:
                    self.refused.append(f"{verb}: {done.out} {done.err}")

    def works(self) -> None:
        """Packets flow on the connections, CHECK finds nothing, pods reach each other, and new ones come and go."""
        for connection in self.connections:
            connection.lives()
        self.call("CHECK", "hand", prevResult=self.result, runtimeConfig=RUNTIME).ok()
        before = self.calls
        until(lambda: self.calls > before + 2, "calls go on")
        assert self.refused == []
        one: Pod = self.containerd.cri.run_pod("one-more")
        assert self.node.ping(self.pods[0].addresses[0], netns=one.netns)
        self._remove(one)

    def _remove(self, pod: Pod) -> None:
        self.containerd.cri.stop(pod.id)
        self.containerd.cri.remove(pod.id)

    def end(self) -> None:
        """All pods are deleted, and nothing of them is left."""
        self._end.set()
        self._thread.join(60)
        for connection in self.connections:
            connection.lives()
            connection.close()
        self.call("DEL", "hand", runtimeConfig=RUNTIME).ok()
        for pod in self.pods:
            self._remove(pod)
        assert not {name for name in self.node.links() if name.startswith("veth")}
        assert not self.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes")
        leases = [path for path in self.node.files("/var/lib/cni/networks") if path.rpartition("/")[2][:1].isdigit()]
        assert leases == []
        self.containerd.close()
        assert self._service is not None
        assert self._service.stop() == 0


@pytest.fixture
def machine(require_root: None, bundle: Path) -> Iterator[Machine]:
    node = Node(copied=(*COPIED, "/usr"))
    node.run("sh", "-c", "rm -rf /opt/cni /usr/local/bin/cni-cnm").ok()
    yield Machine(node)
    node.close()


@pytest.mark.parametrize("commit", COMMITS)
def test_install_over_an_earlier_build_and_back(machine: Machine, commit: str) -> None:
    """No drain, no lost request, no packet that does not come: there, back, and there again."""
    programs = [earlier(commit), ROOT, earlier(commit), ROOT]
    for number, root in enumerate(programs):
        machine.node.run(str(root / "scripts/install"), timeout=120).ok()
        machine.serve()
        if not number:
            machine.live()
        machine.works()
    machine.end()
    print(f"{commit}: {machine.calls} calls without a pause, none refused")


def test_a_deb_over_an_earlier_one_and_back(machine: Machine) -> None:
    """The same with packages; the earlier commit's scripts/package has made the first."""
    archives = [packages.built("deb", root=root)[0] for root in (earlier(COMMITS[-1]), ROOT)]
    for number in range(4):
        archive = archives[number % 2]
        machine.node.path(f"/run/{archive.name}").write_bytes(archive.read_bytes())
        machine.node.run("dpkg", "--no-triggers", "--install", f"/run/{archive.name}", timeout=120).ok()
        machine.serve()
        if not number:
            machine.live()
        machine.works()
    machine.end()
