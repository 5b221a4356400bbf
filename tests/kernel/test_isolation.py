"""Isolation with real packets: between networks, inside a network, internal networks."""

from __future__ import annotations

import socket
from ipaddress import ip_interface, ip_network
from socket import SOCK_DGRAM

import pytest

from cni_cnm.errors import InvalidConfig
from cni_cnm.firewall import BRIDGE, INET, Policy, isolation, masquerade, overlay, portmap
from cni_cnm.firewall.isolation import ISOLATED, OPEN, ROUTED, SAME_BRIDGE
from cni_cnm.firewall.portmap_options import parse_mappings
from cni_cnm.kernel import Transaction
from cni_cnm.kernel.nft import KernelNft
from tests.kernel.lab import WAIT, Lab, Namespace
from tests.memory_kernel.nft import MemoryNft

ADDRESSES = {
    "one": ("10.1.0.2/24", "fd00:1::2/64"),
    "two": ("10.1.0.3/24", "fd00:1::3/64"),
    "far": ("10.2.0.2/24", "fd00:2::2/64"),
}
ARRIVED = """\
add table inet arrived
add chain inet arrived after { type filter hook postrouting priority 300; }
add rule inet arrived after iifname br1 oifname br2 meta nfproto ipv4 counter
add rule inet arrived after iifname br1 oifname br2 meta nfproto ipv6 counter
"""
"""Counts what br1 sends into br2, after the isolation."""


class Host:
    """Bridge br1 with the pods one and two, bridge br2 with the pod far, and another host with routes to both."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.host, self.nft = lab, lab.host, KernelNft(lab.host.fd)
        lab.bridge("br1", "10.1.0.1/24", "fd00:1::1/64")
        lab.bridge("br2", "10.2.0.1/24", "fd00:2::1/64")
        self.pods: dict[str, Namespace] = {}
        for name, addresses in ADDRESSES.items():
            net = "2" if name == "far" else "1"
            gateways = (f"10.{net}.0.1", f"fd00:{net}::1")
            self.pods[name] = lab.pod(f"br{net}", f"veth{name}", *addresses, gateways=gateways)
            self.pods[name].ip(f"link set eth0 address {self.mac(name)}")
            for gateway in gateways:  # a new MAC address takes the default route along
                self.pods[name].run("ip", "route", "replace", "default", "via", gateway)
        self.outside = lab.outside("192.0.2.9/24", "2001:db8::9/64", here=("192.0.2.1/24", "2001:db8::1/64"))
        for net in ("1", "2"):
            self.outside.ip(f"route add 10.{net}.0.0/24 via 192.0.2.1")
            self.outside.ip(f"route add fd00:{net}::/64 via 2001:db8::1")

    @staticmethod
    def mac(name: str) -> str:
        return f"02:00:00:00:00:{list(ADDRESSES).index(name) + 1:02x}"

    def network(
        self,
        bridge: str,
        policy: str = SAME_BRIDGE,
        *,
        internal: bool = False,
        published_only: tuple[int, ...] = (),
        trusted: tuple[str, ...] = (),
    ) -> None:
        made = isolation.add_network(
            bridge * 16, bridge, bridge, policy, internal=internal, published_only=published_only, trusted=trusted
        )
        self.nft.commit(made)
        if policy == ISOLATED:
            for name in ("one", "two") if bridge == "br1" else ("far",):
                self.nft.commit(isolation.add_endpoint(name * 16, name, f"veth{name}", self.mac(name)))

    def bridge_nf(self, value: str) -> None:
        try:
            for key in ("iptables", "ip6tables", "arptables"):
                self.host.sysctl(f"net/bridge/bridge-nf-call-{key}", value)
        except FileNotFoundError:
            pytest.skip("this kernel has no br_netfilter")

    def reaches(self, source: str, target: str) -> bool:
        """By both families, which must agree."""
        client = self.outside if source == "outside" else self.pods[source]
        if target == "outside":
            server, addresses = self.outside, ("192.0.2.9", "2001:db8::9")
        elif target == "host":
            net = "2" if source == "far" else "1"
            server, addresses = self.host, (f"10.{net}.0.1", f"fd00:{net}::1")
        else:
            server, addresses = self.pods[target], tuple(a.partition("/")[0] for a in ADDRESSES[target])  # type: ignore[assignment]
        with server.serving(80):
            answers = {client.ask(address, 80) is not None for address in addresses}
        assert len(answers) == 1, f"the families differ from {source} to {target}"
        return answers.pop()


@pytest.fixture
def at(lab: Lab) -> Host:
    return Host(lab)


@pytest.mark.parametrize("bridge_nf", ["0", "1"])
def test_networks_do_not_reach_each_other(at: Host, bridge_nf: str) -> None:
    """By default: not from network to network; within one, to the host and out, yes."""
    at.bridge_nf(bridge_nf)
    assert at.reaches("one", "far"), "without isolation this host routes between its bridges"
    at.network("br1")
    at.network("br2")
    assert not at.reaches("one", "far")
    assert not at.reaches("far", "one")
    for source, target in (("one", "two"), ("one", "host"), ("one", "outside"), ("outside", "far")):
        assert at.reaches(source, target)


def test_allow_and_revoke(at: Host) -> None:
    """Two networks are opened to each other as one operation, and closed again, also for a connection that exists."""
    at.network("br1")
    at.network("br2")
    at.nft.commit(isolation.allow("a" * 64, "br1", ["br1"], ["br2"]))
    assert at.reaches("one", "far")
    assert at.reaches("far", "one")
    at.nft.commit(isolation.revoke(["br2"], ["br1"]))
    assert not at.reaches("one", "far")
    assert not at.reaches("far", "one")
    assert at.reaches("one", "two")


def test_policy_open(at: Host) -> None:
    """An open network reaches, and is reached by, one that is not, as with the reference plugin."""
    at.network("br1", OPEN)
    at.network("br2")
    assert at.reaches("one", "far")
    assert at.reaches("far", "one")


@pytest.mark.parametrize("bridge_nf", ["0", "1"])
def test_policy_isolated(at: Host, bridge_nf: str) -> None:
    """icc false: endpoints of one network do not reach each other, but host, outside and published ports they do."""
    at.bridge_nf(bridge_nf)
    at.network("br1", ISOLATED)
    at.network("br2")
    assert not at.reaches("one", "two")
    assert not at.reaches("two", "one")
    assert not at.reaches("one", "far")
    assert at.reaches("one", "host")
    assert at.reaches("one", "outside")
    wanted = parse_mappings([{"hostPort": 8080, "containerPort": 80}])
    at.nft.commit(portmap.publish("b" * 64, "two", [ip_interface(a) for a in ADDRESSES["two"]], wanted))
    with at.pods["two"].serving(80):
        assert at.pods["one"].ask("192.0.2.1", 8080) == "10.1.0.1"
        assert at.pods["one"].ask("2001:db8::1", 8080) == "fd00:1::1"
        assert at.pods["far"].ask("192.0.2.1", 8080) == "10.2.0.2"


def test_closed_links_see_no_foreign_frame(at: Host) -> None:
    """Neither with a made-up neighbour entry, nor with another MAC address than the recorded one."""
    at.bridge_nf("0")
    at.network("br1", ISOLATED)
    at.pods["one"].ip(f"neigh replace 10.1.0.3 lladdr {at.mac('two')} dev eth0")
    at.pods["two"].ip(f"neigh replace 10.1.0.2 lladdr {at.mac('one')} dev eth0")
    assert at.pods["one"].ask("10.1.0.3", 80) is None
    assert not at.pods["one"].pings("10.1.0.3")
    at.pods["two"].ip("link set eth0 address 02:00:00:00:00:77")
    at.pods["two"].ip(f"neigh replace 10.1.0.2 lladdr {at.mac('one')} dev eth0")
    at.pods["one"].ip("neigh replace 10.1.0.3 lladdr 02:00:00:00:00:77 dev eth0")
    assert not at.pods["one"].pings("10.1.0.3")
    at.nft.commit(Transaction(remove=isolation.add_endpoint("e", "two", "vethtwo", at.mac("two")).put))
    at.nft.commit(Transaction(remove=isolation.add_endpoint("e", "one", "vethone", at.mac("one")).put))
    assert at.pods["one"].pings("10.1.0.3")


def test_published_ports_cross_networks(at: Host) -> None:
    """By the host's address a published port is reached from an isolated network; the pod's own address is not."""
    at.network("br1")
    at.network("br2")
    addresses = [ip_interface(a) for a in ADDRESSES["far"]]
    at.nft.commit(
        portmap.publish("f" * 64, "far", addresses, parse_mappings([{"hostPort": 8080, "containerPort": 80}]))
    )
    at.nft.commit(masquerade.add("1" * 64, "one", [ip_interface(a) for a in ADDRESSES["one"]]))
    with at.pods["far"].serving(80):
        assert at.pods["one"].ask("192.0.2.1", 8080) == "10.2.0.1"
        assert at.pods["one"].ask("2001:db8::1", 8080) == "fd00:2::1"
        assert at.pods["one"].ask("10.2.0.2", 80) is None


@pytest.mark.parametrize("bridge_nf", ["0", "1"])
@pytest.mark.parametrize("policy", [SAME_BRIDGE, ISOLATED, ROUTED])
def test_bridges_of_others(at: Host, bridge_nf: str, policy: str) -> None:
    """A bridge of another program and an isolated network do not reach each other; an open one it reaches.

    By published ports it does, and everything else is as it was.
    """
    at.bridge_nf(bridge_nf)
    at.network("br1", OPEN)
    at.nft.commit(isolation.change_foreign(["br2"], ()))
    assert at.reaches("one", "far")
    assert at.reaches("far", "one")
    at.network("br1", policy)
    for source, target in (("one", "far"), ("far", "one")):
        assert not at.reaches(source, target)
    for source, target in (("one", "host"), ("far", "host"), ("one", "outside"), ("far", "outside")):
        assert at.reaches(source, target)
    assert at.reaches("outside", "far")
    for name, port in (("one", 8080), ("far", 8081)):
        mappings = parse_mappings([{"hostPort": port, "containerPort": 80}])
        at.nft.commit(portmap.publish(name * 16, name, [ip_interface(a) for a in ADDRESSES[name]], mappings))
    with at.pods["one"].serving(80), at.pods["far"].serving(80):
        for address in ("192.0.2.1", "2001:db8::1"):
            assert at.pods["far"].ask(address, 8080)
            assert at.pods["one"].ask(address, 8081)
    at.nft.commit(isolation.change_foreign((), ["br2"]))
    assert at.reaches("one", "far")


@pytest.mark.parametrize("bridge_nf", ["0", "1"])
@pytest.mark.parametrize("policy", [SAME_BRIDGE, ISOLATED])
def test_the_lan_reaches_published_ports_only(at: Host, bridge_nf: str, policy: str) -> None:
    """Another host that has a route to a pod, by both families; answers, the host and the pods are not concerned."""
    at.bridge_nf(bridge_nf)
    at.network("br1", policy)
    assert at.reaches("outside", "one"), "as networks of 0.1.0 were"
    at.network("br1", policy, published_only=(4, 6))
    at.network("br2", OPEN)
    mappings = parse_mappings([{"hostPort": 8080, "containerPort": 80}])
    at.nft.commit(portmap.publish("o" * 64, "one", [ip_interface(a) for a in ADDRESSES["one"]], mappings))
    assert not at.reaches("outside", "one")
    assert not at.reaches("far", "one"), "an open network is no more than the LAN"
    assert at.reaches("one", "far")
    assert at.reaches("one", "outside")
    assert at.reaches("one", "two") is (policy == SAME_BRIDGE)
    with at.pods["one"].serving(80):
        for address in ("192.0.2.1", "2001:db8::1"):
            assert at.outside.ask(address, 8080)
            assert at.pods["far"].ask(address, 8080)
        assert at.host.ask("10.1.0.2", 80)
        assert at.host.ask("fd00:1::2", 80)
    at.nft.commit(isolation.allow("a" * 64, "br1", ["br1"], ["br2"]))
    assert at.reaches("far", "one")


def test_what_the_lan_sends_unasked(at: Host) -> None:
    """Not the beginning of a TCP connection alone: no datagram, no echo request, no segment that tracking rejects."""

    def arrives() -> bool:
        with _raw(at.pods["one"]) as receiver, _raw(at.outside) as sender:
            sender.sendto(bytes.fromhex("1f90 0050 00000001 00000000 5000 ffff 0000 0000"), ("10.1.0.2", 0))  # no flag
            try:
                return bool(receiver.recv(100))
            except TimeoutError:
                return False

    assert arrives()
    at.network("br1", published_only=(4, 6))
    assert not arrives()
    for address in ("10.1.0.2", "fd00:1::2"):
        assert not at.outside.pings(address)
        with at.pods["one"].serving(80, SOCK_DGRAM):
            assert at.outside.ask(address, 80, SOCK_DGRAM) is None


def _raw(namespace: Namespace) -> socket.socket:
    made = namespace.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP))
    made.settimeout(WAIT)
    return made


@pytest.mark.parametrize("version", [4, 6])
def test_one_family_alone(at: Host, version: int) -> None:
    """Docker's gateway modes are of one family each."""
    at.network("br1", published_only=(version,))
    with at.pods["one"].serving(80):
        answers = {one: at.outside.ask(address, 80) for one, address in ((4, "10.1.0.2"), (6, "fd00:1::2"))}
    assert answers[version] is None
    assert answers[10 - version]


def test_a_link_that_is_trusted(at: Host) -> None:
    """From it all ports of the network are reached, until the network is removed; other networks are not."""
    at.network("br1", published_only=(4, 6))
    assert not at.reaches("outside", "one")
    at.network("br1", published_only=(4, 6), trusted=("wan0",))
    at.network("br2", published_only=(4, 6))
    assert at.reaches("outside", "one")
    assert not at.reaches("outside", "far")
    at.nft.commit(isolation.remove_network("br1", ("wan0",)))
    at.network("br1", published_only=(4, 6))
    assert not at.reaches("outside", "one")


@pytest.mark.parametrize("policy", [SAME_BRIDGE, OPEN])
def test_internal(at: Host, policy: str) -> None:
    """The outside is not reached and does not reach it, also not by a published port; inside and the host are."""
    at.network("br1", policy, internal=True)
    at.network("br2")
    for source, target in (("one", "outside"), ("outside", "one"), ("one", "far"), ("far", "one")):
        assert not at.reaches(source, target)
    assert at.reaches("one", "two")
    assert at.reaches("one", "host")
    addresses = [ip_interface(a) for a in ADDRESSES["far"]]
    at.nft.commit(
        portmap.publish("f" * 64, "far", addresses, parse_mappings([{"hostPort": 8080, "containerPort": 80}]))
    )
    with at.pods["far"].serving(80):
        assert at.outside.ask("192.0.2.1", 8080) == "192.0.2.9"
        assert at.pods["one"].ask("192.0.2.1", 8080) is None
    at.nft.commit(isolation.allow("a" * 64, "br1", ["br1"], ["br2"]))
    assert at.reaches("one", "far")
    assert not at.reaches("one", "outside")


def test_internal_beside_an_overlay_network(at: Host) -> None:
    """Its rules come first, and leave every other network of the host as it was: with a published port, too."""
    at.network("br1", internal=True)
    at.network("br2")
    policy = Policy(
        bridge="br3",
        ingress=SAME_BRIDGE,
        outside="cnm-vx4096",
        cluster=(ip_network("10.32.0.0/16"), ip_network("fd32::/48")),
    )
    at.nft.commit(overlay.add_network("c" * 64, "web", policy, [ip_interface("10.32.1.1/24")]))
    addresses = [ip_interface(address) for address in ADDRESSES["far"]]
    ports = parse_mappings([{"hostPort": 8080, "containerPort": 80}])
    at.nft.commit(portmap.publish("f" * 64, "far", addresses, ports))
    at.host.run("nft", "-f", "-", text=ARRIVED)
    with at.pods["far"].serving(80):
        for address, gateway in (("192.0.2.1", "10.1.0.1"), ("2001:db8::1", "fd00:1::1")):
            assert at.outside.ask(address, 8080) is not None
            assert at.pods["one"].ask(gateway, 8080) is None
    counted = at.host.run("nft", "list", "table", "inet", "arrived")
    assert counted.count("packets 0 ") == 2, f"packets of the internal network have passed: {counted}"


def test_removed_with_the_network(at: Host) -> None:
    """A network that goes leaves nothing, whatever its policy was, and other networks as they were."""
    at.network("br1", SAME_BRIDGE, internal=True)
    at.network("br2")
    at.nft.commit(isolation.remove_network("br1"))
    assert [element.key for element in at.nft.elements(INET)] == ['"br2"', '"br2" . "br2"']
    at.nft.commit(isolation.remove_network("br2"))
    at.nft.commit(isolation.remove_network("br2"))
    assert at.nft.elements(INET) == at.nft.elements(BRIDGE) == []


def test_no_rule_per_pair() -> None:
    """A hundred networks are two elements each, under rules that were written once."""
    nft = MemoryNft()
    for number in range(100):
        nft.commit(isolation.add_network("a" * 64, "n", f"br{number}", SAME_BRIDGE))
    assert nft.declared == 1
    assert len(nft.elements(INET)) == 200


def test_policy_names() -> None:
    """Those of the reference plugin, and `routed`; another is refused and not taken for one of them."""
    names = ("open", "same-bridge", "isolated", "routed")
    assert [isolation.parse_policy(name) for name in names] == list(isolation.POLICIES)
    with pytest.raises(InvalidConfig, match="'close' is none of open, same-bridge, isolated, routed"):
        isolation.parse_policy("close")
