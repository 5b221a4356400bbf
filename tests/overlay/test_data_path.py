"""The data path between hosts in namespaces, as the agent makes it: VXLAN and plain routes, strict reverse path filter.

No agent and no store take part: each host applies its own plan.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_network
from time import sleep
from typing import NamedTuple

import pytest

from cni_cnm.cluster.apply import Applied, Applier
from cni_cnm.cluster.plan import Plan
from cni_cnm.cluster.underlay import Here, Member
from cni_cnm.cluster.uplink import uplinks
from cni_cnm.cluster.values import ClusterHost, OverlayNetwork
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.kernel.overlay_stack import KernelOverlayStack
from cni_cnm.model import stable_mac
from tests.cluster.clusters import block, instance, network
from tests.kernel.lab import WAIT, Namespace
from tests.waiting import until

SUBNETS = {4: "192.0.2.0/24", 6: "2001:db8::/64"}


class Site(NamedTuple):
    """A host on the underlay, its bridge with a pod, and the agent's hand on its kernel."""

    name: str
    number: int
    host: Namespace
    pod: Namespace
    applier: Applier
    stack: KernelOverlayStack

    def record(self, version: int) -> ClusterHost:
        address = ip_network(SUBNETS[version])[10 + self.number]
        return ClusterHost(self.name, instance(self.name), (address,), stable_mac("vtep", self.name))


class Cluster:
    """Hosts on one switch, which is a namespace with a bridge. Each has the block of its number."""

    def __init__(self, net: OverlayNetwork, version: int, count: int = 2) -> None:
        self.network, self.version = net, version
        self.switch = Namespace()
        self.switch.ip("link add br0 type bridge")
        self.switch.ip("link set br0 up")
        self.sites = [self._site(number) for number in range(count)]

    def _site(self, number: int) -> Site:
        name = f"n{number}"
        host, pod = Namespace(), Namespace()
        self.switch.ip(f"link add port{number} type veth peer name eth0 netns {host.path}")
        self.switch.ip(f"link set port{number} master br0 up")
        underlay = ip_network(SUBNETS[self.version])
        host.ip(
            f"addr add {underlay[10 + number]}/{underlay.prefixlen} dev eth0{' nodad' if self.version == 6 else ''}"
        )
        host.ip("link set eth0 up")
        host.ip("link add br-web type bridge")
        host.ip("link set br-web up")
        host.ip(f"link add pod0 type veth peer name eth0 netns {pod.path}")
        host.ip("link set pod0 master br-web up")
        pod.ip("link set eth0 up")
        for subnet in block(self.network, number, name).subnets:
            flag = " nodad" if subnet.version == 6 else ""
            host.ip(f"addr add {subnet[1]}/{subnet.prefixlen} dev br-web{flag}")
            pod.ip(f"addr add {subnet[2]}/{subnet.prefixlen} dev eth0{flag}")
            pod.run("ip", "route", "add", "default", "via", str(subnet[1]))
        for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv4/conf/all/rp_filter"):
            host.sysctl(key, "1")
        stack = KernelOverlayStack(os.dup(host.fd), host.path)
        return Site(name, number, host, pod, Applier(stack, KernelNft(host.fd)), stack)

    def apply(self, *known: Site) -> list[Applied]:
        """Every host applies its plan. `known`: the hosts of the directory; without any all of them."""
        records = {site.name: site.record(self.version) for site in known or self.sites}
        blocks = [block(self.network, site.number, site.name) for site in known or self.sites]
        done = []
        for site in self.sites:
            addresses = frozenset(address.ip for _, address in site.stack.all_addresses())
            here = Here(site.name, site.record(self.version).mac, uplinks(site.stack, ["eth0"]), addresses)
            own = Member(self.network, (block(self.network, site.number, site.name),))
            done.append(site.applier.whole(Plan(here, [own], records, blocks).wanted()))
        return done

    def address(self, site: Site, version: int, which: int = 2) -> str:
        """Of the pod; 1: of the bridge."""
        (subnet,) = (one for one in block(self.network, site.number, site.name).subnets if one.version == version)
        return str(subnet[which])

    def close(self) -> None:
        for site in self.sites:
            site.stack.close()
            for namespace in (site.pod, site.host):
                namespace.close()
        self.switch.close()


@pytest.fixture(params=[(4, "never"), (4, "auto"), (6, "never"), (6, "auto")], ids=lambda one: f"{one[0]}-{one[1]}")
def cluster(request: pytest.FixtureRequest, require_root: None) -> Iterator[Cluster]:
    """Over an underlay of IPv4 or IPv6, by VXLAN or by plain routes where they are possible."""
    version, direct = request.param
    net = network(subnets=("10.32.0.0/16", "fd32::/48"), sizes=(24, 64), direct=direct)
    made = Cluster(net, version)
    yield made
    made.close()


def test_pods_and_hosts_reach_each_other(cluster: Cluster) -> None:
    """By IPv4 and IPv6, in both directions, with the strict reverse path filter; a host's own packets are answered."""
    assert [done.problems for done in cluster.apply()] == [(), ()]
    near, far = cluster.sites
    for version in (4, 6):
        for one, other in ((near, far), (far, near)):
            target = cluster.address(other, version)
            for place in (one.pod, one.host):
                until(partial(place.pings, target), f"an answer of {target}", 10)
        port = socket.SOCK_STREAM
        with far.pod.serving(8080, port):
            assert near.pod.ask(cluster.address(far, version), 8080) == cluster.address(near, version)


@pytest.mark.quick("4-never", "6-auto")
def test_a_block_that_no_host_has_is_refused(cluster: Cluster) -> None:
    """At once, and not sent by the default route."""
    cluster.apply()
    near = cluster.sites[0]
    gateway = ip_network(SUBNETS[cluster.version])[99]
    near.host.run("ip", "route", "add", "default", "via", str(gateway))
    for target in ("10.32.99.2", "fd32:0:0:99::2"):
        shown = near.host.run("ip", "route", "get", target, check=False)
        assert "via" not in shown, shown
        family, level, option = (
            (socket.AF_INET6, socket.IPPROTO_IPV6, 25) if ":" in target else (socket.AF_INET, socket.IPPROTO_IP, 11)
        )  # IPV6_RECVERR, IP_RECVERR
        with near.pod.socket(family, socket.SOCK_DGRAM) as client:
            client.setsockopt(level, option, 1)
            client.connect((target, 80))
            client.send(b"?")
            with pytest.raises(OSError, match=r"unreachable|No route"):
                client.recv(1)


@pytest.mark.quick("4-never", "6-auto")
def test_a_full_packet_passes(cluster: Cluster) -> None:
    """One of the device's MTU, not to be divided; one byte more does not."""
    cluster.apply()
    near, far = cluster.sites
    link = near.stack.link("cnm-vx4096")
    assert link is not None
    for side in (near, far):
        side.pod.ip(f"link set eth0 mtu {link.mtu}")
        side.host.ip(f"link set pod0 mtu {link.mtu}")
    near.pod.sysctl("net/ipv4/ip_no_pmtu_disc", "2")
    until(lambda: near.pod.pings(cluster.address(far, 4)), "the other pod answers", 10)
    with far.pod.socket(kind=socket.SOCK_DGRAM) as server, near.pod.socket(kind=socket.SOCK_DGRAM) as client:
        server.bind(("", 9))
        client.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
        client.sendto(bytes(link.mtu - 28), (cluster.address(far, 4), 9))
        assert len(server.recv(9000)) == link.mtu - 28
        with pytest.raises(OSError, match="too long"):
            client.sendto(bytes(link.mtu - 27), (cluster.address(far, 4), 9))


def vxlan_packet(vni: int, destination_mac: str) -> bytes:
    """A VXLAN packet (RFC 7348) with an Ethernet frame of an unused type."""
    frame = bytes.fromhex(destination_mac.replace(":", "")) + bytes.fromhex("020000000099") + b"\x88\xb5" + bytes(46)
    return struct.pack("!II", 0x08000000, vni << 8) + frame


def inject(sender: Namespace, target: Site, version: int, *, arrives: bool, source: str = "") -> None:
    """Send a packet to the target's host, and see whether its device receives it; `source`: a made-up one.

    One that is to arrive is sent again: the kernel takes up to a second until a new link has IPv6.
    """
    record = target.record(version)

    def received() -> int:
        (shown,) = json.loads(target.host.run("ip", "-s", "-j", "link", "show", "cnm-vx4096"))
        return int(shown["stats64"]["rx"]["packets"])

    before = received()
    with sender.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as client:
        if source:
            client.bind((source, 0))

        def arrived() -> bool:
            client.sendto(vxlan_packet(4096, record.mac), (str(record.addresses[0]), 4799))
            sleep(WAIT / 4)
            return received() > before

        if arrives:
            until(arrived, "the device receives a packet", 10)
        else:
            assert not arrived()


@pytest.fixture(params=[4, 6])
def three(request: pytest.FixtureRequest, require_root: None) -> Iterator[Cluster]:
    """Three hosts, by VXLAN over an underlay of IPv4 or IPv6; no plan is applied yet."""
    made = Cluster(network(subnets=("10.32.0.0/16", "fd32::/48"), sizes=(24, 64)), request.param, count=3)
    yield made
    made.close()


def test_vxlan_of_strangers_is_dropped(three: Cluster) -> None:
    """What a host that is not in the directory sends does not reach the device; what a known one sends does."""
    near, far, stranger = three.sites
    three.apply(near, far)
    inject(stranger.host, near, three.version, arrives=False)
    inject(far.host, near, three.version, arrives=True)


def test_vxlan_of_a_pod_is_dropped(three: Cluster) -> None:
    """Masquerade would give it the address of its host, which other hosts accept. Nor can it have a known host's."""
    three.apply()
    near, far, other = three.sites
    near.host.run("nft", "-f", "-", text=(
        "add table inet nat\n"
        "add chain inet nat after { type nat hook postrouting priority srcnat; }\n"
        "add rule inet nat after oifname eth0 masquerade\n"
    ))  # fmt: skip
    near.host.sysctl("net/ipv4/conf/all/rp_filter", "0")
    inject(near.pod, far, three.version, arrives=False)
    inject(near.host, far, three.version, arrives=True)
    known = str(other.record(three.version).addresses[0])
    near.pod.ip(f"addr add {known}/{128 if three.version == 6 else 32} dev eth0{' nodad' * (three.version == 6)}")
    inject(near.pod, far, three.version, arrives=False, source=known)


def test_a_host_may_be_a_router_of_others(three: Cluster) -> None:
    """It forwards what they send to each other, from the link that leads back to the sender."""
    three.apply()
    near, far, router = three.sites
    target, way = (str(site.record(three.version).addresses[0]) for site in (near, router))
    far.host.run("ip", "route", "add", f"{target}/{128 if three.version == 6 else 32}", "via", way)
    assert way in far.host.run("ip", "route", "get", target)
    inject(far.host, near, three.version, arrives=True)


@pytest.mark.quick("4-never", "6-auto")
def test_a_host_that_leaves_is_a_stranger(cluster: Cluster) -> None:
    """Its address is no longer accepted, and its blocks are refused."""
    cluster.apply()
    near, far = cluster.sites
    cluster.apply(near)
    assert not near.pod.pings(cluster.address(far, 4))
    cluster.apply()
    until(lambda: near.pod.pings(cluster.address(far, 4)), "it is accepted again", 10)
