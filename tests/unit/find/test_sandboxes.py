"""Sandboxes of all frontends, and whether their namespace is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.errors import InvalidConfig, NoSuchSandbox
from cni_cnm.find.sandboxes import GONE, REPLACED, THERE, find_sandbox, sandboxes, state_of
from tests.unit.cnm.docker.dockerd import Dockerd
from tests.unit.find.pods import NETWORK, Pods

OTHER = NETWORK._replace(name="other", ipam=NETWORK.ipam._replace(config={"ranges": [[{"subnet": "10.2.0.0/24"}]]}))


@pytest.fixture
def pods(tmp_path: Path) -> Pods:
    made = Pods(tmp_path)
    made.add("c1", "shop/web", ifname="net1", network=OTHER)
    made.add("c1", "shop/web")
    made.add("c2", "shop/db")
    return made


def test_endpoints_in_the_order_they_joined(pods: Pods) -> None:
    web = find_sandbox(pods.host, "shop/web")
    assert [one.container for one in sandboxes(pods.host)] == ["shop/db", "shop/web"]
    assert [one.record.network for one in web.endpoints] == ["other", "podnet"]
    assert (web.container_id, web.netns) == ("c1", "/run/netns/c1")
    assert web.gateways[4] in [one.record.id for one in web.endpoints]
    assert web.id == pods.controller.sandbox("c1").id


def test_by_any_of_its_names(pods: Pods) -> None:
    web = find_sandbox(pods.host, "c1")
    for wanted in (web.id, web.id[:12], "shop/web", "10.2.0.2", "/run/netns/c1", web.endpoints[0].record.id[:12]):
        assert find_sandbox(pods.host, wanted) == web


@pytest.mark.parametrize("wanted", ["", "nope"])
def test_none_is_found(pods: Pods, wanted: str) -> None:
    with pytest.raises(NoSuchSandbox, match="there is no sandbox"):
        find_sandbox(pods.host, wanted)


def test_several_are_not_one(pods: Pods) -> None:
    pods.add("c3", "other/web")
    with pytest.raises(InvalidConfig, match="'web' is the name of 3 endpoints"):
        find_sandbox(pods.host, "web")


def test_state(pods: Pods) -> None:
    web = find_sandbox(pods.host, "c1")
    assert state_of(pods.host, web) == THERE
    pods.namespaces.create("/run/netns/c1")
    assert state_of(pods.host, web) == REPLACED
    pods.namespaces.remove("/run/netns/c1")
    assert state_of(pods.host, web) == GONE


def test_a_sandbox_of_docker(tmp_path: Path) -> None:
    """Docker says no container id: the path stands for it."""
    docker = Dockerd(tmp_path)
    for name, subnet, address in (("red", "10.1.0.0/24", "10.1.0.2/24"), ("blue", "10.2.0.0/24", "10.2.0.2/24")):
        docker.network(name, subnet)
        docker.join(docker.endpoint(name, name, address), "box")
    (one,) = sandboxes(docker.host)
    assert (one.netns, len(one.endpoints), state_of(docker.host, one)) == ("/run/docker/netns/box", 2, THERE)
    assert find_sandbox(docker.host, "10.2.0.2") == one == find_sandbox(docker.host, one.id[:12])


def test_a_sandbox_that_nothing_has_joined(pods: Pods) -> None:
    """The library has made it."""
    pods.namespaces.create("/run/netns/alone")
    made = pods.controller.new_sandbox("alone", "/run/netns/alone")
    for wanted in ("alone", "/run/netns/alone", made.id, made.id[:9]):
        found = find_sandbox(pods.host, wanted)
        assert (found.id, found.container, list(found.endpoints)) == (made.id, "alone", [])
    assert state_of(pods.host, found) == THERE
    pods.namespaces.remove("/run/netns/alone")
    assert state_of(pods.host, found) == GONE
    assert len(sandboxes(pods.host)) == 3
