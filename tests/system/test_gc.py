"""`cni-cnm gc`: endpoints whose namespace is gone, and those that containerd has lost."""

from __future__ import annotations

from typing import Any

import pytest

from tests.side import Side
from tests.system.containerd import Containerd
from tests.system.node import Node
from tests.system.test_containerd import configure
from tests.waiting import until

NET: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "net",
    "bridge": "br-net",
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.61.0.0/24"}]]},
}


def test_an_endpoint_without_a_namespace_is_shown_then_removed(side: Side) -> None:
    """One whose namespace exists stays, and its owner is named: no list of its containers can be had."""
    for container in ("c1", "c2"):
        side.add(NET, container).ok()
    program = str(side.executable)
    kept = side.node.run(program, "gc")
    assert (kept.ok().out, kept.err.count("are kept: no runtime of that name can be asked")) == ("", 1)
    side.node.run("ip", "netns", "del", "c1").ok()
    until(lambda: side.node.run(program, "gc").ok().out, "the namespace is gone")
    shown = side.node.run(program, "gc").ok()
    assert shown.out == "the endpoint net/c1/eth0: its namespace /run/netns/c1 does not exist\n"
    assert "`cni-cnm gc --yes` removes" in shown.err
    assert {"10.61.0.2", "10.61.0.3"} <= set(side.leases("net"))
    removed = side.node.run(program, "gc", "--yes", timeout=120).ok()
    assert removed.out.splitlines()[1:] == [
        "the endpoint net/c1/eth0: its namespace /run/netns/c1 does not exist; it was taken down"
    ]
    assert "10.61.0.2" not in side.leases("net")
    assert "10.61.0.3" in side.leases("net")
    assert side.node.run(program, "gc").ok().out == ""


def endpoints(node: Node) -> int:
    return sum(path.endswith(".json") for path in node.files("/run/cni-cnm/endpoints"))


@pytest.mark.long
def test_what_containerd_has_lost_is_removed_and_nothing_else(containerd: Containerd) -> None:
    """containerd loses one pod, and has another. Without containerd nothing is."""
    node, cri = containerd.node, containerd.cri
    configure(containerd)
    lost, living = cri.run_pod("lost"), cri.run_pod("living")
    assert endpoints(node) == 2
    node.run("sh", "-c", "touch -d '1 hour ago' /run/cni-cnm/endpoints/*.json").ok()
    assert node.run("cni-cnm", "gc").ok().out == ""
    ctr = ("ctr", "--namespace", "k8s.io")
    node.run(*ctr, "tasks", "kill", "--signal", "SIGKILL", lost.id).ok()
    node.run(*ctr, "tasks", "rm", "--force", lost.id)
    node.run(*ctr, "containers", "rm", lost.id).ok()
    containerd.stop()
    silent = node.run("cni-cnm", "gc", "--yes")
    assert (silent.ok().out, silent.err.count("endpoints of cni/containerd are kept")) == ("", 1)
    assert endpoints(node) == 2
    containerd.restart()
    until(
        lambda: "lost" in node.run("cni-cnm", "gc").ok().out,
        "containerd has lost a pod",
        said=lambda: node.run("cni-cnm", "gc"),
    )
    shown = node.run("cni-cnm", "gc", "--yes", timeout=120).ok()
    assert "(default/lost): containerd does not have its container; it was removed" in shown.out
    assert "living" not in shown.out
    assert endpoints(node) == 1
    assert node.ping(living.addresses[0])
