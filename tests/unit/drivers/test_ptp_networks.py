"""ptp networks through the whole engine, on a kernel in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.docker import docker_networks
from cni_cnm.drivers.host_routing import FORWARDING
from cni_cnm.drivers.ptp_options import LABELS, PtpOptions, group_of, parse
from cni_cnm.errors import CheckFailed, Conflict, InvalidConfig, KernelError
from cni_cnm.firewall import INET
from cni_cnm.kernel import RouteEntry
from cni_cnm.model import IpamSpec, NetworkSpec, PortMapping
from tests.memory_kernel.stack import MemoryStack
from tests.unit.drivers.world import World

RANGES = [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]
SUBNETS = {"ranges": RANGES}
LABEL_MASQUERADE, LABEL_MTU, LABEL_ICC = LABELS


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def net(name: str = "net", profile: str = "cnm", *, internal: bool = False, **options: Any) -> NetworkSpec:
    ipam = IpamSpec("host-local", SUBNETS)
    return NetworkSpec(name, "ptp", {"profile": profile, **options}, ipam, internal)


# options --------------------------------------------------------------------------


def test_the_reference_profile() -> None:
    """The keys of the plugin and their defaults: no masquerade, no default route, nothing isolated."""
    group = group_of("net")
    assert parse(net(profile="reference")) == PtpOptions(group)
    made = parse(net(profile="reference", ipmasq=True, ipmasqbackend="iptables", mtu=1400, ingresspolicy="same-bridge"))
    assert made == PtpOptions(group, 1400, masquerade=True, ingress="same-bridge")
    assert not parse(net(profile="reference", internal=True, ipmasq=True)).masquerade


def test_the_cnm_profile() -> None:
    """As Docker's networks: masquerade, default route, isolated from others; internal without the first two."""
    group = group_of("net")
    made = parse(net())
    assert made == PtpOptions(group, masquerade=True, default_route=True, ingress="same-bridge", published_only=True)
    assert parse(net(internal=True)) == PtpOptions(group, internal=True, ingress="same-bridge", published_only=True)
    labels = {LABEL_MASQUERADE: "false", LABEL_MTU: "1300", LABEL_ICC: "false"}
    assert parse(net(labels=labels)) == PtpOptions(
        group, 1300, default_route=True, ingress="isolated", published_only=True
    )
    assert parse(net(mtu=1300)).mtu == 1300


def test_the_record_s_form() -> None:
    """Every option comes back, and one of a later version is passed over."""
    made = parse(net(mtu=1300, firewalldzone="dmz", iptablesadminchainname="ADMIN"))
    assert PtpOptions.from_json({**made.to_json(), "later": 1}) == made
    assert (made.zone, made.admin_chain) == ("dmz", "ADMIN")


def test_groups() -> None:
    """A number of its own for each network, which fits the kernel's field and is no administrator's."""
    groups = {group_of(f"net{number}") for number in range(1000)}
    assert len(groups) == 1000
    assert all(0x40000000 <= group < 0x80000000 for group in groups)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (net()._replace(ipam=IpamSpec("")), "needs an ipam"),
        (net(profile="reference", labels={LABEL_MTU: "1"}), "beside keys of the reference ptp plugin"),
        (net(ipmasq=True), "ipMasq is a key of the reference ptp plugin"),
        (net(labels={"com.docker.network.bridge.name": "br0"}), "does not know the option com.docker"),
        (net(mtu=67), "mtu is 67"),
        (net(profile="reference", ipmasqbackend="x"), "ipMasqBackend is 'x'"),
        (net(ingresspolicy="open", labels={LABEL_ICC: "false"}), "contradict"),
    ],
)
def test_refused_options(network: NetworkSpec, sentence: str) -> None:
    with pytest.raises(InvalidConfig, match=sentence):
        parse(network)


# a container's life ---------------------------------------------------------------


def test_a_container_s_life(world: World) -> None:
    """ADD, CHECK, DEL: both ends, addresses and routes; afterwards nothing but the network's isolation."""
    made = world.attach(net())
    link = world.link("eth0", world.containers["a"])
    end = world.link(made.interfaces[0].name)
    assert [interface.sandbox for interface in made.interfaces] == ["", "/netns/a"]
    assert (made.container_index, made.interfaces[1].mac) == (1, link.mac)
    assert (end.up, end.master, end.group) == (True, 0, group_of("net"))
    assert {str(address) for address in world.host.addresses(end.ifindex)} == {"10.1.0.1/32", "fd00:1::1/128"}
    routes = {str(route.dst) for route in world.host.routes(link=end.ifindex)}
    assert {"10.1.0.2/32", "fd00:1::2/128"} <= routes
    inside = {(str(r.dst), str(r.gw)) for r in world.containers["a"].routes(link=link.ifindex)}
    assert inside == {
        ("10.1.0.1/32", "None"), ("10.1.0.0/24", "10.1.0.1"), ("0.0.0.0/0", "10.1.0.1"),
        ("fd00:1::1/128", "None"), ("fd00:1::/64", "fd00:1::1"), ("::/0", "fd00:1::1"),
    }  # fmt: skip
    assert [str(route.dst) for route in made.routes] == ["0.0.0.0/0", "::/0"]
    assert [world.host.sysctl(key) for key in FORWARDING.values()] == ["1", "1"]
    world.check(net())
    assert world.leases("net") == {"10.1.0.2"}
    world.detach(net())
    world.detach(net())
    assert not world.leases("net")
    assert world.containers["a"].link("eth0") is None
    assert world.host.link(end.name) is None
    assert {element.set for element in world.nft.elements(INET)} == {
        "groups",
        "allowed_groups",
        "published_only_groups4",
        "published_only_groups6",
    }
    world.controller.network("net").delete()
    assert not world.nft.elements(INET)


def test_a_pod_is_no_element_of_the_isolation(world: World) -> None:
    """The group of its link says which network it is of, however many there are."""
    world.attach(net(), "a")
    elements = {element.key for element in world.nft.elements(INET) if "group" in element.set}
    world.attach(net(), "b")
    assert {element.key for element in world.nft.elements(INET) if "group" in element.set} == elements
    group = group_of("net")
    assert elements == {f"{group}", f"{group} . {group}"}


def test_reference_profile_leaves_default_routes_to_the_ipam(world: World) -> None:
    """And isolates nothing."""
    made = world.attach(net(profile="reference", ipmasq=True))
    assert made.routes == ()
    world.check(net(profile="reference", ipmasq=True))
    assert {element.set for element in world.nft.elements(INET)} == {"masquerade4", "masquerade6"}


def test_a_gateway_for_an_ipam_without_one(world: World) -> None:
    """Two ranges of one subnet, or static addresses: one way to the gateway, the subnet's first address by default."""
    ipam = IpamSpec("static", {"addresses": [{"address": "10.5.0.7/24"}, {"address": "10.5.0.8/24"}]})
    made = world.attach(net()._replace(ipam=ipam))
    assert [str(address.gateway) for address in made.addresses] == ["10.5.0.1", "10.5.0.1"]
    end = world.link(made.interfaces[0].name)
    assert [str(address) for address in world.host.addresses(end.ifindex)] == ["10.5.0.1/32"]
    world.check(net()._replace(ipam=ipam))


def test_check_names_what_differs(world: World) -> None:
    """Each thing the driver made, changed one at a time and put back."""
    made = world.attach(net())
    end, inside = world.link(made.interfaces[0].name), world.containers["a"]
    index = end.ifindex
    host, eth0 = world.host, world.link("eth0", inside).ifindex
    gateway = next(address for address in host.addresses(index) if address.version == 4)
    route = next(r for r in host.routes(link=index) if str(r.dst) == "10.1.0.2/32")
    subnet = next(r for r in inside.routes(link=eth0) if str(r.dst) == "10.1.0.0/24")
    steps: list[tuple[Callable[[], None], Callable[[], None] | None, str]] = [
        (lambda: host.set_link(index, group=0), lambda: host.set_link(index, group=end.group), "in the link group 0"),
        (lambda: host.delete_route(route), lambda: host.add_route(route), "no route to 10.1.0.2"),
        (lambda: host.delete_address(index, gateway), lambda: host.add_address(index, gateway), "gateway address"),
        (lambda: inside.delete_route(subnet), lambda: inside.add_route(subnet), "the route to 10.1.0.0/24"),
        (lambda: _forward("0", host), lambda: _forward("1", host), "IPv4 forwarding is off"),
        (lambda: host.set_link(index, up=False), None, "is down"),
        (lambda: host.delete_link(index), None, "is missing"),
    ]
    world.check(net())
    for change, back, sentence in steps:
        change()
        with pytest.raises(CheckFailed, match=sentence):
            world.check(net())
        if back is not None:
            back()
            world.check(net())


def _forward(value: str, host: MemoryStack) -> None:
    host.set_sysctls([(FORWARDING[4], value)])


def test_an_interface_that_is_there_already(world: World) -> None:
    """Another plugin's eth0: refused, and nothing of ours is left."""
    world.containers["a"].add_veth("eth0", peer="far", peer_stack=world.containers["a"])
    with pytest.raises(Conflict):
        world.attach(net())
    assert not [link for link in world.host.links() if link.name.startswith("veth")]


def test_a_failure_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's routes cannot be made: no link, lease or record stays."""

    def refused(stack: MemoryStack, route: RouteEntry) -> None:
        raise KernelError(f"adding the route to {route.dst} failed", 1)

    monkeypatch.setattr(MemoryStack, "add_route", refused)
    with pytest.raises(KernelError):
        world.attach(net())
    assert not [link for link in world.host.links() if link.name.startswith("veth")]
    assert world.containers["a"].link("eth0") is None
    assert not list(world.controller.networks())
    assert not world.leases("net")


def test_a_live_network_keeps_its_policy(world: World) -> None:
    """ingressPolicy is fixed while there are endpoints; the MTU of new ones may change."""
    world.attach(net())
    with pytest.raises(InvalidConfig, match="ingressPolicy 'same-bridge'"):
        world.attach(net(labels={LABEL_ICC: "false"}), "b")
    made = world.attach(net(mtu=1300), "b")
    assert {interface.mtu for interface in made.interfaces} == {1300}


def test_networks_are_opened_to_each_other(world: World) -> None:
    """A ptp network and one of the driver bridge, and two of ptp: an element each direction, until they are closed."""
    world.attach(net(), "a")
    other = net("other")._replace(ipam=IpamSpec("host-local", {"subnet": "10.2.0.0/24"}))
    world.attach(other, "b")
    world.controller.new_network("bridged", ipam_config={"subnet": "10.3.0.0/24"})
    bridge = world.controller.network("bridged").record.policy.bridge
    one, two = group_of("net"), group_of("other")

    def pairs() -> set[tuple[str, str]]:
        found = [element for element in world.nft.elements(INET) if " . " in element.key]
        own = {f"{one} . {one}", f"{two} . {two}", f'"{bridge}" . "{bridge}"'}
        return {(element.set, element.key) for element in found} - {(e.set, e.key) for e in found if e.key in own}

    assert pairs() == set()
    world.controller.allow("net", "other")
    assert pairs() == {("allowed_groups", f"{one} . {two}"), ("allowed_groups", f"{two} . {one}")}
    world.controller.revoke("net", "other")
    world.controller.allow("net", "bridged")
    assert pairs() == {("allowed_out", f'{one} . "{bridge}"'), ("allowed_in", f'"{bridge}" . {one}')}
    world.detach(net(), "a")
    world.controller.network("net").delete()
    assert pairs() == set()


def test_published_ports(world: World) -> None:
    """By the host's end, as the driver bridge's are by the bridge; an internal network has none."""
    port = PortMapping("tcp", 8080, 80)
    made = world.attach(net(), ports=(port,))
    assert world.host.sysctl(f"net/ipv4/conf/{made.interfaces[0].name}/route_localnet") == "1"
    assert "ports4" in {element.set for element in world.nft.elements(INET)}
    with pytest.raises(InvalidConfig, match="internal"):
        world.attach(net("inside", internal=True), "b", ports=(port,))


def test_docker_cannot_share_it(world: World) -> None:
    """Its containers would look for their neighbours on the link."""
    world.attach(net())
    shared = NetworkSpec("net", "ptp", {}, IpamSpec("host-local", {}))
    with pytest.raises(InvalidConfig, match="neighbours are reached through the gateway"):
        docker_networks.share_network(world.engine, shared, "d" * 64, ())
