"""Made-up clusters: a host's own view, the other hosts, their networks and blocks."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from cni_cnm.cluster import block_index
from cni_cnm.cluster.plan import Plan
from cni_cnm.cluster.underlay import Here, Member
from cni_cnm.cluster.uplink import Uplink
from cni_cnm.cluster.values import Block, ClusterHost, Direct, OverlayNetwork
from cni_cnm.model import stable_mac

MTU = 1500
OWN_MAC = "02:00:00:00:00:01"


def instance(name: str) -> str:
    return name.encode().hex().zfill(32)


def uplink(*subnets: str, address: str, link: int = 2, name: str = "eth0") -> Uplink:
    """By which hosts in `subnets` are on this host's link."""
    return Uplink(ip_address(address), link, name, MTU, tuple(map(ip_network, subnets)))


def here(*uplinks: Uplink, own: Iterable[str] = (), name: str = "n0") -> Here:
    """This host. `own`: further addresses that it has, such as the gateways of its bridges."""
    given = uplinks or (uplink("192.0.2.0/24", address="192.0.2.10"),)
    addresses = frozenset((*(one.address for one in given), *map(ip_address, own)))
    return Here(name, OWN_MAC, given, addresses)


def network(
    name: str = "web",
    subnets: Iterable[str] = ("10.32.0.0/16",),
    sizes: Iterable[int] = (24,),
    *,
    vni: int = 4096,
    direct: Direct = "never",
) -> OverlayNetwork:
    return OverlayNetwork(name, instance(name), tuple(map(ip_network, subnets)), tuple(sizes), vni, 4799, direct)


def block(of: OverlayNetwork, index: int, host: str) -> Block:
    return Block(of.name, block_index.subnets_at(of, index), host, instance(host))


def host(name: str, *addresses: str) -> ClusterHost:
    return ClusterHost(name, instance(name), tuple(map(ip_address, addresses)), stable_mac("vtep", instance(name)))


def plan(me: Here, members: Iterable[Member], hosts: Iterable[ClusterHost] = (), blocks: Iterable[Block] = ()) -> Plan:
    return Plan(me, members, {one.name: one for one in hosts}, blocks)
