"""What only Docker 29 has: priorities of gateways, and a packet filter of its own in nftables.

Tests that both releases pass are in the other files, where 29 is a parameter.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.system.crossroads import PODS, Crossroads, becomes, together
from tests.system.docker_host import OURS, docker_host
from tests.system.dockerd import Dockerd, missing
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.docker_host import DockerHost


def test_the_default_gateway_and_the_ports_are_where_the_priority_says(require_root: None, tmp_path: Path) -> None:
    """`--gw-priority` chooses the network; when it is left and joined again, route and published port follow."""
    with docker_host(tmp_path, release="29") as host:
        docker = host.dockerd
        for name, subnet in (("aa", "172.30.1.0/24"), ("bb", "172.30.2.0/24")):
            docker("network", "create", *OURS, "--subnet", subnet, name)
        networks = ("--net", "name=aa,gw-priority=0", "--net", "name=bb,gw-priority=10")
        docker.start("web", *networks, "-p", "8080:80", command=("httpd", "-f", "-p", "80"))
        for change, network, gateway in (
            ((), "bb", "172.30.2.1"),
            (("disconnect", "bb", "web"), "aa", "172.30.1.1"),
            (("connect", "--gw-priority", "20", "bb", "web"), "bb", "172.30.2.1"),
        ):
            if change:
                docker("network", *change)
            route = docker.execute("web", "ip", "route", "show", "default").ok().out.split()
            assert route[:3] == ["default", "via", gateway]
            assert _target(host) == docker.address("web", network)
            until(partial(_answers, host), "the published port answers")
        docker.remove("web")
        assert not _target(host)


@pytest.mark.long
def test_each_ip_version_is_published_by_its_own_gateway(require_root: None, tmp_path: Path) -> None:
    """IPv4 by one network, IPv6 by another one; also where Docker's own driver has the one of IPv4."""
    with docker_host(tmp_path, release="29") as host:
        docker = host.dockerd
        host.node.run("ip", "address", "add", "2001:db8:9::2/64", "dev", "lo", "nodad").ok()
        docker("network", "create", *OURS, "--ipv6", "--subnet", "172.30.3.0/24", "--subnet", "fd00:3::/64", "dual")
        docker("network", "create", *OURS, "--subnet", "172.30.4.0/24", "front")
        docker("network", "create", "--subnet", "172.30.5.0/24", "theirs")
        for other in ("front", "theirs"):
            networks = ("--net", "name=dual", "--net", f"name={other},gw-priority=1")
            docker.start("web", *networks, "-p", "8080:80", command=("httpd", "-f", "-p", "80"))
            assert _target(host) == (docker.address("web", "front") if other == "front" else "")
            assert _target(host, 6) == docker.address("web", "dual", family=6)
            for address in ("127.0.0.1", "[2001:db8:9::2]"):
                until(partial(_answers, host, address), "the published port answers")
            docker("network", "disconnect", other, "web")
            assert _target(host) == docker.address("web", "dual")
            docker("network", "connect", "--gw-priority", "1", other, "web")
            docker("network", "disconnect", "dual", "web")
            assert _target(host) == (docker.address("web", "front") if other == "front" else "")
            assert not _target(host, 6)
            until(partial(_answers, host), "the published port answers")
            docker.remove("web")


def _answers(host: DockerHost, address: str = "127.0.0.1") -> bool:
    return "404" in host.node.run("busybox", "wget", "-O-", f"http://{address}:8080/none").err


def _target(host: DockerHost, version: int = 4) -> str:
    """Where the port 8080 is redirected to; "" if it is not published."""
    listed = host.node.run("nft", "list", "map", "inet", "cni_cnm", f"ports{version}").out
    _, _, found = listed.partition("8080")
    return found.partition(" : ")[2].split()[0] if found else ""


@pytest.fixture
def scene(require_root: None, tmp_path: Path) -> Iterator[Crossroads]:
    if why := missing("29"):
        pytest.skip(why)
    made = Crossroads(tmp_path)
    yield made
    made.close()


@pytest.mark.long
@pytest.mark.parametrize("when", ["our networks first", "docker first"])
def test_beside_dockers_rules_in_nftables(scene: Crossroads, when: str) -> None:
    """`--firewall-backend=nftables`: neither reaches the other's unpublished ports, and all published ones answer."""
    if when == "our networks first":
        scene.pods()
    with Dockerd(scene.node, "--firewall-backend=nftables", release="29") as docker:
        assert "docker-bridges" in scene.node.run("nft", "list", "tables").out
        docker("network", "create", "--subnet", "10.91.0.0/24", "theirs")
        docker.start("web", "--net=theirs", "-p", "8082:80", command=("httpd", "-f", "-p", "80"))
        docker("network", "create", *OURS, "--subnet", "10.90.0.0/24", "mynet")
        docker.start("ours", "--net=mynet", "-p", "8081:80", command=("httpd", "-f", "-p", "80"))
        if when == "docker first":
            scene.pods()
        web, ours = docker.address("web", "theirs"), docker.address("ours", "mynet")
        becomes(scene.of_pods, PODS)
        apart = together(
            {
                "pod to theirs": lambda: scene.ping("red", web),
                "pod to ours": lambda: scene.ping("red", ours),
                "theirs to pod": lambda: docker.ping("web", scene.red),
                "theirs to ours": lambda: docker.ping("web", ours),
                "ours to theirs": lambda: docker.ping("ours", web),
                "outside to ours": lambda: scene.ping("outside", ours),
            }
        )
        assert not any(apart.values()), apart
        for port in (8081, 8082):
            scene.answers("192.0.2.1", port, "/run/netns/outside")
            scene.answers("192.0.2.1", port, "/run/netns/red")
        assert docker.ping("ours", "192.0.2.9")
        docker.remove("web", "ours")
        docker("network", "rm", "mynet", "theirs")
    becomes(scene.of_pods, PODS)
