"""macvlan and ipvlan networks through the whole engine, on a kernel in memory: what this machine's may not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.interface import configure_interface
from cni_cnm.drivers import drivers
from cni_cnm.drivers.parent_link_device import ALIAS
from cni_cnm.drivers.parent_link_options import ParentLinkOptions
from cni_cnm.errors import (
    CheckFailed,
    CnmError,
    Conflict,
    InvalidConfig,
    KernelError,
    KernelFeatureMissing,
    NotReady,
)
from cni_cnm.model import IpamSpec, NetworkSpec, PortMapping
from tests.unit.drivers.world import World

SUBNET = {"subnet": "192.0.2.0/24"}
MAC = "02:00:00:00:00:77"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


MTU: dict[str, Any] = {"com.docker.network.driver.mtu": "9000"}


def net(kind: str, name: str = "lan", *, internal: bool = False, **labels: Any) -> NetworkSpec:
    return NetworkSpec(name, kind, {"profile": "cnm", "labels": labels}, IpamSpec("host-local", SUBNET), internal)


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_a_container_s_life(world: World, kind: str) -> None:
    """ADD, CHECK, DEL: link, address, default route by the gateway; afterwards nothing, and the parent unchanged."""
    network = net(kind, parent="eth1")
    before = world.link("eth1")
    made = world.attach(network)
    link = world.link("eth0", world.containers["a"])
    assert (link.kind, link.up, link.peer) == (kind, True, before.ifindex)
    assert [interface.name for interface in made.interfaces] == ["eth0"]
    assert (made.container_index, made.interfaces[0].mac, made.interfaces[0].sandbox) == (0, link.mac, "/netns/a")
    assert [str(a.interface) for a in made.addresses] == ["192.0.2.2/24"]
    assert [(str(r.dst), str(r.gw)) for r in made.routes] == [("0.0.0.0/0", "192.0.2.1")]
    assert (link.mac == before.mac) is (kind == "ipvlan")
    world.check(network)
    assert world.controller.network("lan").endpoint("eth0").record.mac == link.mac
    world.detach(network)
    assert world.containers["a"].link("eth0") is None
    assert world.link("eth1") == before
    assert not list(world.controller.network("lan").endpoints())
    world.controller.network("lan").delete()


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_the_parent_is_the_way_out_by_default(world: World, kind: str) -> None:
    """Nothing named: the link of the default route; without one that is said."""
    world.attach(net(kind))
    assert world.link("eth0", world.containers["a"]).peer == world.link("eth0").ifindex
    world.check(net(kind))
    world.host.set_link(world.link("eth0").ifindex, up=False)  # takes the route along
    with pytest.raises(InvalidConfig, match="no default route"):
        world.attach(net(kind), "b")


def test_routed_ipvlan_has_its_link_for_default_route(world: World) -> None:
    """l3: no gateway in addresses or routes."""
    made = world.attach(net("ipvlan", parent="eth1", ipvlan_mode="l3"))
    assert [address.gateway for address in made.addresses] == [None]
    assert [(str(route.dst), route.gw) for route in made.routes] == [("0.0.0.0/0", None)]
    index = world.link("eth0", world.containers["a"]).ifindex
    routes = world.containers["a"].routes(link=index)
    assert [route.gw for route in routes if not route.dst.prefixlen] == [None]
    world.check(net("ipvlan", parent="eth1", ipvlan_mode="l3"))


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_internal_network_has_a_parent_of_its_own(world: World, kind: str) -> None:
    """An ifb with the network, gone with the network; no default route. With one of another kind there: refused."""
    network = net(kind, internal=True)
    for container in "ab":
        assert world.attach(network, container).routes == ()
    options = world.controller.network("lan").record.options
    assert isinstance(options, ParentLinkOptions)
    private = world.link(options.private)
    assert (private.kind, private.up) == ("ifb", True)
    assert {world.link("eth0", world.containers[c]).peer for c in "ab"} == {private.ifindex}
    for container in "ab":
        world.detach(network, container)
    world.controller.network("lan").delete()
    assert world.host.link(private.name) is None
    world.host.add_bridge(private.name, mac=MAC)
    with pytest.raises(Conflict, match="is no ifb"):
        world.attach(network)


def test_a_vlan_is_made_and_goes_with_its_last_network(world: World) -> None:
    """parent eth1.50 is made with the first network on it, marked, and removed with the last one only."""
    first, second = (
        net("macvlan", "one", parent="eth1.50"),
        net("macvlan", "two", parent="eth1.50")._replace(allow_overlap=True),
    )
    world.attach(first)
    made = world.link("eth1.50")
    assert (made.kind, made.peer, made.up, made.alias) == ("vlan", world.link("eth1").ifindex, True, ALIAS)
    assert world.host.sysctl("net/ipv6/conf/eth1.50/accept_ra") == "0"
    world.attach(second, "b")
    world.detach(first)
    world.controller.network("one").delete()
    world.check(second, "b")
    world.detach(second, "b")
    world.controller.network("two").delete()
    assert world.host.link("eth1.50") is None
    assert {link.name for link in world.host.links()} == {"lo", "eth0", "far-eth0", "eth1", "far-eth1"}


def test_a_vlan_of_the_administrator_stays(world: World) -> None:
    """A sub-interface that was there is used and left alone."""
    world.host.add_vlan_link("eth1.50", world.link("eth1").ifindex, 50)
    network = net("macvlan", parent="eth1.50")
    world.host.set_link(world.link("eth1.50").ifindex, up=True)
    world.attach(network)
    world.detach(network)
    world.controller.network("lan").delete()
    assert world.link("eth1.50").kind == "vlan"


def test_a_vlan_comes_back_after_a_reboot(world: World) -> None:
    """The network's record outlives the link: the next container has it made again, and it is still the network's."""
    network = net("macvlan", parent="eth1.50")
    world.controller.new_network("lan", driver="macvlan", options=network.options, ipam_config=SUBNET)
    world.host.delete_link(world.link("eth1.50").ifindex)
    world.attach(network)
    assert world.link("eth1.50").alias == ALIAS
    world.detach(network)
    world.controller.network("lan").delete()
    assert world.host.link("eth1.50") is None


def test_an_unfinished_vlan_is_finished(world: World) -> None:
    """A process killed between making and naming left the link: it is found and named."""
    driver = drivers.get("macvlan")
    options = driver.options(net("macvlan", parent="eth1.50"))
    driver.create_network(options, (), world.host)
    made = world.link("eth1.50")
    from cni_cnm.model import digest

    world.host.set_link(made.ifindex, name=f"cnm{digest('eth1.50')[:8]}", alias="", up=False)
    driver.create_network(options, (), world.host)
    assert world.link("eth1.50") == made


def test_a_vlan_under_another_name_is_named(world: World) -> None:
    """VLAN 50 of eth1 exists as storage0: refused, and nothing is made."""
    world.host.add_vlan_link("storage0", world.link("eth1").ifindex, 50)
    with pytest.raises(Conflict, match=r"VLAN 50 of eth1"):
        world.attach(net("macvlan", parent="eth1.50"))
    assert not list(world.controller.networks())


def test_edited_parent_of_an_unused_network(world: World) -> None:
    """The old sub-interface goes when the configuration names another; with containers on it that is refused."""
    network = net("macvlan", parent="eth1.50")
    world.attach(network)
    edited = net("macvlan", parent="eth1.60")
    with pytest.raises(InvalidConfig, match=r"parent 'eth1\.50'"):
        world.attach(edited, "b")
    with pytest.raises(InvalidConfig, match="mode 'bridge'"):
        world.attach(net("macvlan", parent="eth1.50", macvlan_mode="private"), "b")
    world.detach(network)
    world.attach(edited)
    assert world.host.link("eth1.50") is None
    world.detach(edited)
    world.controller.network("lan").delete()
    assert world.host.link("eth1.60") is None


def test_networks_that_cannot_share_a_parent(world: World) -> None:
    """passthru beside anything, ipvlan modes beside each other, ipvlan beside macvlan: the second is refused."""

    def create(name: str, kind: str, **labels: str) -> None:
        world.controller.new_network(name, driver=kind, options={"labels": {"parent": "eth1", **labels}})

    create("one", "macvlan")
    create("two", "macvlan", macvlan_mode="private")
    with pytest.raises(Conflict, match="passthru must be alone"):
        create("three", "macvlan", macvlan_mode="passthru")
    with pytest.raises(Conflict, match="macvlan interfaces, not both"):
        create("three", "ipvlan")
    for name in ("one", "two"):
        world.controller.network(name).delete()
    create("three", "ipvlan", ipvlan_mode="l3")
    with pytest.raises(Conflict, match="mode l3 bridge") as refused:
        create("four", "ipvlan", ipvlan_mode="l2")
    assert "network rm three" in refused.value.hint
    with pytest.raises(Conflict):
        create("four", "ipvlan", ipvlan_mode="l3", ipvlan_flag="private")
    create("four", "ipvlan", ipvlan_mode="l3")
    assert [network.name for network in world.controller.networks()] == ["four", "three"]


def test_passthru_has_the_parent_for_itself(world: World) -> None:
    """One container has the parent and its MAC; the next is told why not, and has nothing; then it has room."""
    network = net("macvlan", parent="eth1", macvlan_mode="passthru")
    made = world.attach(network)
    assert made.interfaces[0].mac == world.link("eth1").mac
    world.check(network)
    with pytest.raises(Conflict, match="must be alone on its parent"):
        world.attach(network, "b")
    assert world.containers["b"].link("eth0") is None
    assert len(list(world.controller.network("lan").endpoints())) == 1
    world.detach(network)
    world.attach(network, "b")


@pytest.mark.parametrize(
    ("network", "wish", "sentence"),
    [
        (net("ipvlan", parent="eth1"), {"mac": MAC}, "have their parent's"),
        (net("macvlan", parent="eth1", macvlan_mode="passthru"), {"mac": MAC}, "have their parent's"),
        (net("macvlan", parent="eth1"), {"ports": (PortMapping("tcp", 80, 80),)}, "80/tcp cannot be published"),
        (net("macvlan", parent="eth9"), {}, "no link eth9 on the host"),
        (net("macvlan", parent="eth9.5"), {}, "eth9, to make the VLAN on"),
        (net("macvlan", parent="eth1", **MTU), {}, "more than the 1500"),
        (net("macvlan", parent="eth1.5", **MTU), {}, "more than the 1500"),
    ],
)
def test_refused_before_anything(world: World, network: NetworkSpec, wish: dict[str, Any], sentence: str) -> None:
    """What cannot be is said before a link, an address or a record is made."""
    before = world.host.links()
    with pytest.raises(InvalidConfig, match=sentence):
        world.attach(network, **wish)
    assert world.host.links() == before
    assert world.containers["a"].link("eth0") is None
    assert not list(world.controller.networks())


def test_a_bridge_s_port_is_no_parent(world: World) -> None:
    """Said with the bridge's name; also if it becomes one later."""
    network = net("macvlan", parent="eth1")
    world.controller.new_network("lan", driver="macvlan", options=network.options, ipam_config=SUBNET)
    world.host.add_bridge("br0", mac=MAC)
    world.host.set_link(world.link("eth1").ifindex, master=world.link("br0").ifindex)
    with pytest.raises(Conflict, match="cannot be the parent of a macvlan"):
        world.attach(network)
    with pytest.raises(Conflict, match="a port of br0"):
        world.attach(net("macvlan", "other", parent="eth1"))


@pytest.mark.parametrize("kind", ["ipvlan", "vlan"])
def test_a_missing_kernel_driver_leaves_nothing(tmp_path: Path, kind: str) -> None:
    """The error names it; no network, endpoint, lease or link stays."""
    world = World(tmp_path, missing=(kind,))
    network = net("ipvlan", parent="eth1") if kind == "ipvlan" else net("macvlan", parent="eth1.5")
    before = world.host.links()
    with pytest.raises(KernelFeatureMissing, match=f"no {kind} driver"):
        world.attach(network)
    assert world.host.links() == before
    assert world.containers["a"].link("eth0") is None
    assert not list(world.controller.networks())
    assert not [p for p in tmp_path.rglob("192.0.2.2") if p.is_file()]


def test_what_check_finds(world: World) -> None:
    """Another kind of link under the name, another mode, another parent."""
    network = net("ipvlan", parent="eth1")
    world.attach(network)
    container = world.containers["a"]
    world.host.add_ipvlan("x0", world.link("eth1").ifindex, mode="l3", to=world.host)  # turns all of the parent's
    with pytest.raises(CheckFailed, match="in mode l3 bridge, configured is l2 bridge"):
        world.check(network)
    world.host.add_ipvlan("x1", world.link("eth1").ifindex, mode="l2", to=world.host)
    world.check(network)
    world.host.set_link(world.link("eth1").ifindex, name="eth7")
    with pytest.raises(CheckFailed, match="is not on the parent eth1"):
        world.check(network)
    container.delete_link(world.link("eth0", container).ifindex)
    with pytest.raises(CheckFailed, match="eth0 is missing"):
        world.check(network)
    container.add_bridge("eth0", mac=MAC)
    with pytest.raises(CheckFailed, match="no ipvlan"):
        world.check(network)
    world.detach(network)
    assert world.link("eth0", container).kind == "bridge"


def test_status(world: World) -> None:
    """No parent is NotReady, a parent that is down a warning."""
    assert world.controller.status(net("macvlan", parent="eth1"), exhausted_is_error=False) == []
    with pytest.raises(NotReady, match="no link eth9"):
        world.controller.status(net("macvlan", parent="eth9"), exhausted_is_error=False)
    world.host.set_link(world.link("eth1").ifindex, up=False)
    assert world.controller.status(net("macvlan", parent="eth1"), exhausted_is_error=False) == [
        "the parent eth1 is down"
    ]


def test_another_namespace_at_the_path_is_left_alone(world: World) -> None:
    """The container's namespace went and another has its path: DEL touches no link there."""
    network = net("macvlan", parent="eth1")
    world.attach(network)
    fresh = world.namespaces.create("/netns/a")
    world.host.add_macvlan("eth0", world.link("eth1").ifindex, mode="bridge", to=fresh)
    world.detach(network)
    assert world.link("eth0", fresh).kind == "macvlan"


def test_a_failed_join_leaves_no_link(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is made and what follows fails: it is taken out again."""

    def fails(*_: object) -> None:
        assert world.containers["a"].link("eth0") is not None
        raise KernelError("no", 5)

    monkeypatch.setattr(configure_interface, "configure", fails)
    with pytest.raises(CnmError):
        world.attach(net("macvlan", parent="eth1"))
    assert world.containers["a"].link("eth0") is None
    assert not list(world.controller.networks())


def test_link_in_container(world: World) -> None:
    """The parent is the container's own; missing there is said so."""
    network = NetworkSpec(
        "in",
        "macvlan",
        {"profile": "reference", "master": "net0", "linkincontainer": True},
        IpamSpec("host-local", SUBNET),
    )
    with pytest.raises(InvalidConfig, match="no link net0 in the container"):
        world.attach(network)
    container = world.containers["a"]
    container.add_veth("net0", peer="net1", peer_stack=container)
    world.attach(network)
    assert world.link("eth0", container).peer == world.link("net0", container).ifindex
    world.check(network)
    world.detach(network)
    assert container.link("eth0") is None


def test_macs_differ_between_hosts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers of one name on two hosts of one physical network do not have one MAC; on one host it stays."""
    from cni_cnm.cnm.endpoint import endpoint_record

    network = net("macvlan", parent="eth1")
    seen = []
    for host in ("one", "two", "one"):
        monkeypatch.setattr(endpoint_record, "host_id", lambda host=host: host)
        seen.append(world.attach(network).interfaces[0].mac)
        world.detach(network)
    assert seen[0] == seen[2] != seen[1]
