"""A node's life with a real containerd on each of two nodes, and the stand-in API server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.kubernetes.node_lab import NETWORK, NodeLab, PodNode
from tests.system.containerd import IMAGE, Containerd
from tests.system.cri import Pod
from tests.waiting import until

CIDRS = ("10.244.0.0/16", "fd00:10:244::/56")
BLOCKS = ["10.244.9.0/24", "fd00:10:244:9::/64"]


class Runtime(NamedTuple):
    """A node and what its kubelet would talk to."""

    node: PodNode
    containerd: Containerd

    def pings(self, pod: Pod, address: str) -> bool:
        return self.node.node.ping(address, netns=pod.netns)


class Runtimes(NamedTuple):
    lab: NodeLab
    one: Runtime
    two: Runtime

    def together(self, first: Pod, second: Pod) -> None:
        """First a pod of node `one`, then one of `two`: every address, both ways."""
        for runtime, pod, other in ((self.one, first, second), (self.two, second, first)):
            for address in other.addresses:
                until(lambda r=runtime, p=pod, a=address: r.pings(p, a), f"{pod.name} reaches {address}", 20)  # type: ignore[misc]


@pytest.fixture(scope="module")
def runtimes() -> Iterator[Runtimes]:
    """Node `one` has no block yet."""
    if os.geteuid():
        pytest.skip("nodes are network and mount namespaces, which need root")
    if shutil.which("containerd") is None:
        pytest.skip("needs containerd")
    with NodeLab(*CIDRS) as lab:
        nodes = lab.node("node1", pod_cidrs=[]), lab.node("node2", far=True)
        made = [Runtime(node, Containerd(node.node, bin_dir=node.side.executable.parent)) for node in nodes]
        yield Runtimes(lab, *made)
        for runtime in made:
            for pod in runtime.containerd.cri.pods():
                runtime.containerd.cri.stop(pod)
                runtime.containerd.cri.remove(pod)
            runtime.containerd.close()


def test_network_is_ready_when_the_data_path_stands(runtimes: Runtimes) -> None:
    """NetworkReady is what the kubelet makes the node's condition of."""
    one = runtimes.one
    one.node.wait_why("has given no podCIDR")
    assert not one.containerd.cri.network_ready()[0]
    spec = {"podCIDR": BLOCKS[0], "podCIDRs": BLOCKS}
    runtimes.lab.api.do(lambda model: model.change("node1", {"spec": spec}))
    one.containerd.wait_ready()
    assert one.node.status()["networks"][NETWORK]["ready"]
    assert one.node.node.ip("link", "show", "cnm-vx4096")


def test_pods_and_host_port(runtimes: Runtimes) -> None:
    """On both nodes; the port is reached from the other node's pod."""
    for runtime in runtimes[1:]:
        runtime.containerd.wait_ready()
    first = runtimes.one.containerd.cri.run_pod("first")
    second = runtimes.two.containerd.cri.run_pod("second", ports=[{1: 0, 2: 80, 3: 8080}])
    assert (len(first.addresses), len(second.addresses)) == (2, 2)
    runtimes.together(first, second)
    cri = runtimes.two.containerd.cri
    server = cri.run_container(second, IMAGE, ["sh", "-c", "echo hello > /index.html; httpd -f -p 80 -h /"])
    client = runtimes.one.containerd.cri.run_container(first, IMAGE, ["sleep", "1000000"])
    url = f"http://{runtimes.two.node.addresses[0]}:8080/"
    until(lambda: "hello" in runtimes.one.containerd.cri.execute(client, ["wget", "-qO-", url])[1], "hello", 20)
    assert server


def test_without_the_agent(runtimes: Runtimes) -> None:
    """Stopped: pods start and end. Started again: nothing is left of those that ended, and the node stays ready."""
    one = runtimes.one
    for runtime in runtimes[1:]:
        runtime.containerd.wait_ready()
    old = one.containerd.cri.run_pod("old")
    there = runtimes.two.containerd.cri.run_pod("there")
    one.node.stop()
    assert one.containerd.cri.network_ready()[0]
    without = one.containerd.cri.run_pod("without")
    runtimes.together(without, there)
    one.containerd.cri.stop(old.id)
    one.containerd.cri.remove(old.id)
    one.node.serve()
    one.node.wait_ready(NETWORK)
    runtimes.together(without, there)
    assert old.addresses[0] not in one.node.node.run("nft", "list", "ruleset").out
    assert one.containerd.cri.network_ready()[0]


def test_thirty_pods(runtimes: Runtimes) -> None:
    """At once up, and at once down: as a node that is drained."""
    cri = runtimes.one.containerd.cri
    runtimes.one.containerd.wait_ready()
    with ThreadPoolExecutor(10) as pool:
        pods = list(pool.map(lambda number: cri.run_pod(f"many{number}"), range(30)))
        assert len({address for pod in pods for address in pod.addresses}) == 60
        list(pool.map(lambda pod: cri.stop(pod.id), pods))
        list(pool.map(lambda pod: cri.remove(pod.id), pods))
    assert "many" not in runtimes.one.node.node.run("nft", "list", "ruleset").out
    assert cri.network_ready()[0]
