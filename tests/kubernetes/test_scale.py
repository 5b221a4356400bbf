"""The agent of a node whose cluster has a thousand Nodes: memory, requests, work, and one Node's way to the kernel."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

import pytest

from cni_cnm.cluster.kubernetes.announcement import ANNOTATION, VNI, Terms, text
from cni_cnm.cluster.values import ClusterHost
from cni_cnm.model import ip_address, stable_mac
from tests.kubernetes.api_model import ApiModel
from tests.kubernetes.node_lab import NETWORK, NodeLab, PodNode
from tests.overlay.test_reach import routes
from tests.overlay.test_scale import cpu_ticks, pss_kb
from tests.waiting import until

pytestmark = pytest.mark.long
NODES = int(os.environ.get("CNI_CNM_HOSTS", "1000"))
PSS_KB_MAX = 40 << 10
IDLE_S, CHANGES = 60, 30
IMAGES = [{"names": [f"registry.example.com/some/image-{number}@sha256:{number:064x}"]} for number in range(50)]
"""What a kubelet reports: most of a Node's 10 KB."""


def add(model: ApiModel, number: int) -> None:
    """A Node behind the router, with a block, that has announced itself."""
    name, instance, address = f"made{number}", f"{number:032x}", f"198.18.{number // 250}.{number % 250 + 1}"
    host = ClusterHost(name, instance, (ip_address(address),), stable_mac("vtep", instance))
    said = text(host, Terms(NETWORK, VNI, 4799, "auto"))
    block = f"10.{16 + (number >> 8)}.{number & 255}.0/24"
    meta, status = {"annotations": {ANNOTATION: said}}, {"images": IMAGES}
    model.add(name, address, pod_cidrs=[block], metadata=meta, status=status)


@pytest.fixture
def lab() -> Iterator[NodeLab]:
    with NodeLab("10.0.0.0/8") as made:
        yield made


def joining_ms(lab: NodeLab, node: PodNode) -> list[float]:
    """From the API server's write to the kernel's report of the last route."""
    found = []
    command = node.node.command("ip", "monitor", "route")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as monitor:
        assert monitor.stdout is not None
        time.sleep(1)
        for number in range(NODES, NODES + CHANGES):
            begin = time.perf_counter()
            lab.api.do(partial(add, number=number))
            block = f"10.{16 + (number >> 8)}.{number & 255}.0/24"
            while block not in monitor.stdout.readline():
                pass
            found.append((time.perf_counter() - begin) * 1000)
            time.sleep(0.1)
        monitor.terminate()
    return found


def test_a_thousand_nodes(lab: NodeLab) -> None:
    node = lab.node("node1")
    node.wait_conflist()

    def many(model: ApiModel) -> None:
        for number in range(NODES):
            add(model, number)

    lab.api.do(many)
    until(lambda: len(routes(node, "-4")) >= NODES, "a route to each block", 120, node.said)
    node.kill_agent()  # the one that starts again has a disk, and lists all
    until(lambda: _listed(node) >= NODES, "all are listed", 120, node.said)
    time.sleep(8)  # what is known is written to the disk
    pid = int(node.status()["pid"])
    times = joining_ms(lab, node)
    before, ticks, pss = len(lab.api.requests), cpu_ticks(node, pid), pss_kb(node, pid)
    for number in range(IDLE_S):  # each kubelet reports once in five minutes
        for report in range(NODES // 300):
            name = f"made{(number * 7 + report) % NODES}"
            lab.api.do(partial(ApiModel.report, name=name))
        time.sleep(1)
    asked = len(lab.api.requests) - before
    percent = (cpu_ticks(node, pid) - ticks) / os.sysconf("SC_CLK_TCK") / IDLE_S * 100
    size = len(json.dumps(lab.api.model.list_nodes({})))
    print(
        f"\n{NODES} Nodes of {size / NODES:.0f} B: PSS {pss} KiB, {percent:.2f} % CPU, {asked} requests in {IDLE_S} s, "
        f"one Node to the kernel in {median(times):.1f} ms (median of {CHANGES})"
    )
    assert pss <= PSS_KB_MAX
    assert asked == 0
    assert percent <= 1


def _listed(node: PodNode) -> int:
    status: dict[str, Any] = node.status()
    return int(status.get("figures", {}).get("hosts", 0)) if status.get("store", {}).get("reachable") else 0
