"""Which container a network is added to. Docker keeps its own list of networks: its command is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.cli.network_connect import _refuse_docker, _sandbox
from cni_cnm.cnm.controller import Controller
from cni_cnm.docker_server.docker_api import DockerContainer
from cni_cnm.errors import Forbidden, InvalidConfig, NoSuchEndpoint
from cni_cnm.find.endpoint_names import NamedEndpoint
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces


@pytest.mark.parametrize(
    ("docker", "name"),
    [(DockerContainer(name="shop-web-1"), "shop-web-1"), (DockerContainer(), "CONTAINER")],
)
@pytest.mark.parametrize("verb", ["connect", "disconnect"])
def test_docker(tmp_path: Path, docker: DockerContainer, name: str, verb: str) -> None:
    """With the container's name if Docker has said it. An endpoint of another frontend passes."""
    record = Controller(memory_host(tmp_path)).new_network("net").create_endpoint("e").record
    _refuse_docker([NamedEndpoint(record)], verb, "web")
    of_docker = record._replace(docker_network="0123456789abcdef")
    with pytest.raises(Forbidden, match="is Docker's, which has to know of its networks") as caught:
        _refuse_docker([NamedEndpoint(record), NamedEndpoint(of_docker, docker)], verb, "web")
    assert caught.value.hint == f"docker network {verb} web {name}"


def test_a_sandbox_of_the_library(tmp_path: Path) -> None:
    """It is found by its container's id although it has no endpoint yet, and by its endpoints later."""
    namespaces = MemoryNamespaces()
    controller = Controller(memory_host(tmp_path, namespaces))
    namespaces.create("/run/netns/red")
    made = controller.new_sandbox("agent", "/run/netns/red")
    found, members = _sandbox(controller, "agent", "web")
    assert (found.container_id, found.key, list(members)) == ("agent", "/run/netns/red", [])
    endpoint = controller.new_network("net").create_endpoint("e")
    with pytest.raises(InvalidConfig, match="has not joined a container"):
        _sandbox(controller, "e", "web")
    endpoint.join(made)
    found, members = _sandbox(controller, str(endpoint.addresses[0].interface.ip), "web")
    assert (found.container_id, [one.record.id for one in members]) == ("agent", [endpoint.id])
    with pytest.raises(NoSuchEndpoint, match="there is no endpoint 'nope'"):
        _sandbox(controller, "nope", "web")
