"""Published ports with real connections: from everywhere, in every way, and taken back."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_interface
from typing import Any

import pytest

from cni_cnm.errors import PortTaken
from cni_cnm.firewall import INET, masquerade, port_conflicts, portmap
from cni_cnm.firewall.portmap_options import parse_mappings, parse_options
from cni_cnm.kernel import Transaction
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.model import PortmapOptions
from tests.kernel.lab import Lab, Namespace, missing

UDP = socket.SOCK_DGRAM
ADDRESSES = (ip_interface("10.88.0.5/24"), ip_interface("fd00:88::5/64"))
ID, OTHER_ID = "a" * 64, "b" * 64


class Host:
    """A host with a network of two pods, a second network, and another host beside it."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.host = lab, lab.host
        lab.bridge("br0", "10.88.0.1/24", "fd00:88::1/64")
        lab.bridge("br1", "10.99.0.1/24")
        gateways = ("10.88.0.1", "fd00:88::1")
        self.pod = lab.pod("br0", "veth5", "10.88.0.5/24", "fd00:88::5/64", gateways=gateways)
        self.neighbour = lab.pod("br0", "veth6", "10.88.0.6/24", "fd00:88::6/64", gateways=gateways)
        self.foreign = lab.pod("br1", "veth7", "10.99.0.7/24", gateways=("10.99.0.1",))
        here = ("192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64")
        self.outside = lab.outside("192.0.2.9/24", "2001:db8::9/64", here=here)
        self.nft = KernelNft(lab.host.fd)

    def publish(self, *mappings: dict[str, Any], options: PortmapOptions = portmap.DEFAULT) -> None:
        self.nft.commit(portmap.publish(ID, "net/c/eth0", ADDRESSES, parse_mappings(mappings), options))
        self.host.sysctl("net/ipv4/conf/br0/route_localnet", "1")


def mapping(host: int, container: int = 80, **more: Any) -> dict[str, Any]:
    return {"hostPort": host, "containerPort": container, "protocol": "tcp", **more}


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP])
@pytest.mark.parametrize("bridge_nf", ["0", "1"])
def test_from_everywhere(lab: Lab, kind: int, bridge_nf: str) -> None:
    """Another host, the host itself, 127.0.0.1, a neighbour, the pod itself and another network reach the port."""
    at = Host(lab)
    try:
        at.host.sysctl("net/bridge/bridge-nf-call-iptables", bridge_nf)
        at.host.sysctl("net/bridge/bridge-nf-call-ip6tables", bridge_nf)
    except FileNotFoundError:
        pytest.skip("this kernel has no br_netfilter")
    at.host.run("bridge", "link", "set", "dev", "veth5", "hairpin", "on")
    at.publish(mapping(8080, protocol="tcp"), mapping(8080, protocol="udp"))
    with at.pod.serving(80, kind):
        assert at.outside.ask("192.0.2.1", 8080, kind) == "192.0.2.9"
        assert at.outside.ask("2001:db8::1", 8080, kind) == "2001:db8::9"
        assert at.host.ask("192.0.2.1", 8080, kind) == "192.0.2.1"
        assert at.host.ask("2001:db8::1", 8080, kind) == "2001:db8::1"
        assert at.host.ask("127.0.0.1", 8080, kind) == "10.88.0.1"
        assert at.neighbour.ask("192.0.2.1", 8080, kind) == "10.88.0.1"
        assert at.neighbour.ask("10.88.0.1", 8080, kind) == "10.88.0.1"
        assert at.neighbour.ask("fd00:88::1", 8080, kind) == "fd00:88::1"
        assert at.pod.ask("192.0.2.1", 8080, kind) == "10.88.0.1"
        assert at.pod.ask("2001:db8::1", 8080, kind) == "fd00:88::1"
        assert at.foreign.ask("192.0.2.1", 8080, kind) == "10.99.0.7"
        assert at.outside.ask("192.0.2.1", 80, kind) is None


KUBE_PROXY = """
table inet kube-proxy {
    chain services {
        meta l4proto { tcp, udp } ip daddr 10.96.0.10 th dport { 80, 8080 } dnat ip to 10.88.0.5:80
        meta l4proto { tcp, udp } ip6 daddr fd00:96::10 th dport { 80, 8080 } dnat ip6 to [fd00:88::5]:80
        meta l4proto { tcp, udp } fib daddr type local meta nfproto ipv4 th dport 30080 dnat ip to 10.88.0.5:80
        meta l4proto { tcp, udp } fib daddr type local meta nfproto ipv6 th dport 30080 dnat ip6 to [fd00:88::5]:80
    }
    chain prerouting { type nat hook prerouting priority dstnat; jump services; }
    chain output { type nat hook output priority -100; jump services; }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr 10.88.0.5 ip daddr 10.88.0.5 masquerade
        ip6 saddr fd00:88::5 ip6 daddr fd00:88::5 masquerade
    }
}
"""
"""A Service with ClusterIP and NodePort, whose endpoint is the pod. A pod that reaches itself is masqueraded."""


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP])
@pytest.mark.parametrize("first", ["kube-proxy", "publish"])
def test_service_keeps_the_clients_address(lab: Lab, kind: int, first: str) -> None:
    """What kube-proxy redirects to a pod with a hostPort keeps its source, as without hostPort; the port is served."""
    at = Host(lab)
    try:
        for key in ("iptables", "ip6tables"):
            at.host.sysctl(f"net/bridge/bridge-nf-call-{key}", "1")
    except FileNotFoundError:
        pytest.skip("this kernel has no br_netfilter")
    at.host.run("bridge", "link", "set", "dev", "veth5", "hairpin", "on")
    for route in ("10.96.0.0/16 via 192.0.2.1", "fd00:96::/64 via 2001:db8::1"):
        at.outside.ip(f"route add {route}")
    if first == "kube-proxy":
        at.host.run("nft", "-f", "-", text=KUBE_PROXY)
    at.publish(mapping(8080, protocol="tcp"), mapping(8080, protocol="udp"))
    if first == "publish":
        at.host.run("nft", "-f", "-", text=KUBE_PROXY)
    with at.pod.serving(80, kind):
        for port in (80, 8080):
            for client, address, address6 in (
                (at.neighbour, "10.88.0.6", "fd00:88::6"),
                (at.foreign, "10.99.0.7", ""),
                (at.outside, "192.0.2.9", "2001:db8::9"),
                (at.pod, "10.88.0.1", "fd00:88::1"),
            ):
                assert client.ask("10.96.0.10", port, kind) == address
                assert not address6 or client.ask("fd00:96::10", port, kind) == address6
        assert at.neighbour.ask("192.0.2.1", 30080, kind) == "10.88.0.6"
        assert at.neighbour.ask("2001:db8::1", 30080, kind) == "fd00:88::6"
        assert at.neighbour.ask("192.0.2.1", 8080, kind) == "10.88.0.1"
        assert at.neighbour.ask("2001:db8::1", 8080, kind) == "fd00:88::1"
        assert at.pod.ask("192.0.2.1", 8080, kind) == "10.88.0.1"
        assert at.pod.ask("2001:db8::1", 8080, kind) == "fd00:88::1"
        assert at.host.ask("127.0.0.1", 8080, kind) == "10.88.0.1"


OTHERS_MARKS = """
table inet other {
    counter kept { }
    counter changed { }
    chain before { type filter hook prerouting priority mangle; ct mark set 0xa5000001; }
    chain before_output { type route hook output priority mangle; ct mark set 0xa5000001; }
    chain after { type filter hook postrouting priority 300; jump look; }
    chain after_input { type filter hook input priority 300; jump look; }
    chain look {
        meta l4proto != tcp return
        ct mark 0xa5000001 meta mark 0x0 counter name kept return
        counter name changed
    }
}
"""


def test_marks_of_others_stay(lab: Lab) -> None:
    """A connection's mark is what another program made it, redirected or not, and no packet is marked."""
    at = Host(lab)
    at.publish(mapping(8080))
    at.host.run("nft", "-f", "-", text=OTHERS_MARKS)
    with at.pod.serving(80), at.host.serving(22):
        assert at.outside.ask("192.0.2.1", 8080) == "192.0.2.9"
        assert at.neighbour.ask("2001:db8::1", 8080) == "fd00:88::1"
        assert at.host.ask("127.0.0.1", 8080) == "10.88.0.1"
        assert at.outside.ask("192.0.2.1", 22) == "192.0.2.9"
    counters = at.host.run("nft", "list", "counters")
    assert "counter changed {\n\t\tpackets 0 " in counters
    assert "counter kept {\n\t\tpackets 0 " not in counters


def test_taken_back(lab: Lab) -> None:
    """After unpublish nothing answers, and no element stays."""
    at = Host(lab)
    wanted = parse_mappings([mapping(8080), mapping(9000, 9000, range=10), mapping(9100, hostIP="192.0.2.1")])
    with at.pod.serving(80):
        at.nft.commit(portmap.publish(ID, "n", ADDRESSES, wanted))
        assert at.outside.ask("192.0.2.1", 8080) == "192.0.2.9"
        at.nft.commit(portmap.unpublish(ID, "n", ADDRESSES, wanted))
        assert at.outside.ask("192.0.2.1", 8080) is None
    assert at.nft.elements(INET) == []


def test_only_for_the_host(lab: Lab) -> None:
    """A packet that is routed through to somewhere else keeps its destination, whatever its port."""
    at = Host(lab)
    at.publish(mapping(8080))
    at.nft.commit(masquerade.add(OTHER_ID, "n", (ip_interface("10.88.0.6/24"),)))
    with at.pod.serving(80), at.outside.serving(8080):
        assert at.neighbour.ask("192.0.2.9", 8080) == "192.0.2.1"


def test_host_address(lab: Lab) -> None:
    """A port of one host address is not one of another; it goes before the same port of every address."""
    at = Host(lab)
    at.publish(
        mapping(8080, 81, hostIP="192.0.2.1"),
        mapping(8080, 80),
        mapping(8081, 81, hostIP="192.0.2.1"),
        mapping(8082, 81, hostIP="127.0.0.1"),
        mapping(8083, 81, hostIP="2001:db8::1"),
        mapping(8084, 81, hostIP="0.0.0.0"),
        mapping(8085, 81, hostIP="::"),
    )
    with at.pod.serving(81):
        assert at.outside.ask("192.0.2.1", 8080) == "192.0.2.9"
        assert at.outside.ask("192.0.2.1", 8081) == "192.0.2.9"
        assert at.outside.ask("192.0.2.2", 8080) is None
        assert at.outside.ask("192.0.2.2", 8081) is None
        assert at.outside.ask("192.0.2.1", 8082) is None
        assert at.host.ask("127.0.0.1", 8082) == "10.88.0.1"
        assert at.outside.ask("2001:db8::1", 8083) == "2001:db8::9"
        assert at.outside.ask("192.0.2.1", 8083) is None
        assert at.outside.ask("192.0.2.1", 8084) == "192.0.2.9"
        assert at.outside.ask("2001:db8::1", 8084) is None
        assert at.outside.ask("2001:db8::1", 8085) == "2001:db8::9"
        assert at.outside.ask("192.0.2.1", 8085) is None


def test_ranges(lab: Lab) -> None:
    """A range with equal numbers keeps the port and is one element; a shifted one moves each port."""
    at = Host(lab)
    at.publish(
        mapping(8000, 8000, range=100),
        mapping(9000, 7000, range=3),
        mapping(5000, 5000, range=2, hostIP="192.0.2.2"),
    )
    assert len(at.nft.elements(INET, "ranges4")) == 1
    for port, served in ((8000, 8000), (8099, 8099), (9000, 7000), (9002, 7002)):
        with at.pod.serving(served):
            assert at.outside.ask("192.0.2.1", port) == "192.0.2.9"
            assert at.outside.ask("2001:db8::1", port) == "2001:db8::9"
    with at.pod.serving(5001), at.pod.serving(8100), at.pod.serving(7003):
        assert at.outside.ask("192.0.2.2", 5001) == "192.0.2.9"
        assert at.outside.ask("192.0.2.1", 5001) is None
        assert at.outside.ask("192.0.2.1", 8100) is None
        assert at.outside.ask("192.0.2.1", 9003) is None


def test_other_loopback_addresses_stay_the_hosts(lab: Lab) -> None:
    """A pod that publishes 53 does not take 127.0.0.53 or ::1 from the host's own resolver."""
    at = Host(lab)
    at.publish(mapping(53, 80))
    with at.pod.serving(80), at.host.serving(53, address="127.0.0.53"):
        assert at.host.ask("127.0.0.53", 53) == "127.0.0.1"
        assert at.host.ask("127.0.0.1", 53) == "10.88.0.1"
        assert at.host.ask("::1", 53) is None


def test_loopback_is_closed_to_the_wire(lab: Lab) -> None:
    """With route_localnet on, a neighbour could reach services at 127.0.0.1; they stay closed."""
    at = Host(lab)
    at.host.sysctl("net/ipv4/conf/br0/route_localnet", "1")
    at.pod.sysctl("net/ipv4/conf/eth0/route_localnet", "1")
    at.pod.ip("addr del 127.0.0.1/8 dev lo")
    at.pod.ip("route add 127.0.0.1 via 10.88.0.1 src 10.88.0.5")
    with at.host.serving(22, address="127.0.0.1"):
        assert at.pod.ask("127.0.0.1", 22) == "10.88.0.5", "the attack this is about does not work here"
        at.publish(mapping(8080))
        assert at.pod.ask("127.0.0.1", 22) is None
        assert at.host.ask("127.0.0.1", 22) == "127.0.0.1"


def test_masquerade_keys(lab: Lab) -> None:
    """snat false: neighbours and 127.0.0.1 get no answer; masqAll: everyone looks like the host."""
    at = Host(lab)
    at.publish(mapping(8080), options=parse_options({"snat": False})[0])
    with at.pod.serving(80):
        assert at.outside.ask("192.0.2.1", 8080) == "192.0.2.9"
        assert at.host.ask("127.0.0.1", 8080) is None
        at.publish(mapping(8080), options=parse_options({"masqAll": True})[0])
        assert at.outside.ask("192.0.2.1", 8080) == "10.88.0.1"
        assert at.host.ask("127.0.0.1", 8080) == "10.88.0.1"


def test_conditions(lab: Lab) -> None:
    """Only what meets a network's conditions is redirected, another network's ports are as they were."""
    at = Host(lab)
    options = parse_options({"conditionsV4": ["ip", "saddr", "!=", "192.0.2.9"]})[0]
    at.publish(mapping(8080), options=options)
    neighbour = (ip_interface("10.88.0.6/24"),)
    at.nft.commit(portmap.publish(OTHER_ID, "n", neighbour, parse_mappings([mapping(8081)])))
    with at.pod.serving(80), at.neighbour.serving(80):
        assert at.outside.ask("192.0.2.1", 8080) is None
        assert at.outside.ask("2001:db8::1", 8080) == "2001:db8::9"
        assert at.foreign.ask("192.0.2.1", 8080) == "10.99.0.7"
        assert at.outside.ask("192.0.2.1", 8081) == "192.0.2.9"


def test_taken_port_is_refused(lab: Lab) -> None:
    """A port, a range and a port within a range that a living endpoint has are refused with its name."""
    at = Host(lab)
    at.publish(mapping(8080), mapping(9000, 9000, range=100), mapping(7000, hostIP="192.0.2.1"))
    other = (ip_interface("10.88.0.6/24"),)
    before = at.nft.elements(INET)
    wanted: Sequence[tuple[dict[str, Any], str]] = (
        (mapping(8080), "8080/tcp"),
        (mapping(9000, 9000, range=100), "9000-9099/tcp"),
        (mapping(9050), "9000-9099/tcp"),
        (mapping(8900, 8900, range=500), "9000-9099/tcp"),
        (mapping(8000, 8000, range=100), "8080/tcp"),
        (mapping(7000, hostIP="192.0.2.1"), "192.0.2.1 7000/tcp"),
    )
    for one, named in wanted:
        transaction = portmap.publish(OTHER_ID, "net/d/eth0", other, parse_mappings([mapping(1234), one]))
        with pytest.raises(PortTaken, match=f"{named} is already published by net/c/eth0"):
            port_conflicts.commit(at.nft, transaction, lambda owner: owner == ID[:12])
        at.nft.commit(portmap.unpublish(OTHER_ID, "net/d/eth0", other, parse_mappings([mapping(1234), one])))
        assert at.nft.elements(INET) == before
    free = [mapping(8080, protocol="udp"), mapping(7000), mapping(7000, hostIP="192.0.2.2"), mapping(9100)]
    port_conflicts.commit(at.nft, portmap.publish(OTHER_ID, "n", other, parse_mappings(free)), lambda _: True)


def test_dead_endpoints_port_is_taken_over(lab: Lab) -> None:
    """What a vanished endpoint left behind makes way: its port, its range, and all else it had."""
    at = Host(lab)
    at.publish(mapping(8080), mapping(9000, 9000, range=100), mapping(7000))
    at.nft.commit(masquerade.add(ID, "n", ADDRESSES))
    other = (ip_interface("10.88.0.6/24"),)
    wanted = parse_mappings([mapping(8080), mapping(9050)])
    port_conflicts.commit(at.nft, portmap.publish(OTHER_ID, "n", other, wanted), lambda _: False)
    assert {element.owner for element in at.nft.elements(INET)} == {OTHER_ID[:12]}
    with at.neighbour.serving(80):
        assert at.outside.ask("192.0.2.1", 9050) == "192.0.2.9"


def test_element_of_every_protocol(lab: Lab) -> None:
    """tcp, udp and sctp are told apart; this machine may have no SCTP to talk with, so the element is looked at."""
    at = Host(lab)
    at.publish(*(mapping(8080, protocol=name) for name in ("tcp", "udp", "sctp")))
    listing = at.host.run("nft", "list", "map", *INET.split(), "ports4")
    assert all(f"{name} . 8080" in listing for name in ("tcp", "udp", "sctp"))


def test_thousand_ports_beside_five_thousand(lab: Lab) -> None:
    """Publishing 1,000 ports of a pod, where 5,000 are published already, and taking them back: all of them."""
    at = Host(lab)
    others = portmap.publish(
        OTHER_ID, "n", ADDRESSES, parse_mappings([mapping(20000 + port, 1 + port) for port in range(5000)])
    )
    at.nft.commit(others)
    at.publish(*(mapping(10000 + port, 1 + port) for port in range(1000)))
    with at.pod.serving(80):
        assert at.outside.ask("192.0.2.1", 10079) == "192.0.2.9"
    wanted = portmap.publish(ID, "n", ADDRESSES, parse_mappings([mapping(10000 + p, 1 + p) for p in range(1000)]))
    assert missing(at.nft, wanted.claim) == []
    at.nft.commit(Transaction(release=wanted.claim))
    assert len(missing(at.nft, wanted.claim)) == len(wanted.claim)
    assert missing(at.nft, others.claim) == []


@pytest.mark.parametrize("flush", ["flush ruleset", "flush table inet cni_cnm", "delete table inet cni_cnm"])
def test_comes_back_after_a_flush(lab: Lab, flush: str) -> None:
    """Whatever was flushed: the same transaction with its declaration brings it back."""
    at = Host(lab)
    transaction = portmap.publish(ID, "n", ADDRESSES, parse_mappings([mapping(8080), mapping(9000, 9000, range=9)]))
    at.nft.commit(transaction)
    with at.pod.serving(80):
        assert at.outside.ask("192.0.2.1", 8080) == "192.0.2.9"
        at.host.run("nft", flush)
        assert at.outside.ask("192.0.2.1", 8080) is None
        at.nft.commit(transaction, declare=True)
        assert at.outside.ask("192.0.2.1", 8080) == "192.0.2.9"
        assert missing(at.nft, transaction.claim) == []


def test_streams() -> None:
    """Ranges of the host's ports by protocol; SCTP has no streams that need forgetting here."""
    mappings = [
        mapping(5, 6, protocol="udp"), mapping(8, 8, protocol="udp", range=3), mapping(9), mapping(7, protocol="sctp"),
    ]  # fmt: skip
    wanted = parse_mappings(mappings)
    assert portmap.streams(wanted) == ((17, range(5, 6)), (17, range(8, 11)), (6, range(9, 10)))
    assert portmap.streams(wanted, ("udp",)) == ((17, range(5, 6)), (17, range(8, 11)))


def test_targets() -> None:
    """Where published ports lead, told by their elements; what masquerades is none of them."""
    wanted = parse_mappings([mapping(5, 6), mapping(8, 8, range=3)])
    made = portmap.publish(ID, "n", ADDRESSES, wanted)
    assert portmap.targets((*made.claim, *made.put)) == {address.ip for address in ADDRESSES}
    assert portmap.targets(made.put) == set()


def test_namespace_of_the_test_only(lab: Lab) -> None:
    """Nothing of this lands in the namespace the tests run in."""
    at = Host(lab)
    at.publish(mapping(8080))
    assert isinstance(lab.host, Namespace)
    assert not KernelNft().elements(INET)
