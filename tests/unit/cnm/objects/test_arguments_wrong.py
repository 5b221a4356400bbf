"""Whatever a program gives a public method: InvalidConfig or another error of the tree, and nothing was made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cni_cnm import CnmError, Controller, Endpoint, InvalidConfig, Network
from cni_cnm.settings import resolve
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces

WRONG: list[Any] = [
    None, True, 0, -1, 2.5, "", "\0", "\n", "\ud800", "a/b", "../x", "x" * 300, b"x", object(), [None], [[]], (1, 2),
    {}, {"x": "y"}, {1: 2}, {"x": object()}, [object()], lambda: None, float("nan"), 10**30,
]  # fmt: skip
SUBNET = {"subnet": "10.77.0.0/24"}


class World:
    """A controller over a kernel in memory, with a network, an endpoint and a sandbox."""

    def __init__(self, folder: Path) -> None:
        namespaces = MemoryNamespaces()
        namespaces.create("/run/netns/red")
        self.folder = folder
        self.controller = Controller(memory_host(folder, namespaces))
        self.network: Network = self.controller.new_network("there", ipam_config=SUBNET)
        self.endpoint: Endpoint = self.network.create_endpoint("there")
        self.sandbox = self.controller.new_sandbox("there", "/run/netns/red")

    def files(self) -> set[str]:
        return {str(path) for path in self.folder.rglob("*") if path.is_file() and path.name != "locks"}


Call = Callable[[World, Any], object]
CALLS: dict[str, Call] = {
    "settings": lambda world, wrong: resolve(wrong),
    "new_network name": lambda world, wrong: world.controller.new_network(wrong, ipam_config=SUBNET),
    "new_network driver": lambda world, wrong: world.controller.new_network("new", driver=wrong),
    "new_network options": lambda world, wrong: world.controller.new_network("new", options=wrong),
    "new_network option": lambda world, wrong: world.controller.new_network("new", options={"mtu": wrong}),
    "new_network label": lambda world, wrong: world.controller.new_network("new", options={"labels": wrong}),
    "new_network ipam_type": lambda world, wrong: world.controller.new_network("new", ipam_type=wrong),
    "new_network ipam_config": lambda world, wrong: world.controller.new_network("new", ipam_config=wrong),
    "new_network subnet": lambda world, wrong: world.controller.new_network("new", ipam_config={"subnet": wrong}),
    "new_network ranges": lambda world, wrong: world.controller.new_network("new", ipam_config={"ranges": wrong}),
    "new_network range": lambda world, wrong: world.controller.new_network("new", ipam_config={"ranges": [[wrong]]}),
    "new_network routes": lambda world, wrong: world.controller.new_network(
        "new", ipam_config={**SUBNET, "routes": wrong}
    ),
    "new_network internal": lambda world, wrong: world.controller.new_network("new", internal=wrong),
    "new_network labels": lambda world, wrong: world.controller.new_network("new", labels=wrong),
    "network": lambda world, wrong: world.controller.network(wrong),
    "allow": lambda world, wrong: world.controller.allow("there", wrong),
    "revoke": lambda world, wrong: world.controller.revoke(wrong, "there"),
    "new_sandbox id": lambda world, wrong: world.controller.new_sandbox(wrong, "/run/netns/red"),
    "new_sandbox netns": lambda world, wrong: world.controller.new_sandbox("new", wrong),
    "sandbox": lambda world, wrong: world.controller.sandbox(wrong),
    "endpoint": lambda world, wrong: world.network.endpoint(wrong),
    "create_endpoint name": lambda world, wrong: world.network.create_endpoint(wrong),
    "create_endpoint mac": lambda world, wrong: world.network.create_endpoint("new", mac=wrong),
    "create_endpoint addresses": lambda world, wrong: world.network.create_endpoint("new", addresses=wrong),
    "create_endpoint address": lambda world, wrong: world.network.create_endpoint("new", addresses=[wrong]),
    "create_endpoint ports": lambda world, wrong: world.network.create_endpoint("new", ports=wrong),
    "create_endpoint port": lambda world, wrong: world.network.create_endpoint("new", ports=[wrong]),
    "create_endpoint hostPort": lambda world, wrong: world.network.create_endpoint(
        "new", ports=[{"hostPort": wrong, "containerPort": 80}]
    ),
    "create_endpoint hostIP": lambda world, wrong: world.network.create_endpoint(
        "new", ports=[{"hostPort": 80, "containerPort": 80, "hostIP": wrong}]
    ),
    "create_endpoint bandwidth": lambda world, wrong: world.network.create_endpoint("new", bandwidth=wrong),
    "create_endpoint rate": lambda world, wrong: world.network.create_endpoint(
        "new", bandwidth={"ingressRate": wrong, "ingressBurst": 800}
    ),
    "create_endpoint tuning": lambda world, wrong: world.network.create_endpoint("new", tuning=wrong),
    "create_endpoint sysctl": lambda world, wrong: world.network.create_endpoint("new", tuning={"sysctl": wrong}),
    "create_endpoint sysctls": lambda world, wrong: world.network.create_endpoint("new", tuning={"sysctls": wrong}),
    "create_endpoint mtu": lambda world, wrong: world.network.create_endpoint("new", tuning={"mtu": wrong}),
    "create_endpoint owner": lambda world, wrong: world.network.create_endpoint("new", owner=wrong),
    "join sandbox": lambda world, wrong: world.endpoint.join(wrong),
    "join ifname": lambda world, wrong: world.endpoint.join(world.sandbox, ifname=wrong),
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_anything(call: Call, tmp_path: Path) -> None:
    """No other exception, whatever it is; and where it is refused no file is changed."""
    world = World(tmp_path / "first")
    for number, wrong in enumerate(WRONG):
        before = world.files()
        try:
            call(world, wrong)
        except CnmError as error:
            said = error.msg
        else:  # it was a right one
            world = World(tmp_path / str(number))
            continue
        assert said, repr(wrong)
        assert said.isprintable(), repr(wrong)
        assert len(said) < 1000, repr(wrong)
        assert world.files() == before, repr(wrong)


@pytest.mark.parametrize(
    ("name", "wrong", "sentence"),
    [
        ("new_network name", "../x", "a network's name is \"../x\", it must be a name of letters"),
        ("new_network name", None, "a network's name is null, it must be a string"),
        ("new_network driver", "no driver", "driver is \"no driver\""),
        ("new_network options", {"mtoo": 1400}, "options has \"mtoo\", which the driver bridge does not read"),
        ("new_network options", [], "options is a list, it must be a dict"),
        ("new_network internal", "yes", "internal is \"yes\", it must be True or False"),
        ("new_network labels", {"a": 1}, "the label a is 1, it must be a string"),
        ("new_sandbox id", 5, "a container's id is 5, it must be a string"),
        ("new_sandbox netns", 5, "netns is 5, it must be a path"),
        ("create_endpoint name", "a\nb", "an endpoint's name is \"a\\nb\""),
        ("create_endpoint mac", 5, "mac is 5, it must be a string"),
        ("create_endpoint ports", "8080:80", "ports is \"8080:80\", it must be a list"),
        ("create_endpoint owner", "\n", "owner is \"\\n\""),
        ("join sandbox", "there", "sandbox is \"there\", it must be a Sandbox"),
        ("join ifname", "a/b", "ifname is \"a/b\", it must be an interface name"),
        ("settings", 5, "settings is 5, it must be a Settings or the path of a file"),
    ],
)  # fmt: skip
def test_the_sentence_names_the_argument(world: World, name: str, wrong: Any, sentence: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        CALLS[name](world, wrong)
    assert refused.value.msg.startswith(sentence)
