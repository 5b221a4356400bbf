"""A network of Docker's is found by Docker's names, too, and Docker is asked only where nothing else is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.errors import NoSuchNetwork
from cni_cnm.find.networks import docker_names, find_network
from tests.unit.cnm.docker.dockerd import Dockerd, docker_id
from tests.unit.docker_server.scripted_dockerd import ScriptedDockerd

RED = docker_id("red")


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[tuple[Controller, ScriptedDockerd]]:
    made = Dockerd(tmp_path)
    made.network("red", "10.1.0.0/24")
    made.network("blue", "10.2.0.0/24")
    made.host.settings = made.host.settings._replace(docker_api=str(tmp_path / "docker.sock"))
    networks = [{"Id": docker_id(name), "Name": name} for name in ("red", "blue")]
    api = ScriptedDockerd(tmp_path / "docker.sock", {"/networks": [*networks, {"Id": "f" * 64, "Name": "host"}]})
    yield Controller(made.host), api
    api.close()


def test_by_dockers_names(docker: tuple[Controller, ScriptedDockerd]) -> None:
    controller, api = docker
    name = f"docker-{RED[:12]}"
    assert find_network(controller, name).name == name
    assert api.asked == []
    for wanted in ("red", RED, RED[:9]):
        assert find_network(controller, wanted).name == name
    assert docker_names(controller.host, controller.networks()) == {RED: "red", docker_id("blue"): "blue"}


@pytest.mark.parametrize("wanted", ["", "host", "green", "f" * 64])
def test_none_is_found(docker: tuple[Controller, ScriptedDockerd], wanted: str) -> None:
    """Also not one of Docker's that this program has nothing of."""
    with pytest.raises(NoSuchNetwork, match="there is no network"):
        find_network(docker[0], wanted)


def test_docker_does_not_answer(docker: tuple[Controller, ScriptedDockerd]) -> None:
    """Its id is on record here, its name is not."""
    controller, api = docker
    api.answers.clear()
    assert find_network(controller, RED[:9]).record.docker_networks == (RED,)
    with pytest.raises(NoSuchNetwork):
        find_network(controller, "red")
