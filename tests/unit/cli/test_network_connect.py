"""Docker keeps its own list of a container's networks: its command is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.cli.network_connect import _refuse_docker
from cni_cnm.cnm.controller import Controller
from cni_cnm.docker_server.docker_api import DockerContainer
from cni_cnm.errors import Forbidden
from cni_cnm.find.endpoint_names import NamedEndpoint
from tests.memory_kernel.host import memory_host


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
