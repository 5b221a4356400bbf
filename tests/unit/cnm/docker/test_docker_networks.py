"""Docker's networks: a call that Docker makes again, because its answer was lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.cnm.records import network_records, pool_records
from tests.unit.cnm.docker.dockerd import Dockerd, docker_id


@pytest.fixture
def docker(tmp_path: Path) -> Dockerd:
    return Dockerd(tmp_path)


def test_create_network_again(docker: Dockerd) -> None:
    """The service was killed between its last step and its answer: the same network is there."""
    message = docker.network_message("red", "10.1.0.0/24", "fd01::/64")
    for _ in range(2):
        docker.call("NetworkDriver.CreateNetwork", **message)
    [made] = network_records(docker.host.store)
    assert {pool.docker_network for pool in pool_records(docker.host.store)} == {docker_id("red")}
    assert {pool.network for pool in pool_records(docker.host.store)} == {made.name}


def test_create_network_again_after_one_of_two_pools(docker: Dockerd) -> None:
    """The service was killed between the pools. The second call gives the network the other one, too."""
    message = docker.network_message("red", "10.1.0.0/24", "fd01::/64")
    docker.call("NetworkDriver.CreateNetwork", **message)
    lost = next(pool for pool in pool_records(docker.host.store) if ":" in pool.subnet)
    docker.host.store.put("pools", lost.id, lost._replace(network="", docker_network="").to_json())
    docker.call("NetworkDriver.CreateNetwork", **message)
    assert {pool.docker_network for pool in pool_records(docker.host.store)} == {docker_id("red")}


def test_another_network_does_not_get_the_pool(docker: Dockerd) -> None:
    message = docker.network_message("red", "10.1.0.0/24")
    docker.call("NetworkDriver.CreateNetwork", **message)
    refused = docker.refused("NetworkDriver.CreateNetwork", **{**message, "NetworkID": docker_id("blue")})
    assert "was not requested" in refused
