"""Beside a real firewalld, with a D-Bus of its own: a link in no zone is in the default one, which forwards nothing.

tests/unit/kernel/test_firewalld.py has what we ask of it, and its errors.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.system import dockerd as docker_tests
from tests.system.crossroads import OUTSIDE, POD, PODS, Crossroads, becomes, together
from tests.system.docker_host import OURS
from tests.system.dockerd import Dockerd
from tests.system.firewalld import Firewalld, missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Scene(Crossroads):
    def __init__(self, folder: Path, **more: Any) -> None:
        super().__init__(folder, **more)
        self.firewalld = Firewalld(self.node)

    def close(self) -> None:
        try:
            self.firewalld.close()
        finally:
            super().close()

    def bridges(self) -> set[str]:
        return {link for link in self.node.links() if link.startswith("br-")}


@pytest.fixture
def scene(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network and mount namespaces")
    if why := missing():
        pytest.skip(why)
    made = Scene(tmp_path, **getattr(request, "param", {}))
    yield made
    made.close()


def test_networks_made_while_firewalld_runs(scene: Scene) -> None:
    """Their bridges go into the zone trusted, at run time only; a reload forgets that, and they are there again."""
    scene.firewalld.start()
    scene.pods()
    becomes(scene.of_pods, PODS)
    assert scene.firewalld.interfaces("trusted") == scene.bridges()
    assert scene.firewalld("--permanent", "--zone=trusted", "--list-interfaces") == ""
    scene.firewalld.reload()
    becomes(scene.of_pods, PODS)
    assert scene.firewalld.interfaces("trusted") == scene.bridges()
    scene.remove_pods()
    assert scene.firewalld.interfaces("trusted") == set()


def test_firewalld_drops_what_is_not_in_the_zone(scene: Scene) -> None:
    """Taken out by hand, the outside is not reached; with firewalld's next reload they are back."""
    scene.firewalld.start()
    scene.pods()
    becomes(scene.of_pods, PODS)
    for bridge in scene.bridges():
        scene.firewalld("--zone=trusted", f"--remove-interface={bridge}")
    assert not scene.ping("red", "192.0.2.9")
    scene.firewalld.reload()
    becomes(scene.of_pods, PODS)
    scene.remove_pods()


def test_firewalld_starts_and_stops_under_running_pods(scene: Scene) -> None:
    scene.pods()
    becomes(scene.of_pods, PODS)
    for _ in range(2):
        scene.firewalld.start()
        becomes(scene.of_pods, PODS)
        assert scene.firewalld.interfaces("trusted") == scene.bridges()
        scene.firewalld.stop()
        becomes(scene.of_pods, PODS)
    scene.remove_pods()


@pytest.mark.parametrize("scene", [{"firewall": {"firewalldZone": "pods"}}], indirect=True)
def test_a_zone_that_the_configuration_names(scene: Scene) -> None:
    """The administrator's own zone, with the administrator's own target."""
    scene.firewalld.start()
    scene.firewalld("--permanent", "--new-zone=pods")
    scene.firewalld("--permanent", "--zone=pods", "--set-target=ACCEPT")
    scene.firewalld.reload()
    scene.pods()
    becomes(scene.of_pods, PODS)
    assert scene.firewalld.interfaces("pods") == scene.bridges()
    assert scene.firewalld.interfaces("trusted") == set()
    scene.firewalld.reload()
    becomes(scene.of_pods, PODS)
    assert scene.firewalld.interfaces("pods") == scene.bridges()
    scene.remove_pods()
    assert scene.firewalld.interfaces("pods") == set()


@pytest.mark.parametrize("scene", [{"firewall": {"firewalldZone": "nowhere"}}], indirect=True)
def test_a_zone_that_is_not_there_is_refused_by_name(scene: Scene) -> None:
    """firewalld's own words reach the runtime, and nothing is left of the pod."""
    scene.firewalld.start()
    scene.node.add_netns("red")
    refused = scene.host.cni("ADD", "podnet", "red", **POD, firewall={"firewalldZone": "nowhere"})
    assert refused.code == 1
    assert "INVALID_ZONE" in refused.out
    assert not scene.host.leases("podnet")
    assert not {link for link in scene.node.links() if link.startswith("veth")}


def test_containers_of_dockers_beside_firewalld(scene: Scene) -> None:
    """dockerd makes a zone for its own bridges; those of its networks by this plugin are trusted, on reload too."""
    if why := docker_tests.missing():
        pytest.skip(why)
    scene.firewalld.start()
    with Dockerd(scene.node) as docker:
        docker("network", "create", *OURS, "--subnet", "10.90.0.0/24", "mynet")
        docker.start("web", "--net=mynet", "-p", "8081:80", command=("httpd", "-f", "-p", "80"))
        docker.start("other", "--net=mynet")
        scene.pods()
        web = docker.address("web", "mynet")
        ways = {
            "neighbour": lambda: docker.ping("other", web),
            "out": lambda: docker.ping("web", "192.0.2.9"),
            "published, from outside": lambda: scene.asks("192.0.2.1", 8081, OUTSIDE),
            "published, from a pod": lambda: scene.asks("192.0.2.1", 8081, "/run/netns/red"),
            "a pod": lambda: scene.ping("red", web),
        }
        wanted = {way: way != "a pod" for way in ways}
        becomes(lambda: together(ways), wanted)
        scene.firewalld.reload()
        becomes(lambda: together(ways), wanted)
        becomes(scene.of_pods, PODS)
        docker.remove("web", "other")
        docker("network", "rm", "mynet")
        scene.remove_pods()
        assert scene.firewalld.interfaces("trusted") == set()
        assert "docker0" in scene.firewalld.interfaces("docker")
