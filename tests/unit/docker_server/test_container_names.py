"""Names of Docker's containers are answered on a network that answers names, as long as Docker has them there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.reconcile import names as reconcile_names
from cni_cnm.cnm.reconcile.changed import EVERYTHING
from cni_cnm.cnm.records import load_endpoint, load_network
from cni_cnm.docker_server import container_names
from cni_cnm.docker_server.container_names import ContainerNames
from cni_cnm.docker_server.docker_api import DockerApi
from cni_cnm.model import NameService
from cni_cnm.names import hosts_files
from cni_cnm.state.store import NETWORKS
from tests.unit.cnm.docker.dockerd import Dockerd, docker_id
from tests.unit.docker_server.scripted_dockerd import ScriptedDockerd

RED, BOX = docker_id("red"), docker_id("box")
NETWORK = f"docker-{RED[:12]}"


class Scene:
    """A container of Docker's on a network that answers names, and what Docker says of it."""

    def __init__(self, folder: Path) -> None:
        self.docker = Dockerd(folder)
        self.host = self.docker.host
        self.docker.network("red", "10.1.0.0/24")
        network = load_network(self.host.store, NETWORK)
        assert network is not None
        self.host.store.put(NETWORKS, NETWORK, network._replace(names=NameService("red.internal")).to_json())
        self.folder = hosts_files.folder_of(self.host.settings.run_dir, NETWORK)
        hosts_files.make_folder(self.folder)
        self.ids = self.docker.endpoint("red", "one", "10.1.0.2/24")
        self.docker.join(self.ids, "box")
        self.api = ScriptedDockerd(folder / "docker.sock", {"/networks": [{"Id": RED}]})
        self.host.settings = self.host.settings._replace(docker_api=str(folder / "docker.sock"))
        self.said: list[str] = []
        self.names = ContainerNames(self.said.append)

    def know(self, name: str, *aliases: str) -> None:
        endpoint = self.ids["EndpointID"]
        self.api.answers[f"/networks/{RED}"] = {"Containers": {BOX: {"Name": name, "EndpointID": endpoint}}}
        known: dict[str, Any] = {"red": {"EndpointID": endpoint, "Aliases": list(aliases) or None}, "other": {}}
        self.api.answers[f"/containers/{BOX}/json"] = {"NetworkSettings": {"Networks": known}}

    def look(self) -> None:
        self.names.look(self.host, DockerApi(self.host.settings, [RED]))

    @property
    def answered(self) -> str | None:
        return hosts_files.read(self.folder, self.ids["EndpointID"])


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    made = Scene(tmp_path)
    yield made
    made.api.close()


def test_name_aliases_and_short_id(scene: Scene) -> None:
    scene.know("Web_1", "shop", BOX[:12], "not a name")
    scene.look()
    names = ("web_1", "shop", BOX[:12])
    assert scene.answered == f"10.1.0.2 {' '.join(f'{one}.red.internal {one}' for one in names)}\n"
    assert not list(reconcile_names.compare(scene.host, EVERYTHING))
    scene.look()
    assert scene.said == ["docker: 'not a name' is not answered as a name of a container: it is no host name"]
    scene.know("web.")
    scene.know("a..b", "not a name")
    scene.look()
    scene.look()
    assert scene.said[1:] == ["docker: 'a..b' is not answered as a name of a container: it is no host name"]


def test_docker_is_asked_for_a_container_again_only_if_its_name_is_another_one(scene: Scene) -> None:
    scene.know("web")
    scene.look()
    asked = len(scene.api.asked)
    scene.look()
    assert scene.api.asked[asked:] == ["/networks", f"/networks/{RED}"]
    scene.know("front")
    scene.look()
    assert scene.answered == f"10.1.0.2 front.red.internal front {BOX[:12]}.red.internal {BOX[:12]}\n"


@pytest.mark.parametrize("call", ["Leave", "DeleteEndpoint"])
def test_the_names_go_with_the_call(scene: Scene, call: str) -> None:
    scene.know("web")
    scene.look()
    scene.docker.call(f"NetworkDriver.{call}", **scene.ids)
    assert scene.answered is None
    scene.look()  # what Docker still says of it counts no more
    assert scene.answered is None


def test_one_that_has_joined_is_asked_for_until_docker_knows_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_names, "PAUSE_FIRST_S", 0.0)
    scene.look()
    assert scene.names.wait_s() is None
    assert scene.names.joined(scene.ids["EndpointID"])
    scene.names.name_joined(scene.host)
    assert scene.names.wait_s() == 0.0
    scene.know("web")
    scene.names.name_joined(scene.host)
    assert scene.names.wait_s() is None
    assert "web.red.internal" in (scene.answered or "")


def test_one_that_docker_does_not_know_is_left_to_the_looks(scene: Scene) -> None:
    scene.look()
    scene.names.joined(scene.ids["EndpointID"])
    for _ in range(container_names.WAITS):
        assert scene.names.wait_s() is not None
        scene.names.name_joined(scene.host)
    assert scene.names.wait_s() is None


def test_no_network_answers_names(scene: Scene) -> None:
    scene.look()
    hosts_files.remove_folder(scene.folder)
    asked = len(scene.api.asked)
    assert not scene.names.joined(scene.ids["EndpointID"])
    scene.look()
    assert len(scene.api.asked) == asked


def test_without_docker_api_nothing_is_answered(scene: Scene) -> None:
    """Nor the endpoint's id; what was answered before is withdrawn. While Docker is silent, names stay."""
    scene.know("web")
    scene.look()
    scene.api.answers.clear()
    scene.look()
    assert "web.red.internal" in (scene.answered or "")
    scene.host.settings = scene.host.settings._replace(docker_api="off")
    scene.look()
    assert scene.answered is None
    record = load_endpoint(scene.host.store, scene.ids["EndpointID"])
    assert record is not None
    assert not record.names
    assert not list(reconcile_names.compare(scene.host, EVERYTHING))
