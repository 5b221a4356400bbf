"""A real BuildKit. Its own list, whose types are fixed (`networkMode = "bridge"`), and a network of ours ("cni").

It keeps network namespaces that builds have used, for the next ones: DEL comes when buildkitd ends.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.program import ROOT
from tests.runtimes.built import built
from tests.system.daemon import Daemon
from tests.system.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.long

OURS = {
    "cniVersion": "1.0.0",
    "name": "builds",
    "plugins": [{"type": "cni-cnm", "ipam": {"ranges": [[{"subnet": "10.77.0.0/24"}]]}}],
}
DAEMON = """\
[worker.containerd]
enabled = false
[worker.oci]
binary = "{runc}"
snapshotter = "native"
networkMode = "{mode}"
cniConfigPath = "/etc/buildkit/cni.conflist"
cniBinaryPath = "/opt/cni/drop-in"
"""
FILE = """\
FROM scratch
COPY busybox /bin/sh
COPY busybox /bin/ip
COPY busybox /bin/ping
RUN ip -4 -o address show dev {ifname} && ping -c1 -W2 {gateway}
"""


@pytest.fixture
def node(bundle: Path) -> Iterator[Node]:
    reason = built("buildkit")[1] or ("" if shutil.which("runc") else "needs runc")
    if os.geteuid() != 0 or reason:
        pytest.skip(reason or "needs root: network and mount namespaces")
    node = Node()
    try:
        node.run(str(ROOT / "scripts/install"), "--drop-in").ok()
        node.run("sh", "-c", "mkdir -p /var/lib/buildkit /run/context && mount -t tmpfs node /var/lib/buildkit").ok()
        node.run("cp", "/bin/busybox", "/run/context/").ok()
        node.write("/etc/buildkit/cni.conflist", json.dumps(OURS))
        node.write("/etc/hosts", "127.0.0.1 localhost\n")
        node.write("/etc/resolv.conf", "nameserver 192.0.2.53\n")
        yield node
    finally:
        node.close()


@pytest.mark.parametrize(("mode", "network", "ifname"), [("bridge", "10.10.0", "eth0"), ("cni", "10.77.0", "eth1")])
def test_a_build_has_a_network(node: Node, mode: str, network: str, ifname: str) -> None:
    """In the mode `cni` BuildKit counts its loopback network, so the interface is eth1."""
    programs = built("buildkit")[0]
    node.write("/etc/buildkit/buildkitd.toml", DAEMON.format(runc=shutil.which("runc"), mode=mode))
    node.write("/run/context/Dockerfile", FILE.format(gateway=f"{network}.1", ifname=ifname))
    daemon = Daemon(node, f"{programs}/buildkitd", "--addr", "unix:///run/buildkitd.sock", log="/run/buildkitd.log")
    buildctl = (f"{programs}/buildctl", "--addr", "unix:///run/buildkitd.sock")
    daemon.wait(lambda: node.run(*buildctl, "debug", "workers").code == 0)
    done = node.run(
        *buildctl, "build", "--no-cache", "--progress=plain", "--frontend", "dockerfile.v0",
        "--local", "context=/run/context", "--local", "dockerfile=/run/context",
    )  # fmt: skip
    assert done.code == 0, f"{done.err}\n{daemon.log()[-3000:]}"
    assert f"inet {network}." in done.err
    listed = json.loads(node.run("cni-cnm", "endpoint", "ls", "--json").ok().out)
    assert {one["owner"] for one in listed} == {"cni/buildkitd"}
    daemon.stop()
    assert json.loads(node.run("cni-cnm", "endpoint", "ls", "--json").ok().out) == []
    assert not {link for link in node.links() if link.startswith("veth")}
