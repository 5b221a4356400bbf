"""Nodes join a real cluster and leave it while pods run: a third one comes, is drained, deleted, and comes again."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from tests.kubernetes.real.lab import PORT, Lab, new_lab
from tests.waiting import until


@pytest.fixture(scope="module")
def three() -> Iterator[Lab]:
    """Three machines, of which two are nodes at first, with a pod on each."""
    with new_lab("node1", "node2", "node3") as lab:
        lab.start("node1", "node2")
        lab.serve("node1", "node2")
        lab.wait_ready("node1", "node2")
        lab.make_pod("one", "node1", wait=False)
        lab.make_pod("two", "node2", wait=False)
        lab.wait_running("one", "two")
        yield lab


def together(lab: Lab, *pods: str) -> bool:
    """Each pod reaches each other one in both families, with its own address."""
    callers = {pod: lab.caller(pod) for pod in pods}
    return all(
        caller.ask(address, PORT) == own
        for pod, caller in callers.items()
        for other in pods
        if other != pod
        for own, address in zip(caller.addresses, callers[other].addresses, strict=True)
    )


def remote_blocks(lab: Lab, node: str) -> int:
    return len(lab.nodes[node].node.ip("-4", "route", "show", "proto", "67"))


def has_its_block(lab: Lab) -> bool:
    """A node that was deleted is Ready with the block before, until its agent has read the Node again."""
    given = {ip_network(each) for each in lab.api.get("nodes/node3")["spec"]["podCIDRs"]}
    bridges = lab.nodes["node3"].node.ip("address", "show", "type", "bridge")
    found = [each for bridge in bridges for each in bridge.get("addr_info", ())]
    return given <= {ip_network(f"{each['local']}/{each['prefixlen']}", strict=False) for each in found}


def test_a_node_joins_leaves_and_joins_again(three: Lab) -> None:
    assert together(three, "one", "two")
    for _ in range(2):
        three.start_node("node3")
        three.serve("node3")
        until(lambda: has_its_block(three), "node3 has its block", 30, three.log)
        three.wait_ready("node3")
        three.make_pod("three", "node3")
        until(lambda: together(three, "one", "two", "three"), "all pods talk", 30, three.log)
        assert [remote_blocks(three, node) for node in ("node1", "node2", "node3")] == [2, 2, 2]
        three.server.kubectl("drain", "node3", "--force", "--timeout=60s")
        three.nodes["node3"].stop()
        three.api.delete("nodes/node3")
        until(lambda: remote_blocks(three, "node1") == 1, "node1 removes its route", 60, three.log)
        until(lambda: remote_blocks(three, "node2") == 1, "node2 removes its route", 60, three.log)
        assert together(three, "one", "two")
