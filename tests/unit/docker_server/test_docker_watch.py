"""What Docker removed without a call that arrived is found, and what Docker still knows stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.docker import lost_endpoints, lost_networks
from cni_cnm.cnm.host import Host
from cni_cnm.cnm.records import endpoint_records, network_records
from cni_cnm.docker_server.docker_watch import DockerWatch
from cni_cnm.frontend.reply import Subject
from tests.unit.cnm.docker.dockerd import Dockerd, docker_id
from tests.unit.docker_server.scripted_dockerd import ScriptedDockerd

RED, BLUE = docker_id("red"), docker_id("blue")


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dockerd:
    """Two looks are enough, whatever time is between."""
    monkeypatch.setattr(lost_networks, "PATIENCE_S", 0.0)
    monkeypatch.setattr(lost_endpoints, "PATIENCE_S", 0.0)
    made = Dockerd(tmp_path)
    made.network("red", "10.1.0.0/24")
    made.network("blue", "10.2.0.0/24")
    return made


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ScriptedDockerd]:
    made = ScriptedDockerd(tmp_path / "docker.sock", {"/networks": [{"Id": RED}, {"Id": BLUE}]})
    yield made
    made.close()


def look(docker: Dockerd, *, asks: bool = True) -> list[str]:
    """One look of a watch."""
    host = docker.host
    settings = host.settings._replace(docker_api=f"{docker.folder}/docker.sock" if asks else "off")
    said: list[str] = []

    @contextmanager
    def engine() -> Iterator[Controller]:
        yield Controller(host)

    watch = DockerWatch(engine, said.append)
    watch.look(Controller(Host(settings, host.store, docker.namespaces, lambda: docker.nft, host.epoch)))
    return said


def test_names_of_containers(docker: Dockerd, api: ScriptedDockerd) -> None:
    """Docker is asked for them where the log is JSON. Without an answer the endpoint's short id is all there is."""
    endpoint = docker_id("a")
    api.answers[f"/networks/{RED}"] = {"Containers": {docker_id("c"): {"Name": "shop", "EndpointID": endpoint}}}
    subject = Subject("NetworkDriver.Leave", "red", endpoint=endpoint)
    watch = DockerWatch(lambda: None, print)  # type: ignore[arg-type, return-value]
    named = []
    for log_format in ("text", "json"):
        settings = docker.host.settings._replace(docker_api=f"{docker.folder}/docker.sock", log_format=log_format)
        watch.look(Controller(Host(settings, docker.host.store, docker.namespaces, lambda: docker.nft, docker.epoch)))
        named.append(watch.with_container(subject))
    assert [one.container for one in named] == ["", "shop"]
    assert {one.endpoint for one in named} == {endpoint[:12]}


def networks(docker: Dockerd) -> set[Any]:
    return {one for record in network_records(docker.host.store) for one in record.docker_networks}


def test_a_network_that_docker_does_not_have(docker: Dockerd, api: ScriptedDockerd) -> None:
    """It goes with its pool, once Docker says that it has other networks of ours."""
    assert not look(docker)
    api.answers["/networks"] = [{"Id": BLUE}]
    assert not look(docker, asks=False)
    [said] = look(docker)
    assert said == f"docker: removed Docker's network {RED[:12]}, which Docker does not have any more"
    assert networks(docker) == {BLUE}
    api.answers["/networks"] = []
    assert not look(docker)
    assert networks(docker) == {BLUE}


def test_a_network_with_a_container_stays(docker: Dockerd, api: ScriptedDockerd) -> None:
    docker.join(docker.endpoint("red", "one", "10.1.0.2/24"), "box")
    api.answers["/networks"] = [{"Id": BLUE}]
    assert not look(docker)
    assert networks(docker) == {RED, BLUE}


def test_an_address_that_was_requested_and_never_used(docker: Dockerd) -> None:
    """Released after a minute; one of an endpoint stays, and so does an auxiliary one."""
    docker.join(docker.endpoint("red", "one", "10.1.0.2/24"), "box")
    docker.request("10.1.0.9/24")
    folder = docker.folder / "leases" / f"docker-{RED[:12]}"
    for name in ("10.1.0.2", "10.1.0.9"):
        earlier = (folder / name).stat().st_mtime - 100
        os.utime(folder / name, (earlier, earlier))
    docker.request("10.1.0.10/24")
    [said] = [line for line in look(docker, asks=False) if "released" in line]
    assert "10.1.0.9" in said
    assert sorted(path.name for path in folder.glob("10.*")) == ["10.1.0.10", "10.1.0.2"]


def test_a_container_that_docker_knows_stays(docker: Dockerd, api: ScriptedDockerd) -> None:
    """Also if its link was deleted by hand."""
    made = docker.endpoint("red", "one", "10.1.0.2/24")
    docker.join(made, "box")
    docker.end_sandbox("box")
    api.answers[f"/networks/{RED}"] = {"Containers": {"1": {"EndpointID": made["EndpointID"], "Name": "one"}}}
    assert not look(docker)
    api.answers[f"/networks/{RED}"] = {"Containers": {}}
    assert len(look(docker)) == 1
    assert not list(endpoint_records(docker.host.store))
