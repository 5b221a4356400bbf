"""What Docker says of networks and containers counts only from a dockerd that has a network of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.docker_server import docker_api
from cni_cnm.docker_server.docker_api import DockerApi, DockerContainer
from cni_cnm.settings import Settings
from tests.unit.docker_server.scripted_dockerd import ScriptedDockerd

RED, BLUE = "a" * 64, "b" * 64
ANSWERS: dict[str, Any] = {
    "/networks": [{"Id": RED, "Name": "red"}, {"Id": "c" * 64, "Name": "bridge"}],
    f"/networks/{RED}": {"Containers": {"1": {"EndpointID": "e1", "Name": "web"}}},
    f"/networks/{BLUE}": {"Containers": {"2": {"EndpointID": "e2", "Name": "other"}}},
}


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[ScriptedDockerd]:
    made = ScriptedDockerd(tmp_path / "docker.sock", dict(ANSWERS))
    yield made
    made.close()


def api(tmp_path: Path, *ours: str) -> DockerApi:
    return DockerApi(Settings(docker_api=str(tmp_path / "docker.sock")), ours)


def test_networks_and_containers(tmp_path: Path, dockerd: ScriptedDockerd) -> None:
    """Each is asked for once. Of a network that Docker does not list nothing is asked."""
    found = api(tmp_path, RED, BLUE)
    assert found.networks() == frozenset((RED,))
    assert found.containers(RED) == {"e1": DockerContainer("web", "1")} == found.containers(RED)
    assert found.containers(BLUE) is None
    assert dockerd.asked == ["/networks", f"/networks/{RED}"]


def test_another_dockerd(tmp_path: Path, dockerd: ScriptedDockerd) -> None:
    """One that has no network of ours says nothing about them."""
    found = api(tmp_path, BLUE)
    assert found.networks() is None
    assert found.containers(BLUE) is None


@pytest.mark.parametrize("answer", [None, b"{", b"[" * 100_000, {"Containers": []}, [], "x", {"Containers": {"1": 5}}])
def test_an_answer_that_is_none(
    tmp_path: Path, dockerd: ScriptedDockerd, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer in time, or not what Docker answers: it is not known, or no container is."""
    monkeypatch.setattr(docker_api, "LIMIT_S", 0.2)
    dockerd.answers[f"/networks/{RED}"] = answer
    assert not api(tmp_path, RED).containers(RED)
    dockerd.answers["/networks"] = answer
    assert api(tmp_path, RED).networks() is None


def test_docker_is_not_asked(tmp_path: Path, dockerd: ScriptedDockerd) -> None:
    """Turned off, without a network of ours, or without a socket."""
    assert DockerApi(Settings(docker_api="off"), [RED]).networks() is None
    assert api(tmp_path).networks() is None
    assert DockerApi(Settings(docker_api=str(tmp_path / "absent")), [RED]).networks() is None
    assert not dockerd.asked
