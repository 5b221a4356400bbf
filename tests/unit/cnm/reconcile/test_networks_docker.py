"""Docker's networks and endpoints are put right as any others."""

from __future__ import annotations

from pathlib import Path

from cni_cnm.cnm.reconcile.reconcile import compare, reconcile
from cni_cnm.cnm.records import endpoint_records, network_records
from tests.unit.cnm.docker.dockerd import Dockerd


def test_a_bridge_of_docker_is_made_again_with_its_containers(tmp_path: Path) -> None:
    """With its gateways; the leases that Docker requested are as they were."""
    docker = Dockerd(tmp_path)
    docker.network("red", "10.1.0.0/24", "fd01::/64")
    docker.join(docker.endpoint("red", "one", "10.1.0.2/24", "fd01::2/64"), "box", "10.1.0.2/24", "fd01::2/64")
    stack = docker.host.stack
    [network], [endpoint] = list(network_records(docker.host.store)), list(endpoint_records(docker.host.store))
    before = stack.link(network.policy.bridge)
    assert before is not None
    addresses = list(stack.addresses(before.ifindex))
    assert list(compare(docker.host)) == []
    stack.delete_link(before.ifindex)
    outcomes = [outcome.sentence for outcome in reconcile(docker.host)]
    assert outcomes == [f"the network {network.name}: {before.name} does not exist; made again, with 1 container on it"]
    bridge, port = stack.link(before.name), stack.link(endpoint.host_ifname)
    assert bridge is not None
    assert port is not None
    assert (bridge.mac, port.master) == (before.mac, bridge.ifindex)
    assert list(stack.addresses(bridge.ifindex)) == addresses
    assert list(compare(docker.host)) == []
