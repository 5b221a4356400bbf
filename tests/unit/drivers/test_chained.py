"""Endpoints on interfaces of other plugins, on a kernel in memory: what is found, added, and left alone."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.drivers import drivers
from cni_cnm.drivers.chained import ChainedOptions
from cni_cnm.errors import CheckFailed, InvalidConfig
from cni_cnm.firewall import INET, Policy
from cni_cnm.model import (
    Address,
    Attachment,
    Bandwidth,
    Dns,
    EndpointSpec,
    Interface,
    IpamSpec,
    NetworkSpec,
    PortMapping,
    Tuning,
)
from tests.unit.drivers.world import World

DRIVER = drivers.get("chained")
PORTS = (PortMapping("tcp", 8080, 80),)
FIREWALL: dict[str, Any] = {"ingresspolicy": "same-bridge"}
ADDRESS = ip_interface("10.6.0.2/24")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Container a has eth0, a veth whose other end on the host is vetha."""
    made = World(tmp_path)
    inside = made.containers["a"]
    made.host.add_veth("vetha", peer="eth0", peer_stack=inside)
    made.host.set_link(made.link("vetha").ifindex, up=True)
    inside.set_link(made.link("eth0", inside).ifindex, up=True)
    inside.add_address(made.link("eth0", inside).ifindex, ADDRESS)
    return made


def net(*, internal: bool = False, **options: Any) -> NetworkSpec:
    return NetworkSpec("net", "chained", options, IpamSpec(""), internal)


def attach(world: World, network: NetworkSpec, container: str = "a", **more: Any) -> Attachment:
    link = world.link("eth0", world.containers[container])
    previous = Attachment(
        (Interface("eth0", link.mac, link.mtu, f"/netns/{container}"),), (Address(ADDRESS),), (), Dns(), 0
    )
    return world.attach(network, container, previous=previous, **more)


def bridged(world: World, name: str = "br0") -> None:
    world.host.add_bridge(name, mac="02:00:00:00:00:01")
    world.host.set_link(world.link("vetha").ifindex, master=world.link(name).ifindex)


def sets(world: World) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for element in world.nft.elements(INET):
        found.setdefault(element.set, set()).add(element.key)
    return found


@pytest.mark.parametrize(
    "options",
    [
        ChainedOptions(),
        ChainedOptions(True),
        ChainedOptions(True, "isolated", True, "dmz", "ADMIN"),
        ChainedOptions(True, "same-bridge", bridge="br0"),
        ChainedOptions(True, "same-bridge", bridge="vetha", alone=True),
    ],
)
def test_options_as_the_record_has_them(options: ChainedOptions) -> None:
    """What comes back is what went in; 0.1.0 has the same keys, and none without a block `firewall`."""
    raw = options.to_json()
    assert DRIVER.restore(raw) == options
    assert bool(raw) is options.filters
    assert raw.keys() <= {"ingress", "internal", "zone", "admin_chain", "bridge", "alone"}


def test_without_a_block_firewall_there_is_no_policy(world: World) -> None:
    """Ports are published all the same."""
    assert DRIVER.policy(DRIVER.options(net())) == Policy()
    attach(world, net(), ports=PORTS)
    assert not sets(world).keys() & {"networks", "internal", "allowed"}
    assert "ports4" in sets(world)


def test_the_interface_and_its_end_stay(world: World) -> None:
    """ADD reports what was there, CHECK agrees, DEL takes away only what was added."""
    before = world.link("vetha"), world.link("eth0", world.containers["a"])
    made = attach(world, net(), ports=PORTS)
    assert [interface.name for interface in made.interfaces] == ["vetha", "eth0"]
    assert [address.interface for address in made.addresses] == [ADDRESS]
    world.check(net())
    world.detach(net())
    assert (world.link("vetha"), world.link("eth0", world.containers["a"])) == before
    assert sets(world) == {}


def test_the_policy_goes_by_the_bridge(world: World) -> None:
    """A port's bridge is found, and the network's policy is that bridge's."""
    bridged(world)
    made = attach(world, net(**FIREWALL))
    assert [interface.name for interface in made.interfaces] == ["br0", "vetha", "eth0"]
    assert sets(world) == {"networks": {'"br0"'}, "allowed": {'"br0" . "br0"'}}
    world.detach(net())
    assert sets(world) == {"networks": {'"br0"'}, "allowed": {'"br0" . "br0"'}}, (
        "it is the network's, not the endpoint's"
    )


@pytest.mark.parametrize("name", ['br"0', "br+"])
def test_a_bridge_that_packet_filters_misread(world: World, name: str) -> None:
    """Another program chose the name: our own tables take it byte by byte."""
    bridged(world, name)
    attach(world, net(**FIREWALL))
    assert sets(world) == {"networks": {f'"{name}"'}, "allowed": {f'"{name}" . "{name}"'}}


def test_the_policy_of_a_link_without_bridge(world: World) -> None:
    """A foreign ptp: the host's end is a network of one endpoint, and goes with it."""
    attach(world, net(**FIREWALL))
    assert sets(world) == {"networks": {'"vetha"'}, "allowed": {'"vetha" . "vetha"'}}
    world.detach(net())
    assert sets(world) == {}


@pytest.mark.parametrize(
    ("network", "request_", "what"),
    [
        (net(), {"ports": PORTS}, "publish a port"),
        (net(), {"bandwidth": Bandwidth(8000, 8000)}, "limit bandwidth"),
        (net(**FIREWALL), {}, "filter"),
        (net(internal=True), {}, "filter"),
    ],
)
def test_what_needs_an_end_on_the_host(world: World, network: NetworkSpec, request_: dict[str, Any], what: str) -> None:
    """A macvlan has none: refused before anything is changed. Tuning alone is added."""
    inside = world.containers["b"]
    world.host.add_macvlan("eth0", world.link("eth1").ifindex, mode="bridge", to=inside)
    with pytest.raises(InvalidConfig, match=f"nothing to {what} by"):
        attach(world, network, "b", **request_)
    assert not list(world.controller.networks())
    made = attach(world, net(), "b", tuning=Tuning(promisc=True))
    assert [interface.name for interface in made.interfaces] == ["eth0"]
    assert world.link("eth0", inside).promisc


def test_an_interface_that_is_not_there(world: World) -> None:
    """prevResult names one that the container does not have."""
    with pytest.raises(InvalidConfig, match="has no interface eth0"):
        world.controller.attach(
            net(), EndpointSpec("b", "eth0", "/netns/b", "test", previous=Attachment((), (), (), Dns(), None))
        )


def test_check_of_an_interface_that_went(world: World) -> None:
    attach(world, net())
    world.host.delete_link(world.link("vetha").ifindex)
    with pytest.raises(CheckFailed, match="eth0 is missing"):
        world.check(net())


def test_what_an_edit_may_not_change() -> None:
    """The policy and the bridge of a network with a block `firewall`; nothing without one."""
    assert DRIVER.fixed(ChainedOptions()) == {}
    assert DRIVER.fixed(ChainedOptions(True, "isolated")) == {"ingressPolicy": "isolated"}
    assert DRIVER.fixed(ChainedOptions(True, bridge="br0")) == {"bridge": "br0", "ingressPolicy": "open"}
