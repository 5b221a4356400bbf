"""A node's first boot on a real cluster: what kubelet and containerd show until there is a network."""

from __future__ import annotations

from tests.kubernetes.real.lab import Lab


def test_a_node_is_not_ready_without_a_configuration_and_starts_no_pod(lab: Lab) -> None:
    lab.make_pod("early", "node1", wait=False)
    lab.api.wait("events", lambda found: any(each["reason"] == "NetworkNotReady" for each in found), "kubelet says why")
    for name in lab.nodes:
        condition = lab.condition(name)
        assert condition["status"] == "False"
        assert "cni plugin not initialized" in condition["message"]
    assert lab.api.get("pods/early")["status"]["phase"] == "Pending"
