"""One network for Docker's containers and CNI's pods: one bridge, one address store, and neither disturbs the other."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.system.docker_host import OURS, DockerHost, docker_host
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED = (*OURS, "-o", "cni-cnm.network=podnet", "--ipam-opt", "cni-cnm.network=podnet")
SUBNET = {"ipam": {"type": "host-local", "subnet": "10.88.0.0/24"}}


@pytest.fixture(scope="module", params=("20.10", "29"))
def host(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[DockerHost]:
    with docker_host(tmp_path_factory.mktemp("docker"), release=request.param) as host:
        yield host


def test_docker_joins_a_network_of_pods_and_leaves_it_whole(host: DockerHost) -> None:
    docker = host.dockerd
    pod = host.add("podnet", "pod1", **SUBNET)
    assert "--subnet 10.88.0.0/24" in docker.refused("network", "create", *SHARED, "shared")
    foreign = ("--driver", "cni-cnm", "--subnet", "10.88.0.0/24", "-o", "cni-cnm.network=podnet")
    assert "--ipam-driver cni-cnm" in docker.refused("network", "create", *foreign, "shared")
    docker("network", "create", *SHARED, "--subnet", "10.88.0.0/24", "shared")
    docker.start("one", "--net=shared")
    address = docker.address("one", "shared")
    assert docker.ping("one", pod)
    assert host.node.ping(address, netns="/run/netns/pod1")
    assert "is leased to" in docker.refused("run", "--rm", "--net=shared", "--ip", pod, "box", "true")
    another = host.add("podnet", "pod2", **SUBNET)
    assert len({pod, address, another}) == 3
    refused = host.node.run(str(host.program), "network", "rm", "podnet")
    assert refused.code == 1
    docker.remove("one")
    assert set(host.leases("podnet")) == {pod, another}
    docker("network", "rm", "shared")
    assert set(host.leases("podnet")) == {pod, another}
    assert host.node.ping(another, netns="/run/netns/pod1")
    for name in ("pod1", "pod2"):
        host.delete("podnet", name, **SUBNET)
    assert not host.leases("podnet")
    host.node.run(str(host.program), "network", "rm", "podnet").ok()


@pytest.mark.skipif(
    not (shutil.which("dnsmasq") and shutil.which("dig")), reason="dnsmasq-base or bind9-dnsutils is not installed"
)
def test_pods_ask_for_docker_containers_by_name(host: DockerHost) -> None:
    """By name, alias and short id, from the next question after Docker knows them until it removes the container."""
    named = {"dnsEnabled": True, "ipam": {"type": "host-local", "subnet": "10.89.0.0/24"}}
    options = ("-o", "cni-cnm.network=named", "--ipam-opt", "cni-cnm.network=named", "--subnet", "10.89.0.0/24")

    def dig(*question: str) -> list[str]:
        command = ("dig", "+tries=1", "+time=1", "+short", "@10.89.0.1", *question)
        return host.node.run(*command, netns="/run/netns/asks").out.split()

    docker = host.dockerd
    pod = host.add("named", "asks", **named)
    docker("network", "create", *OURS, *options, "shared")
    until(lambda: dig("asks") == [pod], "an answer of the name server")
    identity = docker.start("Web_1", "--net=shared", "--network-alias=shop")
    address = docker.address("Web_1", "shared")
    until(lambda: dig("web_1") == [address], "the container's name")
    assert dig("shop.named.internal") == dig(identity[:12]) == [address]
    assert dig("-x", address) == ["web_1.named.internal."]
    listed = host.node.run(str(host.program), "network", "names", "named").ok()
    assert [line.split()[:3] for line in listed.out.splitlines() if " shop " in line] == [["named", "shop", address]]
    assert not listed.err
    assert "nameserver 127.0.0.11" in docker.execute("Web_1", "cat", "/etc/resolv.conf").out
    docker("network", "disconnect", "shared", "Web_1")
    assert not dig("web_1")
    docker.remove("Web_1")
    docker("network", "rm", "shared")
    host.delete("named", "asks", **named)
    host.node.run(str(host.program), "network", "rm", "named").ok()


def test_the_service_and_dockerd_restart(host: DockerHost) -> None:
    docker = host.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.20.0/24", "mynet")
    docker.start("one", "--net=mynet")
    host.stop_service()
    host.serve()
    docker.start("two", "--net=mynet")
    assert docker.ping("two", "one")
    docker.restart()
    docker("start", "one", "two")
    assert docker.ping("two", "one")
    docker.remove("one", "two")
    docker("network", "rm", "mynet")
    assert not host.records()
