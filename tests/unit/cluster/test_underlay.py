"""The plan of a host: which entries follow from the networks, hosts and blocks of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest

from cni_cnm.cluster.plan import Plan
from cni_cnm.cluster.underlay import Device, Entry, Forward, Here, Member, Neighbour, Peer, Port, Route, Unreachable
from cni_cnm.cluster.values import ClusterHost, Direct, OverlayNetwork
from tests.cluster.clusters import OWN_MAC, block, here, host, network, plan, uplink

DUAL = network(subnets=("10.32.0.0/16", "fd32::/48"), sizes=(24, 64))
FAR = host("n1", "198.51.100.1")
WEB = network()


def entries_of(
    me: Here | None = None,
    net: OverlayNetwork = WEB,
    hosts: Sequence[ClusterHost] = (FAR,),
    indexes: Sequence[int] = (1,),
) -> tuple[set[Entry], tuple[str, ...]]:
    """With block 0 as this host's own, and the others as blocks of the first other host. Entries and problems."""
    blocks = [block(net, one, hosts[0].name) for one in indexes]
    found = plan(me or here(), [Member(net, (block(net, 0, "n0"),))], hosts, blocks)
    return set(found.wanted()), found.problems


def test_a_block_by_vxlan() -> None:
    """One route, one neighbour, one forwarding entry; the device, and who may send to it."""
    found, problems = entries_of()
    first = ip_address("10.32.1.0")
    assert found == {
        Device("cnm-vx4096", "web", 4096, 4799, ip_address("192.0.2.10"), OWN_MAC, 1450),
        Port(4799),
        Unreachable(ip_network("10.32.0.0/16")),
        Peer(ip_address("198.51.100.1"), "n1"),
        Route(ip_network("10.32.1.0/24"), "cnm-vx4096", first, None, True),
        Neighbour("cnm-vx4096", first, FAR.mac),
        Forward("cnm-vx4096", FAR.mac, ip_address("198.51.100.1")),
    }
    assert problems == ()


def test_several_blocks_of_a_host() -> None:
    """A route and a neighbour for each, of each IP version, and one forwarding entry."""
    found, _ = entries_of(net=DUAL, indexes=(1, 2))
    assert sorted(str(one.dst) for one in found if isinstance(one, Route)) == [
        "10.32.1.0/24", "10.32.2.0/24", "fd32:0:0:1::/64", "fd32:0:0:2::/64",
    ]  # fmt: skip
    assert len([one for one in found if isinstance(one, Neighbour)]) == 4
    assert len([one for one in found if isinstance(one, Forward)]) == 1


@pytest.mark.parametrize("direct", ["auto", "always"])
def test_a_host_on_our_link(direct: Direct) -> None:
    """A plain route by its underlay address, and nothing else of it but that it is known."""
    net = network(direct=direct)
    near = host("n1", "192.0.2.11")
    found, problems = entries_of(net=net, hosts=(near,))
    assert Route(ip_network("10.32.1.0/24"), "eth0", near.addresses[0], None, False) in found
    assert Peer(near.addresses[0], "n1") in found
    assert not [one for one in found if isinstance(one, Neighbour | Forward)]
    assert problems == ()


@pytest.mark.parametrize("direct", ["auto", "never"])
def test_a_host_behind_a_router(direct: Direct) -> None:
    """VXLAN, also with `auto`."""
    found, _ = entries_of(net=network(direct=direct))
    assert [one.tunnelled for one in found if isinstance(one, Route)] == [True]


def test_never_is_vxlan_on_our_link_too() -> None:
    """Though a plain route would do."""
    found, _ = entries_of(net=network(direct="never"), hosts=(host("n1", "192.0.2.11"),))
    assert [one.tunnelled for one in found if isinstance(one, Route)] == [True]


def test_always_names_a_host_behind_a_router() -> None:
    """It has no entries, and the sentence says which network."""
    found, problems = entries_of(net=network(direct="always"))
    assert not [one for one in found if isinstance(one, Route | Neighbour | Forward)]
    (sentence,) = problems
    assert "n1" in sentence
    assert "web" in sentence


def test_direct_by_ip_version() -> None:
    """IPv4 packets may have a gateway of IPv6, IPv6 packets none of IPv4."""
    net = DUAL._replace(direct="auto")
    six = uplink("2001:db8::/64", address="2001:db8::10")
    found, _ = entries_of(here(six), net, (host("n1", "2001:db8::11"),))
    ways = {one.dst.version: one for one in found if isinstance(one, Route)}
    assert (ways[4].gw, ways[4].tunnelled) == (ip_address("2001:db8::11"), False)
    assert (ways[6].gw, ways[6].tunnelled) == (ip_address("2001:db8::11"), False)
    found, _ = entries_of(here(), net, (host("n1", "192.0.2.11"),))
    ways = {one.dst.version: one for one in found if isinstance(one, Route)}
    assert not ways[4].tunnelled
    assert ways[6].tunnelled


def test_an_underlay_of_ipv6() -> None:
    """The device has its source address, and 70 bytes less."""
    six = uplink(address="2001:db8::10")
    found, _ = entries_of(here(six), DUAL, (host("n1", "2001:db8::11", "198.51.100.1"),))
    (device,) = (one for one in found if isinstance(one, Device))
    assert (device.local, device.mtu) == (ip_address("2001:db8::10"), 1430)
    assert {one.to for one in found if isinstance(one, Forward)} == {ip_address("2001:db8::11")}
    assert {one.address for one in found if isinstance(one, Peer)} == {
        ip_address("2001:db8::11"),
        ip_address("198.51.100.1"),
    }


def test_no_common_ip_version() -> None:
    """The host is named with the address that it lacks one of the same version for."""
    found, problems = entries_of(hosts=(host("n1", "2001:db8::11"),))
    assert not [one for one in found if isinstance(one, Route)]
    assert len(problems) == 1
    assert "192.0.2.10" in problems[0]


def test_the_source_is_the_gateway_once_it_is_there() -> None:
    """The first address of this host's lowest block, of each version; none before the bridge has it."""
    found, _ = entries_of(here(own=["10.32.0.1"]), DUAL)
    sources = {one.dst.version: one.src for one in found if isinstance(one, Route)}
    assert sources == {4: ip_address("10.32.0.1"), 6: None}


def test_two_networks() -> None:
    """Each has its device; a network that this host has not joined has nothing."""
    db = network("db", ["10.33.0.0/16"], vni=4097)
    other = network("other", ["10.34.0.0/16"], vni=4098)
    members = [Member(one, (block(one, 0, "n0"),)) for one in (WEB, db)]
    blocks = [block(one, 1, "n1") for one in (WEB, db, other)]
    found = plan(here(), members, [FAR], blocks).wanted()
    assert {one.name for one in found if isinstance(one, Device)} == {"cnm-vx4096", "cnm-vx4097"}
    assert {(one.link, str(one.dst)) for one in found if isinstance(one, Route)} == {
        ("cnm-vx4096", "10.32.1.0/24"),
        ("cnm-vx4097", "10.33.1.0/24"),
    }
    assert len([one for one in found if isinstance(one, Forward)]) == 2


def test_without_a_network_there_is_nothing() -> None:
    """No host is known to the packet filter, either."""
    assert plan(here(), [], [FAR], [block(WEB, 1, "n1")]).wanted() == []


def test_blocks_of_an_earlier_instance() -> None:
    """A host that was set up anew does not have the blocks of the one before. Nor has a host without record any."""
    replaced = FAR._replace(instance="f" * 32)
    found, _ = entries_of(hosts=(replaced,))
    assert not [one for one in found if isinstance(one, Route)]
    alone = plan(here(), [Member(WEB, (block(WEB, 0, "n0"),))], [], [block(WEB, 1, "n1")])
    assert not [one for one in alone.wanted() if isinstance(one, Route | Peer)]


def test_this_host_s_own_record_and_blocks() -> None:
    """Nothing follows from them."""
    me = host("n0", "192.0.2.10")
    own = block(WEB, 0, "n0")
    found = plan(here(), [Member(WEB, (own,))], [me], [own])
    assert not [one for one in found.wanted() if isinstance(one, Route | Peer)]
    assert found.problems == ()


def test_a_block_that_two_hosts_have() -> None:
    """After a restored backup another host may have this one's block: no route leads there, and it is said."""
    found, problems = entries_of(indexes=(0,))
    assert not [one for one in found if isinstance(one, Route)]
    assert "10.32.0.0/24" in problems[0]


@pytest.mark.parametrize("address", ["192.0.2.10", "10.32.7.7"])
def test_an_address_that_cannot_be_another_host_s(address: str) -> None:
    """This host's own, and one that only the overlay itself reaches: the host is left out, and named."""
    found, problems = entries_of(hosts=(host("n1", address),))
    assert not [one for one in found if isinstance(one, Route | Peer | Forward)]
    assert address in problems[0]


def test_an_underlay_inside_the_network() -> None:
    """The network has no entries at all, and `broken` says why. Others go on."""
    inside = uplink("10.32.0.0/16", address="10.32.0.10")
    db = network("db", ["10.33.0.0/16"], vni=4097)
    members = [Member(one, (block(one, 0, "n0"),)) for one in (WEB, db)]
    found = plan(here(inside), members, [FAR], [block(WEB, 1, "n1"), block(db, 1, "n1")])
    assert {one.name for one in found.wanted() if isinstance(one, Device)} == {"cnm-vx4097"}
    assert "10.32.0.10" in found.broken["web"]
    assert found.broken["db"] == ""


def test_no_underlay_address() -> None:
    """Nothing is wanted, and each network says why."""
    me = here()._replace(uplinks=())
    found = plan(me, [Member(WEB, (block(WEB, 0, "n0"),))], [FAR], [block(WEB, 1, "n1")])
    assert found.wanted() == []
    assert "not known" in found.broken["web"]


@pytest.mark.parametrize(("address", "least"), [("192.0.2.10", 1330), ("2001:db8::10", 1350)])
def test_an_mtu_that_is_too_small_for_ipv6(address: str, least: int) -> None:
    """The kernel takes IPv6 off a link below 1280. What IPv4 has stays; STATUS has the reason."""

    def found(net: OverlayNetwork, mtu: int) -> Plan:
        me = here(uplink(address=address)._replace(mtu=mtu))
        return plan(me, [Member(net, (block(net, 0, "n0"),))])

    assert found(DUAL, least).broken == {"web": ""}
    assert found(DUAL, least - 1).broken == {
        "web": "the MTU of eth0 leaves 1279 bytes for a packet in it, and IPv6 needs 1280"
    }
    assert found(DUAL, least - 1).wanted()
    assert found(WEB, least - 1).broken == {"web": ""}


def test_two_hosts_with_one_address() -> None:
    """One of them has it, whatever the order; when it goes the other one does."""
    one, other = host("a", "198.51.100.1"), host("b", "198.51.100.1")
    member = Member(WEB, (block(WEB, 0, "n0"),))
    for hosts in ([one, other], [other, one]):
        found = plan(here(), [member], hosts)
        assert Peer(ip_address("198.51.100.1"), "a") in found.wanted()
