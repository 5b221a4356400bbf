"""A node's first boot on a real cluster: what kubelet and containerd show until there is a network, and after it."""

from __future__ import annotations

import ipaddress
import json

from tests.kubernetes.real.kubernetes_node import CONFLIST
from tests.kubernetes.real.lab import Lab
from tests.waiting import until


def test_a_node_is_not_ready_without_a_configuration_and_starts_no_pod(lab: Lab) -> None:
    lab.make_pod("early", "node1", wait=False)
    lab.api.wait("events", lambda found: any(each["reason"] == "NetworkNotReady" for each in found), "kubelet says why")
    for name in lab.nodes:
        condition = lab.condition(name)
        assert condition["status"] == "False"
        assert "cni plugin not initialized" in condition["message"]
    assert lab.api.get("pods/early")["status"]["phase"] == "Pending"


def test_it_is_ready_when_the_data_path_stands(lab: Lab) -> None:
    """The pod that waited is started, with an address of the Node's block of each IP version."""
    lab.serve()
    lab.wait_ready()
    for name, node in lab.nodes.items():
        assert node.status()["networks"]["pods"]["ready"]
        assert json.loads(node.node.path(CONFLIST).read_text())["name"] == "pods"
        assert lab.api.get(f"nodes/{name}")["metadata"]["annotations"]["cni-cnm/underlay"]
        taints = lab.api.wait(
            f"nodes/{name}", lambda found: not found["spec"].get("taints"), f"{name} has no taint", 60
        )
        assert "taints" not in taints["spec"]
    lab.wait_running("early")
    blocks = lab.api.get("nodes/node1")["spec"]["podCIDRs"]
    assert [block_of(each) for each in lab.addresses("early")] == [block_of(each) for each in blocks]


def test_containerd_asks_status_and_kubelet_shows_its_reason(lab: Lab) -> None:
    """STATUS is 50 while the service has not made the data path after a reboot, although the file is there."""
    lab.reboot("node1")
    node = lab.nodes["node1"]
    assert node.node.path(CONFLIST).exists()
    until(
        lambda: "pods" in lab.condition("node1")["message"] and not lab.is_ready("node1"),
        "kubelet shows STATUS", 60, lambda: f"{lab.condition('node1')}\n{node.log()}",
    )  # fmt: skip
    lab.serve("node1")
    lab.wait_ready("node1")


def block_of(address: str) -> str:
    """Of kube-controller-manager's sizes: /24 of IPv4, /64 of IPv6."""
    given = ipaddress.ip_address(address.partition("/")[0])
    return str(ipaddress.ip_network(f"{given}/{24 if given.version == 4 else 64}", strict=False))
