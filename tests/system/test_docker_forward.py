"""Beside a real dockerd that drops what is forwarded: FORWARD has policy DROP, bridged frames pass iptables, too.

dockerd sets the policy where it was the one to turn forwarding on. Our networks and Docker's live beside each other in
every order, and of Docker's rules nothing is changed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.crossroads import OUTSIDE, POD, PODS, Crossroads, becomes, together
from tests.system.docker_host import OURS
from tests.system.dockerd import Dockerd, missing
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.dockerd import Release

BACKENDS = ["nft", "legacy"]
DOCKERS = (
    *(("20.10", backend) for backend in BACKENDS),
    *(pytest.param(("29", backend), marks=pytest.mark.long) for backend in BACKENDS),
)


class Scene(Crossroads):
    """With the `iptables` of a backend, and a dockerd that is started when the test says so."""

    def __init__(self, folder: Path, release: Release, backend: str) -> None:
        super().__init__(folder, forwarding=False)
        self.docker: Dockerd | None = None
        self.release: Release = release
        self.legacy = backend == "legacy"
        for program in (f"{family}tables{verb}" for family in ("ip", "ip6") for verb in ("", "-save", "-restore")):
            family, dash, verb = program.partition("-")
            link = self.node.path(f"/etc/alternatives/{program}")
            link.unlink()
            link.symlink_to(f"/usr/sbin/{family}-{backend}{dash}{verb}")

    def close(self) -> None:
        try:
            if self.docker is not None:
                self.docker.close()
        finally:
            super().close()

    def start_dockerd(self) -> Dockerd:
        """With forwarding off, as at boot: dockerd turns it on, and drops.

        Where our service has put forwarding back first, for networks that are there, dockerd leaves the policy alone.
        """
        self.node.run("sysctl", "-qw", "net.ipv4.ip_forward=0").ok()
        docker = self.docker = Dockerd(self.node, release=self.release)
        if self.policy() != "-P FORWARD DROP":
            self.node.run("iptables", "-P", "FORWARD", "DROP").ok()
        return docker

    def policy(self) -> str:
        return self.node.run("iptables", "-S", "FORWARD").ok().out.splitlines()[0]

    def rules(self, *, ours: bool) -> list[str]:
        """All of the filter table's, of one kind."""
        lines = self.node.run("iptables-save", "-t", "filter").ok().out.splitlines()
        return [line for line in lines if line.startswith(("-A", "-P")) and ("cni-cnm:" in line) is ours]

    def containers(self) -> None:
        """web publishes 8081, other is its neighbour: on a network of Docker's own by this plugin."""
        assert self.docker is not None
        self.docker("network", "create", *OURS, "--subnet", "10.90.0.0/24", "mynet")
        self.docker.start("web", "--net=mynet", "-p", "8081:80", command=("httpd", "-f", "-p", "80"))
        self.docker.start("other", "--net=mynet")
        self.web = self.docker.address("web", "mynet")

    def of_containers(self) -> dict[str, bool]:
        assert self.docker is not None
        docker = self.docker
        return together(
            {
                "neighbour": lambda: docker.ping("other", self.web),
                "out": lambda: docker.ping("web", "192.0.2.9"),
                "published, from outside": lambda: self.asks("192.0.2.1", 8081, OUTSIDE),
                "published, from the host": lambda: self.asks("127.0.0.1", 8081),
                "published, from a pod": lambda: self.asks("192.0.2.1", 8081, "/run/netns/red"),
                "another network": lambda: self.ping("red", self.web),
            }
        )


CONTAINERS = {
    "neighbour": True,
    "out": True,
    "published, from outside": True,
    "published, from the host": True,
    "published, from a pod": True,
    "another network": False,
}


@pytest.fixture(params=DOCKERS, ids="-".join)
def scene(require_root: None, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    release, backend = request.param
    if why := missing(release):
        pytest.skip(why)
    made = Scene(tmp_path, release, backend)
    yield made
    made.close()


def test_networks_made_while_dockerd_drops(scene: Scene) -> None:
    """Pods and containers on our networks work; Docker's rules stay word for word; ours go with their networks."""
    docker = scene.start_dockerd()
    before = scene.rules(ours=False)
    scene.pods()
    scene.containers()
    becomes(scene.of_pods, PODS)
    becomes(scene.of_containers, CONTAINERS)
    assert scene.rules(ours=False) == before
    assert len(scene.rules(ours=True)) == 2 * 3
    docker.remove("web", "other")
    docker("network", "rm", "mynet")
    assert len(scene.rules(ours=True)) == 2 * 2
    scene.remove_pods()
    assert scene.rules(ours=True) == []
    assert scene.rules(ours=False) == before


def test_dockerd_starts_and_restarts_under_running_pods(scene: Scene) -> None:
    """It starts after the networks, restarts, and its chains are flushed: pods go on.

    iptables legacy sends no notification, so there it takes the next ADD.
    """
    scene.pods()
    becomes(scene.of_pods, PODS)
    docker = scene.start_dockerd()
    changes: list[Any] = [lambda: None, docker.restart, lambda: scene.node.run("iptables", "-F", "FORWARD").ok()]
    for number, change in enumerate(changes):
        change()
        if scene.legacy:
            scene.host.add("podnet", f"next{number}", **POD)
        becomes(scene.of_pods, PODS)
        assert scene.policy() == "-P FORWARD DROP"
    scene.containers()
    becomes(scene.of_containers, CONTAINERS)
    docker.remove("web", "other")
    docker("network", "rm", "mynet")
    for number in range(3) if scene.legacy else ():
        scene.host.delete("podnet", f"next{number}", **POD)
    scene.remove_pods()
    assert scene.rules(ours=True) == []


def test_dockers_own_networks_are_as_without_us(scene: Scene) -> None:
    """Its containers reach each other, the outside, are reached by their published ports, and not unasked."""
    docker = scene.start_dockerd()
    scene.pods()
    docker("network", "create", "--subnet", "10.91.0.0/24", "theirs")
    docker.start("web", "--net=theirs", "-p", "8082:80", command=("httpd", "-f", "-p", "80"))
    docker.start("other", "--net=theirs")
    theirs, other = docker.address("web", "theirs"), docker.address("other", "theirs")
    becomes(scene.of_pods, PODS)
    assert docker.ping("other", theirs)
    assert docker.ping("web", "192.0.2.9")
    scene.answers("192.0.2.1", 8082, OUTSIDE)
    assert not scene.ping("outside", other)
    docker.remove("web", "other")
    docker("network", "rm", "theirs")
    becomes(scene.of_pods, PODS)


@pytest.mark.parametrize("when", ["our networks first", "docker first"])
def test_its_networks_and_ours_reach_published_ports_only(scene: Scene, when: str) -> None:
    """docker0 and a network that Docker made, in both directions; nothing of it depends on who came first."""
    if when == "our networks first":
        scene.pods()
    docker = scene.start_dockerd()
    docker("network", "create", "--subnet", "10.91.0.0/24", "theirs")
    docker.start("web", "--net=theirs", "-p", "8082:80", command=("httpd", "-f", "-p", "80"))
    docker.start("plain", command=("httpd", "-f", "-p", "80"))
    if when == "docker first":
        scene.pods()
    else:
        scene.host.add("podnet", "next", **POD)  # a new bridge is found by the next ADD, or by a service
    web, plain = docker.address("web", "theirs"), docker.address("plain", "bridge")

    def asks(container: str, address: str, port: int) -> bool:
        shell = f"echo 'GET /none HTTP/1.0' | nc -w 2 {address} {port} | grep -q 404"
        return docker.execute(container, "sh", "-c", shell).code == 0

    def of_addresses() -> dict[str, bool]:
        theirs = {f"{name}, {to}": partial(docker.ping, name, to) for name in ("web", "plain") for to in ours}
        return together(
            theirs | {f"{pod}, {to}": partial(scene.ping, pod, to) for pod in ("red", "far") for to in others}
        )

    ours, others = (scene.red, scene.blue), (web, plain)
    becomes(of_addresses, dict.fromkeys(of_addresses(), False))
    for name in ("web", "plain"):
        until(partial(asks, name, "192.0.2.1", 8080), f"the published port answers {name}")
    scene.answers("192.0.2.1", 8082, "/run/netns/red")
    assert docker.ping("plain", "192.0.2.9")
    becomes(scene.of_pods, PODS)
    docker.remove("web", "plain")
    docker("network", "rm", "theirs")
