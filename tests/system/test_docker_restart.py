"""dockerd and the service end in every order, in peace and by SIGKILL, while containers run: everything goes on.

dockerd replays nothing: what it made before it ended it only takes down again. After a live restore 20.10 sends no
RevokeExternalConnectivity, and 29 no Leave either: test_docker_traps.py has the tests message by message.
"""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.system.docker_host import OURS, DockerHost, docker_host
from tests.system.dockerd import EVERY_RELEASE
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED = ("-o", "cni-cnm.network=podnet", "--ipam-opt", "cni-cnm.network=podnet")
SUBNET = {"ipam": {"type": "host-local", "subnet": "10.88.0.0/24"}}
TERM, KILL = signal.SIGTERM, signal.SIGKILL
SIGNALS = pytest.mark.parametrize("sig", [TERM, KILL], ids=["SIGTERM", "SIGKILL"])


class Scene:
    """A pod and two containers on one network, one of them with a published port."""

    def __init__(self, host: DockerHost) -> None:
        self.host, self.docker = host, host.dockerd
        self.pod = host.add("podnet", "pod", **SUBNET)
        self.docker("network", "create", *OURS, "--subnet", "10.88.0.0/24", *SHARED, "mynet")
        self.docker.start("web", "--net=mynet", "-p", "8080:80", command=("httpd", "-f", "-p", "80"))
        self.docker.start("other", "--net=mynet")
        self.web = self.docker.address("web", "mynet")
        until(self.published, "the web server")
        self._logged = len(host.log())

    def published(self) -> bool:
        done = self.host.node.run("busybox", "wget", "-O-", "http://127.0.0.1:8080/")
        return done.code == 0 or "404" in done.err

    def works(self, *, docker: bool = True) -> None:
        """Pod to container, container to pod and container, the published port; `docker`: a dockerd runs."""
        assert self.published()
        assert self.host.node.ping(self.web, netns="/run/netns/pod")
        if docker:
            assert self.docker.ping("other", self.web)
            assert self.docker.ping("web", self.pod)

    def calls(self) -> list[str]:
        """Docker's calls since everything ran, from the service's log."""
        lines = self.host.log()[self._logged :].splitlines()
        return [line.partition("docker: ")[2].split()[0] for line in lines if "docker: " in line]

    def close(self) -> None:
        """Everything is removed as users do it, and must be gone."""
        host, docker = self.host, self.docker
        for name in docker("ps", "-aq").split():
            docker.remove(name)
        assert not self.published()
        docker("network", "rm", "mynet")
        assert set(host.leases("podnet").values()) == {"pod\r\neth0"}
        assert host.node.ping("10.88.0.1", netns="/run/netns/pod")
        host.delete("podnet", "pod", **SUBNET)
        host.node.run(str(host.program), "network", "rm", "podnet").ok()
        assert not host.records()
        assert not host.elements()
        assert not {link for link in host.node.links() if link.startswith(("veth", "br-", "tmp"))}


@pytest.fixture(scope="module", params=EVERY_RELEASE)
def host(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[DockerHost]:
    with docker_host(tmp_path_factory.mktemp("docker"), "--live-restore", release=request.param) as host:
        yield host


@pytest.fixture
def scene(host: DockerHost) -> Iterator[Scene]:
    made = Scene(host)
    yield made
    made.close()


@SIGNALS
def test_dockerd_is_restarted_under_its_containers(scene: Scene, sig: int) -> None:
    """Live restore: nothing is made again, and what is removed afterwards is gone, published ports too."""
    scene.docker.stop_daemon(sig)
    scene.works(docker=False)
    scene.docker.start_daemon()
    scene.works()
    scene.docker.remove("web")
    seen = set(scene.calls())
    assert {"NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint"} <= seen
    assert not {"NetworkDriver.CreateNetwork", "NetworkDriver.CreateEndpoint", "IpamDriver.RequestPool"} & seen
    assert not scene.published()
    scene.docker.start("next", "--net=mynet", "-p", "8080:80", command=("httpd", "-f", "-p", "80"))
    until(scene.published, "the next web server")


@SIGNALS
def test_the_service_is_restarted_under_dockerd(scene: Scene, sig: int) -> None:
    """While it is away everything that runs goes on, pods come and go; then Docker finds all as it was."""
    scene.host.stop_service(sig)
    scene.works()
    scene.host.add("podnet", "meanwhile", **SUBNET)
    scene.host.serve()
    scene.docker.start("third", "--net=mynet")
    assert scene.docker.ping("third", scene.web)
    scene.docker("restart", "-t0", "web")
    scene.web = scene.docker.address("web", "mynet")
    until(scene.published, "the web server")
    scene.works()
    scene.host.delete("podnet", "meanwhile", **SUBNET)


@pytest.mark.parametrize("first", ["dockerd", "service"])
@SIGNALS
def test_both_end_and_come_back(scene: Scene, sig: int, first: str) -> None:
    """Neither is there for a while."""
    if first == "service":
        scene.host.stop_service(sig)
    scene.docker.stop_daemon(sig)
    if first == "dockerd":
        scene.host.stop_service(sig)
    scene.works(docker=False)
    scene.host.serve()  # what it is like without is the next test
    scene.docker.start_daemon()
    scene.works()
    scene.docker("network", "disconnect", "mynet", "other")
    scene.docker("network", "connect", "mynet", "other")
    scene.works()


def test_a_dockerd_that_starts_without_the_service(scene: Scene) -> None:
    """It waits 15 s for the plugin, and starts. Its containers run on; with the service back, they are as they were."""
    scene.docker.stop_daemon()
    scene.host.stop_service()
    scene.docker.start_daemon()
    scene.works()
    scene.host.serve()
    scene.docker.start("third", "--net=mynet")
    scene.works()


@pytest.mark.parametrize("who", ["dockerd", "service"])
def test_killed_while_containers_start(scene: Scene, who: str) -> None:
    """In the middle of eight `docker run`: some have failed, the rest works, and what was begun leaves nothing."""
    names = [f"c{number}" for number in range(8)]
    count = len(scene.host.leases("podnet"))
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(scene.docker.try_, "run", "-d", "--name", n, "--net=mynet", "box") for n in names]
        until(lambda: len(scene.host.leases("podnet")) >= count + 2, "the first of them")
        if who == "dockerd":
            scene.docker.stop_daemon(KILL)
            scene.docker.start_daemon()
        else:
            scene.host.stop_service(KILL)
            scene.host.serve()
        for one in running:
            one.result()
    scene.works()
    scene.docker.start("after", "--net=mynet")
    assert scene.docker.ping("after", scene.web)
