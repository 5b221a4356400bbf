"""The plan in a kernel: in memory and the real one. What other programs have there stays."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_interface, ip_network
from typing import NamedTuple

import pytest

from cni_cnm.cluster.accepted_hosts import TABLE
from cni_cnm.cluster.apply import Applied, Applier
from cni_cnm.cluster.plan import Plan
from cni_cnm.cluster.underlay import Here, Member
from cni_cnm.cluster.uplink import uplinks
from cni_cnm.cluster.values import Change, OverlayNetwork
from cni_cnm.kernel import Link, Nft, RouteEntry
from cni_cnm.kernel.contract.overlay_stack import FdbEntry, Neighbour, OverlayStack, Vxlan
from cni_cnm.kernel.contract.route import CLUSTER
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.kernel.overlay_stack import KernelOverlayStack
from cni_cnm.kernel.setns import own_fd
from tests.cluster.clusters import OWN_MAC, block, host, network, plan
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft

WEB = network(subnets=("10.32.0.0/16", "fd32::/48"), sizes=(24, 64), direct="auto")
DB = network("db", ["10.33.0.0/16"], vni=4097)
DEVICE = "cnm-vx4096"
NEAR, FAR, OTHER = host("near", "192.0.2.11"), host("far", "198.51.100.1"), host("other", "198.51.100.2")
HOSTS = (NEAR, FAR, OTHER)
BLOCKS = [block(WEB, 1, "near"), block(WEB, 2, "far"), block(WEB, 3, "other"), block(DB, 2, "far")]
REMOTE = block(WEB, 2, "far")


class Place(NamedTuple):
    """A host with an uplink eth0 (192.0.2.10/24) and the bridge of its network, and what applies plans to it."""

    stack: OverlayStack
    nft: Nft
    applier: Applier

    @property
    def here(self) -> Here:
        addresses = frozenset(address.ip for _, address in self.stack.all_addresses())
        return Here("n0", OWN_MAC, uplinks(self.stack, ["eth0"]), addresses)

    def plan(self, *members: Member) -> Plan:
        return plan(self.here, members or (member(WEB), member(DB)), HOSTS, BLOCKS)

    def device(self, name: str = DEVICE) -> Link:
        found = self.stack.link(name)
        assert found is not None
        return found


def member(of: OverlayNetwork = WEB) -> Member:
    return Member(of, (block(of, 0, "n0"),))


@pytest.fixture(params=["memory", "kernel"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    stack: OverlayStack
    nft: Nft
    if request.param == "memory":
        stack, nft = MemoryNamespaces().overlay(), MemoryNft()
    else:
        request.getfixturevalue("host")
        stack, nft = KernelOverlayStack(own_fd(), ""), KernelNft()
    stack.add_veth("eth0", peer="far0", peer_stack=stack)
    stack.add_bridge("br0", mac="02:00:00:00:00:0b")
    for name, addresses in (("eth0", ["192.0.2.10/24"]), ("br0", ["10.32.0.1/24", "fd32::1/64"]), ("far0", [])):
        link = stack.link(name)
        assert link is not None
        stack.set_link(link.ifindex, up=True)
        for address in addresses:
            stack.add_address(link.ifindex, ip_interface(address))
    yield Place(stack, nft, Applier(stack, nft))
    stack.close()


def test_whole_and_again(place: Place) -> None:
    """All entries are there; the second time nothing is changed, also by an applier that starts anew."""
    wanted = place.plan().wanted()
    first = place.applier.whole(wanted)
    assert first.problems == ()
    assert first.broken == {}
    assert first.changes == len(wanted)
    assert place.applier.whole(wanted) == Applied()
    assert Applier(place.stack, place.nft).whole(wanted) == Applied()
    index = place.device().ifindex
    assert {(one.address, one.mac) for one in place.stack.neighbours(index) if one.permanent} == {
        (ip_address("10.32.2.0"), FAR.mac),
        (ip_address("10.32.3.0"), OTHER.mac),
        (ip_address("fd32:0:0:1::"), NEAR.mac),  # its underlay address is of IPv4: no gateway for IPv6 packets
        (ip_address("fd32:0:0:2::"), FAR.mac),
        (ip_address("fd32:0:0:3::"), OTHER.mac),
    }
    assert {(one.mac, one.to) for one in place.stack.fdb(index)} == {(one.mac, one.addresses[0]) for one in HOSTS}
    direct = [one for one in place.stack.routes(protocol=CLUSTER) if one.gw == NEAR.addresses[0]]
    assert [(str(one.dst), one.src, one.onlink) for one in direct] == [("10.32.1.0/24", ip_address("10.32.0.1"), False)]
    link = place.device()
    assert (link.mac, link.mtu, link.up) == (OWN_MAC, link.mtu, True)


def test_a_change_is_what_whole_would_do(place: Place) -> None:
    """A host comes, moves, gets another block, goes: afterwards comparing finds nothing to do."""
    kept = place.plan()
    place.applier.whole(kept.wanted())
    fresh = host("fresh", "198.51.100.9")
    for change in (
        Change("host", "fresh", fresh),
        Change("block", block(WEB, 9, "fresh").key, block(WEB, 9, "fresh")),
        Change("host", "far", FAR._replace(addresses=(ip_address("198.51.100.77"),))),
        Change("host", "near", NEAR._replace(addresses=(ip_address("198.51.100.78"),))),
        Change("host", "near", NEAR),
        Change("host", "other", OTHER._replace(mac="02:00:00:00:99:99")),
        Change("block", REMOTE.key, block(WEB, 2, "fresh")),
        Change("host", "fresh", None),
    ):
        delta = kept.change([change])
        assert delta
        done = place.applier.change(delta)
        assert done == Applied(len(delta))
        assert place.applier.whole(kept.wanted()) == Applied(), change


def test_what_is_not_wanted_goes(place: Place) -> None:
    """A network, then all of them: devices, routes and the table; of an earlier run, too."""
    place.applier.whole(place.plan().wanted())
    later = Applier(place.stack, place.nft)
    later.whole(place.plan(member(WEB)).wanted())
    assert place.stack.link("cnm-vx4097") is None
    assert not [one for one in place.stack.routes(protocol=CLUSTER) if one.dst.overlaps(ip_network("10.33.0.0/16"))]
    Applier(place.stack, place.nft).whole([])
    assert place.stack.links(kind="vxlan") == []
    assert place.stack.routes(protocol=CLUSTER) == []
    assert TABLE not in place.nft.tables()
    assert Applier(place.stack, place.nft).whole([]) == Applied()


def test_entries_of_an_administrator_stay(place: Place) -> None:
    """Beside ours and on our device: after comparing, after a change, and after their host is gone."""
    kept = place.plan()
    place.applier.whole(kept.wanted())
    index = place.device().ifindex
    theirs = (
        RouteEntry(ip_network("10.99.0.0/24"), ip_address("10.99.0.1"), index, onlink=True),
        RouteEntry(ip_network("10.32.200.0/24"), ip_address("192.0.2.99")),
        RouteEntry(ip_network("10.97.0.0/24"), ip_address("192.0.2.99"), protocol=4),
        RouteEntry(ip_network("10.96.0.0/24"), kind="unreachable", protocol=4),
    )
    neighbour = Neighbour(index, ip_address("10.99.0.1"), "02:00:00:00:77:01")
    entry = FdbEntry(index, "02:00:00:00:77:01", ip_address("203.0.113.7"))
    for route in theirs:
        place.stack.add_route(route)
    place.stack.add_neighbour(neighbour)
    place.stack.add_fdb_entry(entry)
    place.stack.add_vxlan("vx-theirs", Vxlan(7, 4799, ip_address("192.0.2.10")))

    def there() -> bool:
        routes = {one.dst for one in (*place.stack.routes(), *place.stack.routes(protocol=4))}
        return (
            {route.dst for route in theirs} <= routes
            and neighbour in place.stack.neighbours(index)
            and entry in place.stack.fdb(index)
            and place.stack.link("vx-theirs") is not None
        )

    assert place.applier.whole(kept.wanted()) == Applied()
    assert there()
    place.applier.change(kept.change([Change("host", "far", None)]))
    assert there()
    assert place.applier.whole(kept.wanted()) == Applied()
    assert there()


def test_an_entry_in_the_place_of_ours_stays(place: Place) -> None:
    """Each is named, the others are made all the same, also by a later change; and it is not removed with its host."""
    kept = place.plan()
    place.applier.whole(kept.wanted())
    place.applier.change(kept.change([Change("host", "far", None)]))
    index, gateway = place.device().ifindex, REMOTE.subnets[0].network_address
    neighbour = Neighbour(index, gateway, "02:00:00:00:77:01")
    entry = FdbEntry(index, FAR.mac, ip_address("203.0.113.7"))
    route = RouteEntry(REMOTE.subnets[0], ip_address("192.0.2.99"))
    place.stack.add_neighbour(neighbour)
    place.stack.add_fdb_entry(entry)
    place.stack.add_route(route)

    def expect(done: Applied) -> None:
        assert len(done.problems) == 3
        for word in (str(gateway), FAR.mac, str(route.dst)):
            assert any(word in sentence for sentence in done.problems)
        assert neighbour in place.stack.neighbours(index)
        assert entry in place.stack.fdb(index)
        assert [one.gw for one in place.stack.routes() if one.dst == route.dst] == [route.gw]
        six = [one.dst for one in place.stack.routes(protocol=CLUSTER)]
        assert REMOTE.subnets[1] in six

    expect(place.applier.change(kept.change([Change("host", "far", FAR)])))
    expect(place.applier.whole(kept.wanted()))
    place.applier.change(kept.change([Change("host", "far", None)]))
    assert neighbour in place.stack.neighbours(index)
    assert entry in place.stack.fdb(index)
    assert [one.gw for one in place.stack.routes() if one.dst == route.dst] == [route.gw]


def test_the_same_entry_of_an_administrator_is_taken_as_it_is(place: Place) -> None:
    """It does what is wanted, so nothing is named; and it stays when the host goes."""
    kept = place.plan()
    place.applier.whole(kept.wanted())
    place.applier.change(kept.change([Change("host", "far", None)]))
    index = place.device().ifindex
    neighbour = Neighbour(index, REMOTE.subnets[0].network_address, FAR.mac)
    entry = FdbEntry(index, FAR.mac, FAR.addresses[0])
    place.stack.add_neighbour(neighbour)
    place.stack.add_fdb_entry(entry)
    assert place.applier.change(kept.change([Change("host", "far", FAR)])).problems == ()
    assert place.applier.whole(kept.wanted()) == Applied()
    place.applier.change(kept.change([Change("host", "far", None)]))
    assert neighbour in place.stack.neighbours(index)
    assert entry in place.stack.fdb(index)


def _delete_device(place: Place) -> None:
    place.stack.delete_link(place.device().ifindex)


def _down_and_up(place: Place) -> None:
    place.stack.set_link(place.device().ifindex, up=False)
    place.stack.set_link(place.device().ifindex, up=True)


def _down(place: Place) -> None:
    place.stack.set_link(place.device().ifindex, up=False)


def _disguise(place: Place) -> None:
    place.stack.set_link(place.device().ifindex, mac="02:00:00:00:12:34", mtu=1280)


def _forget_alias(place: Place) -> None:
    _delete_device(place)
    place.stack.add_vxlan(DEVICE, Vxlan(4096, 4799, ip_address("192.0.2.10")), mac=OWN_MAC)


def _other_port(place: Place) -> None:
    alias = place.device().alias
    _delete_device(place)
    place.stack.add_vxlan(DEVICE, Vxlan(4096, 4789, ip_address("192.0.2.10")), mac=OWN_MAC)
    place.stack.set_link(place.device().ifindex, alias=alias)


def _other_source(place: Place) -> None:
    place.stack.set_vxlan_local(place.device().ifindex, ip_address("192.0.2.66"))


def _delete_entries(place: Place) -> None:
    index = place.device().ifindex
    for neighbour in place.stack.neighbours(index):
        place.stack.delete_neighbour(index, neighbour.address)
    for entry in place.stack.fdb(index):
        place.stack.delete_fdb_entry(entry)
    for route in place.stack.routes(protocol=CLUSTER):
        place.stack.delete_route(route)


def _redirect(place: Place) -> None:
    """What is ours by its mark, and leads elsewhere."""
    index = place.device().ifindex
    place.stack.add_neighbour(Neighbour(index, REMOTE.subnets[0].network_address, OTHER.mac, CLUSTER), replace=True)
    place.stack.add_fdb_entry(FdbEntry(index, FAR.mac, OTHER.addresses[0], external=True), replace=True)
    (old,) = (one for one in place.stack.routes(protocol=CLUSTER) if one.dst == REMOTE.subnets[0])
    place.stack.delete_route(old)
    place.stack.add_route(old._replace(gw=ip_address("10.32.3.0")))


def _delete_table(place: Place) -> None:
    place.nft.delete_table(TABLE)


def _stranger(place: Place) -> None:
    """Left by an earlier run: entries of a host that is gone by now."""
    index = place.device().ifindex
    place.stack.add_fdb_entry(FdbEntry(index, "02:00:00:00:55:55", ip_address("203.0.113.1"), external=True))
    place.stack.add_neighbour(Neighbour(index, ip_address("10.32.55.0"), "02:00:00:00:55:55", CLUSTER))
    route = RouteEntry(ip_network("10.32.55.0/24"), ip_address("10.32.55.0"), index, onlink=True, protocol=CLUSTER)
    place.stack.add_route(route)


@pytest.mark.parametrize(
    "damage",
    [
        *(_delete_device, _down_and_up, _down, _disguise, _forget_alias, _other_port, _other_source),
        *(_delete_entries, _redirect, _delete_table, _stranger),
    ],
)
def test_what_is_damaged_is_put_right(place: Place, damage: Callable[[Place], None]) -> None:
    """Comparing again leads to what was there before, and then finds nothing to do."""
    wanted = place.plan().wanted()
    place.applier.whole(wanted)
    before = _shown(place)
    damage(place)
    assert _shown(place) != before
    done = place.applier.whole(wanted)
    assert (done.problems, done.broken) == ((), {})
    assert done.changes
    assert _shown(place) == before
    assert place.applier.whole(wanted) == Applied()


def _shown(place: Place) -> tuple[object, ...]:
    link = place.stack.link(DEVICE)
    if link is None:
        return ()
    names = {one.ifindex: one.name for one in place.stack.links()}
    return (
        link._replace(ifindex=0),
        place.stack.vxlan(link.ifindex),
        sorted(str(one._replace(link=0)) for one in place.stack.neighbours(link.ifindex) if one.permanent),
        sorted(str(one._replace(link=0)) for one in place.stack.fdb(link.ifindex)),
        sorted(str((names.get(one.link), one._replace(link=0))) for one in place.stack.routes(protocol=CLUSTER)),
        sorted(element.place for element in place.nft.elements(TABLE)),
    )


def test_a_link_of_another_program_in_the_place_of_the_device(place: Place) -> None:
    """The network is broken, and the other one is not. The link stays as it is."""
    place.stack.add_bridge(DEVICE, mac="02:00:00:00:00:0c")
    theirs = place.device()
    done = place.applier.whole(place.plan().wanted())
    assert DEVICE in done.broken["web"]
    assert "db" not in done.broken
    assert done.problems == ()
    assert place.device() == theirs
    assert {str(one.dst) for one in place.stack.routes(protocol=CLUSTER) if one.onlink} == {"10.33.2.0/24"}
    place.stack.delete_link(theirs.ifindex)
    assert place.applier.whole(place.plan().wanted()).broken == {}


def test_the_same_vni_and_port_of_another_program(place: Place) -> None:
    """The kernel refuses the device; that is named for its network."""
    place.stack.add_vxlan("vx-theirs", Vxlan(4096, 4799, ip_address("192.0.2.10")))
    assert DEVICE in place.applier.whole(place.plan().wanted()).broken["web"]


def test_the_gateway_comes_later(place: Place) -> None:
    """Before the bridge has its address routes have no source; then they get it, and lose it again."""
    bridge = place.device("br0").ifindex
    for address in ("10.32.0.1/24", "fd32::1/64"):
        place.stack.delete_address(bridge, ip_interface(address))
    assert place.applier.whole(place.plan().wanted()).problems == ()
    assert {one.src for one in place.stack.routes(protocol=CLUSTER)} == {None}
    for address in ("10.32.0.1/24", "fd32::1/64"):
        place.stack.add_address(bridge, ip_interface(address))
    wanted = place.plan().wanted()
    done = place.applier.whole(wanted)
    assert done.problems == ()
    assert ip_address("10.32.0.1") in {one.src for one in place.stack.routes(protocol=CLUSTER)}
    assert ip_address("fd32::1") in {one.src for one in place.stack.routes(protocol=CLUSTER)}
    assert place.applier.whole(wanted) == Applied()


def test_a_new_underlay_address(place: Place) -> None:
    """The device keeps its index: only its source changes."""
    place.applier.whole(place.plan().wanted())
    index = place.device().ifindex
    eth0 = place.device("eth0").ifindex
    place.stack.add_address(eth0, ip_interface("192.0.3.20/24"))
    place.stack.delete_address(eth0, ip_interface("192.0.2.10/24"))
    assert place.applier.whole(place.plan().wanted()).problems == ()
    assert place.device().ifindex == index
    there = place.stack.vxlan(index)
    assert there is not None
    assert there.local in {address.ip for address in place.stack.addresses(eth0)}


def test_an_uplink_that_is_gone(place: Place) -> None:
    """A plan that is behind the kernel: the direct route is named, the others are made."""
    wanted = place.plan().wanted()
    place.stack.set_link(place.device("eth0").ifindex, up=False)
    place.stack.set_link(place.device("eth0").ifindex, name="eth9")
    done = place.applier.whole(wanted)
    assert len(done.problems) == 1
    assert "eth0" in done.problems[0]
    assert [one.dst for one in place.stack.routes(protocol=CLUSTER) if one.dst == REMOTE.subnets[0]]


def test_entries_of_iproute2_stay(place: Place) -> None:
    """The same as above by the administrator's own commands, which set flags of their own."""
    if isinstance(place.nft, MemoryNft):
        pytest.skip("ip and bridge change the kernel alone")
    kept = place.plan()
    place.applier.whole(kept.wanted())
    commands = (
        f"bridge fdb add 02:00:00:00:77:01 dev {DEVICE} dst 203.0.113.7",
        f"ip neigh add 10.99.0.1 lladdr 02:00:00:00:77:01 dev {DEVICE} nud permanent",
        f"ip neigh add 10.99.0.2 lladdr 02:00:00:00:77:02 dev {DEVICE} nud permanent protocol zebra extern_learn",
        f"ip route add 10.99.0.0/24 via 10.99.0.1 dev {DEVICE} onlink",
        "ip route add 10.32.200.0/24 via 192.0.2.99",
        "ip route add unreachable 10.98.0.0/24",
        f"ip -6 route add fd99::/64 via fd99:: dev {DEVICE} onlink proto static",
    )
    for command in commands:
        subprocess.run(command.split(), check=True)
    shown = _listed()
    place.applier.change(kept.change([Change("host", "far", None)]))
    place.applier.change(kept.change([Change("host", "far", FAR)]))
    assert place.applier.whole(kept.wanted()) == Applied()
    Applier(place.stack, place.nft).whole(place.plan().wanted())
    assert sorted(_listed()) == sorted(shown)
    for word in ("203.0.113.7", "10.99.0.1 lladdr", "10.99.0.2 lladdr", "10.99.0.0/24", "10.32.200.0/24",
                 "unreachable 10.98.0.0/24", "fd99::/64"):  # fmt: skip
        assert any(word in line for line in shown), word


def _listed() -> list[str]:
    found = []
    neighbours = f"ip neigh show dev {DEVICE} nud permanent"
    for command in (f"bridge fdb show dev {DEVICE}", neighbours, "ip route", "ip -6 route"):
        found += subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout.splitlines()
    return [" ".join(line.split()) for line in found]


@pytest.mark.parametrize("place", ["kernel"], indirect=True)
def test_rules_of_another_release_are_replaced(place: Place) -> None:
    """As many as ours in each chain, and others: the first comparison of an agent writes its own."""
    wanted = place.plan().wanted()
    place.applier.whole(wanted)
    ours = _rules()
    assert len(ours) == 8, "six rules in two chains"
    for chain, number in (("input", 2), ("forward", 4)):
        replaced = f"flush chain {TABLE} {chain};" + f"add rule {TABLE} {chain} accept;" * number
        subprocess.run(["nft", replaced], check=True)
    assert _rules() != ours
    assert Applier(place.stack, place.nft).whole(wanted) == Applied()
    assert _rules() == ours
    subprocess.run(["nft", f"flush chain {TABLE} forward"], check=True)
    place.applier.whole(wanted)
    assert _rules() == ours


def _rules() -> list[str]:
    """The chains of the agent's table, each with its rules."""
    shown = subprocess.run(["nft", "list", "table", *TABLE.split()], check=True, capture_output=True, text=True).stdout
    return [line.strip() for line in shown.splitlines() if line.strip().startswith(("chain", "udp", "accept"))]
