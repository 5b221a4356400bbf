"""Commands for people: quoted for a shell, and those of the runtime that a container is of."""

from __future__ import annotations

from typing import Any

import pytest

from cni_cnm.cnm.records import READY, EndpointRecord
from cni_cnm.docker_server.docker_api import DockerContainer
from cni_cnm.doctor.commands import command, inside, make_again, sysctl
from cni_cnm.drivers import drivers
from cni_cnm.find.endpoint_names import NamedEndpoint
from cni_cnm.model import Pod


def test_words_are_quoted() -> None:
    assert command("mv", "/etc/cni/net.d/a b", "$HOME") == "mv '/etc/cni/net.d/a b' '$HOME'"
    assert sysctl("net/ipv4/conf/eth0.5/forwarding", "1") == "sysctl -w net/ipv4/conf/eth0.5/forwarding=1"
    assert inside("/run/netns/c 1", "ip", "link") == "nsenter '--net=/run/netns/c 1' -- ip link"


UNKNOWN = DockerContainer()


def endpoint(owner: str, container: str, docker: DockerContainer = UNKNOWN, **more: Any) -> NamedEndpoint:
    options = drivers.get("null").restore({})
    record = EndpointRecord("0123456789abcdef", "net", "1", "eth0", "null", options, owner, READY, "epoch")
    return NamedEndpoint(record._replace(container_id=container, **more), docker)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (endpoint("cni/containerd", "6f1d", pod=Pod("front-0", "web", "")), "crictl stopp 6f1d"),
        (endpoint("cni/crio", "6f1d", pod=Pod("front-0", "web", "")), "crictl stopp 6f1d"),
        (endpoint("cni/podman", "6f1d"), "podman restart 6f1d"),
        (endpoint("cni/nerdctl", "k8s.io-6f1d"), "nerdctl --namespace k8s.io restart 6f1d"),
        (endpoint("docker", "", DockerContainer("web", "6f1d"), docker_network="77"), "docker restart web"),
        (endpoint("docker", "", docker_network="77"), "cni-cnm endpoint rm --force 0123456789ab"),
        (endpoint("cni/containerd", "6f1d"), "cni-cnm endpoint rm --force 0123456789ab"),
        (endpoint("library", "6f1d"), "cni-cnm endpoint rm --force 0123456789ab"),
    ],
)
def test_the_network_is_made_again_by_the_runtime(given: NamedEndpoint, expected: str) -> None:
    assert make_again(given) == (expected,)
    if "endpoint rm" in expected:  # nothing of a container that has its link is removed
        expected = "cni-cnm endpoint inspect 0123456789ab"
    assert make_again(given, joined=True) == (expected,)
