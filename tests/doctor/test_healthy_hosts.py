"""No finding on a healthy host: beside containerd, dockerd, podman's configuration, and in a cluster."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.overlay.lab import WEB, Lab
from tests.program import ROOT
from tests.system.docker_host import OURS, docker_host
from tests.system.fixtures import bundle, containerd, node
from tests.system.node import PLUGIN, Node

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["bundle", "containerd", "node"]
pytestmark = pytest.mark.long


def findings(node: Node, *arguments: str, program: str = str(PLUGIN)) -> list[str]:
    done = node.run(program, "doctor", "--json", *arguments)
    print(done.out)
    assert done.code in (0, 3), done.err
    return [one["what"] for one in json.loads(done.out)["findings"]]


@pytest.mark.parametrize("example", ["podnet", "reference-bridge", "dual-stack", "ptp"])
def test_beside_containerd(containerd: Any, example: str) -> None:
    """Before, with and after pods."""
    text = (ROOT / "conf" / "cni-1.0.0" / f"{example}.conflist").read_text(encoding="utf-8")
    containerd.node.write(f"/etc/cni/net.d/10-{example}.conflist", text)
    containerd.node.run("mkdir", "-p", "/opt/cni/bin").ok()
    containerd.node.run("ln", "-s", str(PLUGIN), "/opt/cni/bin/cni-cnm").ok()
    containerd.wait_ready()
    assert findings(containerd.node) == []
    pods = [containerd.cri.run_pod(name) for name in ("one", "two")]
    assert findings(containerd.node) == []
    for pod in pods:
        containerd.cri.stop(pod.id)
        containerd.cri.remove(pod.id)
    assert findings(containerd.node) == []


def test_beside_dockerd(tmp_path: Path) -> None:
    """With containers on Docker's own bridge and on networks of ours, one of them with a published port."""
    with docker_host(tmp_path) as host:
        program = str(host.program)
        assert findings(host.node, program=program) == []
        host.dockerd("network", "create", *OURS, "mynet")
        host.dockerd.start("one", "--net=mynet", "-p", "8080:80")
        host.dockerd.start("two", "--net=mynet")
        host.dockerd.start("other")
        assert findings(host.node, program=program) == []


def test_beside_podman(node: Node, bundle: Path) -> None:
    """podman's own configuration comes first by name, and its plugins are installed."""
    source = "/etc/cni/net.d/87-podman-bridge.conflist"
    if shutil.which("podman") is None:
        pytest.skip("needs podman")
    plugins: list[dict[str, Any]] = [{"type": kind} for kind in ("bridge", "portmap", "firewall", "tuning")]
    plugins[0] |= {"bridge": "cni-podman0", "isGateway": True, "ipMasq": True, "hairpinMode": True, "ipam": {
        "type": "host-local", "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": "10.88.0.0/16"}]]}}  # fmt: skip
    plugins[1] |= {"capabilities": {"portMappings": True}}
    node.write(source, json.dumps({"cniVersion": "0.4.0", "name": "podman", "plugins": plugins}))
    node.write(
        "/etc/cni/net.d/90-ours.conflist",
        (ROOT / "conf" / "cni-1.0.0" / "podnet.conflist").read_text(encoding="utf-8"),
    )
    node.run("mkdir", "-p", "/opt/cni/bin").ok()
    node.run("ln", "-s", str(PLUGIN), "/opt/cni/bin/cni-cnm").ok()
    for name in ("one", "two"):
        config = {"cniVersion": "1.0.0", "name": "podnet", "type": "cni-cnm"}
        environ = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": name, "CNI_NETNS": node.add_netns(name),
                   "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin"}  # fmt: skip
        node.run(str(PLUGIN), stdin=json.dumps(config), env=environ).ok()
    assert findings(node) == []


def test_in_a_cluster() -> None:
    """Two hosts with pods of an overlay network, also with packets to the other host."""
    if shutil.which("etcd") is None:
        pytest.skip("needs etcd")
    with Lab() as lab:
        lab.etcd.start()
        hosts = [lab.host("node1"), lab.host("node2")]
        hosts[0].create(WEB)
        for host in hosts:
            host.pod("web")
            host.pod("web")
            host.wait_ready("web")
        for host in hosts:
            assert findings(host.node, "--reach", program=str(host.side.executable)) == []
