"""What a further Node costs the agent: the directory, what is known, and the plan, with a plain route to each."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

from cni_cnm.cluster.known import Known
from cni_cnm.cluster.kubernetes.announcement import ANNOTATION, Terms
from cni_cnm.cluster.kubernetes.contents import Contents
from cni_cnm.cluster.plan import Plan
from cni_cnm.cluster.underlay import Here, Member, Route
from cni_cnm.cluster.uplink import Uplink
from cni_cnm.firewall import Policy
from cni_cnm.firewall.remote_blocks import OwnSide
from cni_cnm.model import ip_address, ip_network, stable_mac

BYTES_MAX = 2048
TERMS = Terms("pods", 4096, 4799, "auto")


def node(number: int) -> Any:
    """As decoded, so that each value is an object of its own."""
    instance = f"{number:032x}"
    said = {"instance": instance, "addresses": [f"192.168.{number >> 8}.{number & 255}"]}
    said |= {"mac": stable_mac("vtep", instance), **TERMS._asdict()}
    raw = {
        "metadata": {
            "name": f"node-{number:05}.example.com",
            "creationTimestamp": f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z",
            "annotations": {ANNOTATION: json.dumps(said)},
        },
        "spec": {"podCIDRs": [f"10.{number >> 8}.{number & 255}.0/24"]},
        "status": {
            "addresses": [{"type": "InternalIP", "address": said["addresses"][0]}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    return json.loads(json.dumps(raw))


def agent(nodes: int) -> tuple[object, ...]:
    """All that an agent keeps of so many Nodes."""

    def raw() -> Iterator[Any]:
        for number in range(1, nodes + 1):
            yield node(number)

    contents = Contents(TERMS, (), "1", raw())
    known = Known(contents.snapshot())
    address = ip_address("192.168.255.255")
    here = Here("me", "02:00:00:00:00:01", (Uplink(address, 2, "eth0", 1500, (ip_network("192.168.0.0/16"),)),))
    member = Member(contents.network, (), own=OwnSide("id", "pods", Policy(), ()))
    plan = Plan(here, [member], known.hosts, known.blocks.values())
    wanted = plan.wanted()
    assert sum(isinstance(each, Route) and each.own is not None for each in wanted) == nodes
    return contents, known, plan


def test_bytes_of_a_further_node() -> None:
    """Between two numbers at which Python's dicts are equally full."""
    agent(100)  # imports, and caches that have an end
    sizes = []
    tracemalloc.start()
    try:
        for nodes in (680, 1360):
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            kept = agent(nodes)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0] - before)
            del kept
    finally:
        tracemalloc.stop()
    assert (sizes[1] - sizes[0]) / 680 <= BYTES_MAX
