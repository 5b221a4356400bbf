"""The host driver on a kernel in memory: the sandbox is the host's own namespace, and nothing is made there."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.drivers import EndpointPlan, Place, drivers
from cni_cnm.drivers.options import NoOptions
from cni_cnm.errors import CheckFailed, Forbidden, InvalidConfig
from cni_cnm.firewall import Policy
from cni_cnm.model import IpamSpec, NetworkSpec
from tests.unit.drivers.world import World

DRIVER = drivers.get("host")
NETWORK = NetworkSpec("node", "host", {}, IpamSpec(""))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_host_s_own_namespace(world: World) -> None:
    """An endpoint joins and leaves; links, addresses and sysctls are as before."""
    world.namespaces.name_host("/netns/host")
    before = world.host.links(), world.host.routes()
    network = world.controller.new_network("node", driver="host")
    sandbox = world.controller.new_sandbox("c1", "/netns/host")
    endpoint = network.create_endpoint("web")
    made = endpoint.join(sandbox)
    assert [interface.name for interface in made.interfaces] == ["lo"]
    assert (made.addresses, made.routes) == ((), ())
    endpoint.leave()
    endpoint.delete()
    network.delete()
    assert (world.host.links(), world.host.routes()) == before
    assert not world.nft.sets


def test_another_namespace_is_refused(world: World) -> None:
    """ADD says why; CHECK notices a sandbox that is another one now."""
    inside = Place(world.containers["a"], "eth0", "/netns/a")
    plan = EndpointPlan("e" * 64, "veth0", "", ())
    with pytest.raises(Forbidden, match="has a namespace of its own"):
        DRIVER.create_endpoint(NoOptions(), plan, world.host, inside)
    with pytest.raises(CheckFailed, match="is not in the host's network"):
        DRIVER.check_endpoint(NoOptions(), plan, world.host, inside)
    DRIVER.check_endpoint(NoOptions(), plan, world.host, Place(world.host, "", "/netns/host"))


def test_it_has_no_options() -> None:
    """No addresses and no labels; nothing for the packet filter, no interface for the sandbox."""
    options = DRIVER.options(NETWORK)
    assert (options, DRIVER.restore({}), options.to_json()) == (NoOptions(), NoOptions(), {})
    assert DRIVER.policy(options) == Policy()
    assert DRIVER.role(options).interface == "none"
    assert not DRIVER.configuration.addresses
    for wrong in (
        NETWORK._replace(ipam=IpamSpec("host-local")),
        NETWORK._replace(ipam=IpamSpec("", {"subnet": "10.1.0.0/24"})),
        NETWORK._replace(options={"labels": {"parent": "eth0"}}),
    ):
        with pytest.raises(InvalidConfig, match="the driver host"):
            DRIVER.options(wrong)


def test_no_cni_configuration_can_name_it() -> None:
    """A runtime calls no plugin for a pod in the host's network."""
    assert "no interface of its own" in DRIVER.configuration.refused
