"""A node's life with the stand-in API server: its first boot, pods on three nodes, what is cheap to see there.

The rest is in test_node_life_failures.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.kubernetes.node_lab import NETWORK, PODS, NodeLab, PodNode
from tests.overlay.test_reach import routes, together
from tests.waiting import until


class Nodes(NamedTuple):
    """Two nodes on one link, and one behind a router."""

    lab: NodeLab
    one: PodNode
    two: PodNode
    far: PodNode


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    if os.geteuid():
        pytest.skip("nodes are network and mount namespaces, which need root")
    with NodeLab("10.244.0.0/16", "fd00:10:244::/56") as lab:
        made = Nodes(lab, lab.node("node1", register=False), lab.node("node2"), lab.node("far1", far=True))
        yield made


def test_first_boot(nodes: Nodes) -> None:
    """No file without a Node, none without a block; with the data path comes the file. No pod has started yet."""
    one = nodes.one
    one.wait_why("has no Node node1")
    assert one.runtime_status()["code"] == 50
    nodes.lab.register(one, [])
    one.wait_why("has given no podCIDR to Node node1", 40)
    assert not one.has_conflist()
    assert "has given no podCIDR" in one.runtime_status()["msg"]
    blocks = ["10.244.77.0/24", "fd00:10:244:77::/64"]
    nodes.lab.api.do(lambda model: model.change("node1", {"spec": {"podCIDR": blocks[0], "podCIDRs": blocks}}))
    one.wait_conflist()
    assert one.node.ip("link", "show", "cnm-vx4096")[0]["operstate"] in ("UNKNOWN", "UP")
    [bridge] = [name for name in one.node.links() if name.startswith("br-")]
    assert "10.244.77.1/24" in one.node.addresses(bridge)
    assert one.annotation()["addresses"] == list(one.addresses)
    assert one.runtime_status() == {}


def test_pods_of_three_nodes(nodes: Nodes) -> None:
    """Both IP versions, with plain routes on one link and VXLAN to the node behind the router."""
    for node in (nodes.one, nodes.two, nodes.far):
        node.wait_conflist()
    pods = [node.pod(PODS) for node in (nodes.one, nodes.two, nodes.far)]
    assert [len(pod.addresses) for pod in pods] == [2, 2, 2]
    together(*pods)
    ways = routes(nodes.one, "-4")
    near, far = (f"{pod.address.rsplit('.', 1)[0]}.0/24" for pod in pods[1:])
    assert (ways[near], ways[far]) == ("eth0", "cnm-vx4096")
    assert set(ways) == {near, far}, "no route to a whole that is not known"
    for pod in pods:
        pod.check().ok()
        pod.delete().ok()


@pytest.mark.long
def test_a_repair_is_an_event_of_the_node(nodes: Nodes) -> None:
    """What another program does to the bridge is seen by `kubectl describe node`."""
    one, api = nodes.one, nodes.lab.api
    one.wait_conflist()
    pod = one.pod(PODS)
    [bridge] = [name for name in one.node.links() if name.startswith("br-")]
    one.node.run("ip", "link", "set", bridge, "down").ok()

    def told() -> list[str]:
        found = list(api.events.values())
        return [each["message"] for each in found if each["involvedObject"]["name"] == "node1"]

    until(lambda: f"the network pods: {bridge} is down; put right" in told(), "the event is there", 30, told)
    pod.delete().ok()


def test_who_is_seen(nodes: Nodes) -> None:
    """A pod by another node's pod with its own address; a node with its gateway's, so that the answer comes back."""
    for node in nodes[1:]:
        node.wait_conflist()
    server, near, far = (node.pod(PODS) for node in (nodes.two, nodes.one, nodes.far))
    together(server, near, far)
    nodes.two.serve_who(server)
    url = f"http://{server.address}"
    assert nodes.one.seen_as(url, near) == near.address
    assert nodes.far.seen_as(url, far) == far.address
    assert nodes.far.seen_as(f"http://[{server.addresses[1]}]", far) == far.addresses[1]
    for node, pod in ((nodes.one, near), (nodes.far, far)):
        assert node.seen_as(url) == pod.result["ips"][0]["gateway"]
    outside = nodes.lab.router
    outside.run("ip", "address", "add", "203.0.113.1/32", "dev", "lo")
    with outside.serving(8080, address="203.0.113.1"):
        ask = "import socket; s=socket.create_connection(('203.0.113.1',8080),5); print(s.getsockname()[0])"
        assert nodes.one.node.run("/usr/bin/python3", "-c", ask, netns=near.netns).ok().out.strip() == near.address


def test_host_port(nodes: Nodes) -> None:
    """From a pod of another node, at the node's address."""
    for node in nodes[1:]:
        node.wait_conflist()
    published = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
    config = {**PODS, "runtimeConfig": {"portMappings": [published]}}
    server, client = nodes.two.pod(config), nodes.far.pod(PODS)
    together(server, client)
    nodes.two.serve_who(server)
    nodes.far.seen_as(f"http://{nodes.two.addresses[0]}:8080", client)


def test_other_networks_of_the_node(nodes: Nodes) -> None:
    """They reach pods of no node, by VXLAN and by a plain route, until they are opened to each other."""
    one = nodes.one
    for node in nodes[1:]:
        node.wait_conflist()
    pods = [node.pod(PODS) for node in (nodes.two, nodes.far)]
    together(one.pod(PODS), *pods)
    shop = one.pod({"name": "shop", "driver": "bridge", "ipam": {"subnet": "10.60.0.0/24"}})
    assert not any(shop.pings(pod.address, wait=1) for pod in pods)
    one.cnm("network", "allow", "shop", NETWORK).ok()
    until(lambda: all(shop.pings(pod.address) for pod in pods), "shop reaches the pods of other nodes", 20, one.said)
    one.cnm("network", "revoke", "shop", NETWORK).ok()
    assert not shop.pings(pods[0].address, wait=1)
    shop.delete().ok()


def test_agent_ends(nodes: Nodes) -> None:
    """Killed: pods start and reach each other meanwhile, and the file stays."""
    one, far = nodes.one, nodes.far
    for node in nodes[1:]:
        node.wait_conflist()
    away = far.pod(PODS)
    one.kill_agent()
    pod = one.pod(PODS)
    together(pod, away)
    one.wait_ready(NETWORK)
    assert one.has_conflist()
    assert one.runtime_status() == {}


def test_api_away(nodes: Nodes) -> None:
    """Pods start, are checked, reach others and end; a restarted agent works from the disk."""
    one, far = nodes.one, nodes.far
    for node in nodes[1:]:
        node.wait_conflist()
    away = far.pod(PODS)
    nodes.lab.leave_api()
    try:
        pod = one.pod(PODS)
        together(pod, away)
        pod.check().ok()
        one.kill_agent()
        one.wait_ready(NETWORK)
        assert one.runtime_status() == {}
        together(one.pod(PODS), away)
        pod.delete().ok()
    finally:
        nodes.lab.return_api()
    one.wait_said("answers", 60)


def test_thirty_pods_at_once(nodes: Nodes) -> None:
    """Up and down: every address once, no request to the API for a pod, and nothing is left."""
    one = nodes.one
    for node in nodes[1:]:
        node.wait_conflist()
    names = [f"many{number}" for number in range(30)]
    for name in names:
        one.side.container(name)
    before = [request.what for request in nodes.lab.api.requests]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda name: one.side.add(PODS, name), names))
        assert [answer.code for answer in answers] == [0] * 30
        assert len({ip["address"] for answer in answers for ip in answer.json["ips"]}) == 60
        ended = list(pool.map(lambda name: one.side.delete(PODS, name), names))
    assert [answer.code for answer in ended] == [0] * 30
    asked = [request.what for request in nodes.lab.api.requests][len(before) :]
    assert set(asked) <= {"list nodes", "watch nodes"}, "agents that come back after the test before; none for a pod"
    assert len(asked) < len(names)
    assert "many" not in one.node.run("nft", "list", "ruleset").out
