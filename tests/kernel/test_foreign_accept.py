"""Beside other firewalls, with real packets: what they drop by default is accepted for our networks, and no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_interface

import pytest

from cni_cnm.errors import InvalidConfig
from cni_cnm.firewall import TABLES, Accepted, foreign_accept, masquerade, portmap
from cni_cnm.firewall.portmap_options import parse_mappings
from cni_cnm.kernel import iptables
from cni_cnm.kernel.contract.filter_rules import Edit, FilterTable
from cni_cnm.kernel.foreign_firewalls import KernelForeignFirewalls
from cni_cnm.kernel.nft import KernelNft
from tests.kernel.lab import Lab, Namespace

ID = "0123456789abcdef"
BACKENDS = ["nft", "legacy"]
DOCKER = """\
*filter
:FORWARD DROP
:DOCKER -
:DOCKER-ISOLATION-STAGE-1 -
:DOCKER-ISOLATION-STAGE-2 -
:DOCKER-USER -
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
"""
REJECT = """\
*filter
:FORWARD ACCEPT
:admin -
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -j admin
-A FORWARD -j REJECT
COMMIT
"""
DROP_IN_CHAIN = """\
*filter
:FORWARD ACCEPT
:DOCKER-USER -
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -i lo -j RETURN
-A DOCKER-USER -j DROP
COMMIT
"""


class Host:
    """A bridge br1 with two pods, masqueraded, a published port, br_netfilter on, and another host."""

    def __init__(self, lab: Lab, backend: str) -> None:
        self.lab, self.host, self.backend = lab, lab.host, backend
        lab.bridge("br1", "10.1.0.1/24", "fd00:1::1/64")
        gateways = ("10.1.0.1", "fd00:1::1")
        self.one = lab.pod("br1", "veth1", "10.1.0.2/24", "fd00:1::2/64", gateways=gateways)
        self.two = lab.pod("br1", "veth2", "10.1.0.3/24", "fd00:1::3/64", gateways=gateways)
        self.outside = lab.outside("192.0.2.9/24", "2001:db8::9/64", here=("192.0.2.1/24", "2001:db8::1/64"))
        self.outside.ip("route add 10.1.0.0/24 via 192.0.2.1")
        self.outside.ip("route add fd00:1::/64 via 2001:db8::1")
        for key in ("iptables", "ip6tables"):
            try:
                self.host.sysctl(f"net/bridge/bridge-nf-call-{key}", "1")
            except FileNotFoundError:
                pytest.skip("this kernel has no br_netfilter")
        addresses = [ip_interface("10.1.0.2/24"), ip_interface("fd00:1::2/64")]
        mappings = parse_mappings([{"hostPort": 8080, "containerPort": 80}])
        self.nft = KernelNft(lab.host.fd)
        self.nft.commit(masquerade.add("a" * 64, "n", addresses))
        self.nft.commit(portmap.publish("a" * 64, "n", addresses, mappings))

    def load(self, script: str) -> None:
        for family in iptables.FAMILIES:
            self.host.run(f"{family}-{self.backend}-restore", "--noflush", text=script)

    def saved(self) -> dict[str, list[str]]:
        return {
            family: [
                line
                for line in self.host.run(f"{family}-{self.backend}-save", "-t", "filter").splitlines()
                if line.startswith("-A")
            ]
            for family in iptables.FAMILIES
        }

    def edit(self, change: Callable[[FilterTable], Sequence[Edit]]) -> bool:
        """Whether anything was done."""
        done: list[Edit] = []

        def noted(table: FilterTable) -> Sequence[Edit]:
            edits = change(table)
            done.extend(edits)
            return edits

        others = KernelForeignFirewalls(lambda: self.nft, TABLES)
        assert not self.host.call(lambda: others.edit(noted))
        return bool(done)

    def accept(self, admin_chain: str = "", *, inbound: bool = False, internal: bool = False) -> bool:
        families = ("ip", "ip6") if inbound else ()
        network = Accepted(ID, "br1", admin_chain, families, internal)
        return self.edit(lambda table: foreign_accept.edits(table, [network]))

    def withdraw(self) -> bool:
        return self.edit(lambda table: foreign_accept.withdraw(table, ID))

    def view(self) -> dict[str, bool]:
        """What works, by both families, which must agree."""
        asked: dict[str, list[tuple[Namespace, str, int]]] = {
            "out": [(self.one, "192.0.2.9", 80), (self.one, "2001:db8::9", 80)],
            "published": [(self.outside, "192.0.2.1", 8080), (self.outside, "2001:db8::1", 8080)],
            "neighbour": [(self.two, "10.1.0.2", 80), (self.two, "fd00:1::2", 80)],
            "unasked": [(self.outside, "10.1.0.3", 80), (self.outside, "fd00:1::3", 80)],
        }
        with self.one.serving(80), self.two.serving(80), self.outside.serving(80), ThreadPoolExecutor(8) as pool:
            asking = {
                way: [pool.submit(client.ask, address, port) for client, address, port in targets]
                for way, targets in asked.items()
            }
            answers = {way: {one.result() is not None for one in both} for way, both in asking.items()}
        assert all(len(families) == 1 for families in answers.values()), f"the families differ: {answers}"
        return {way: families.pop() for way, families in answers.items()}


NOTHING = {"out": False, "published": False, "neighbour": False, "unasked": False}
SHUT = {"out": True, "published": True, "neighbour": True, "unasked": False}
WIDE = {"out": True, "published": True, "neighbour": True, "unasked": True}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("other", [DOCKER, REJECT, DROP_IN_CHAIN], ids=["docker", "reject", "drop-in-chain"])
def test_accepted_where_it_counts(lab: Lab, backend: str, other: str) -> None:
    """Docker's policy, a REJECT at the end, a DROP in a chain: dropped before, accepted after, and taken back."""
    at = Host(lab, backend)
    assert at.view() == WIDE
    at.load(other)
    before = at.saved()
    assert at.view() == NOTHING
    assert at.accept()
    assert at.view() == SHUT
    assert not at.accept(), "done once is done"
    assert at.accept(inbound=True)
    assert at.view() == WIDE
    assert at.withdraw()
    assert not at.withdraw()
    assert at.saved() == before
    assert at.view() == NOTHING


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_where_nobody_drops(lab: Lab, backend: str) -> None:
    """An empty filter table, and one that decides only some things, are left as they are."""
    at = Host(lab, backend)
    assert not at.accept()
    at.load("*filter\n:FORWARD ACCEPT\n:policy -\n-A FORWARD -j policy\n-A policy -i br9 -j DROP\nCOMMIT\n")
    assert not at.accept()
    assert at.view() == WIDE


@pytest.mark.parametrize("backend", BACKENDS)
def test_others_still_drop_on_purpose(lab: Lab, backend: str) -> None:
    """What drops one thing counts as before; so does the administrator's chain, while it exists."""
    at = Host(lab, backend)
    at.load(DOCKER)
    at.load("*filter\n-I DOCKER-USER -p tcp --dport 80 -o wan0 -j DROP\nCOMMIT\n")
    at.accept()
    assert at.view() == {**SHUT, "out": False}
    at.load("*filter\n:CNI-ADMIN -\n-A CNI-ADMIN -m conntrack --ctstate DNAT -j DROP\nCOMMIT\n")
    assert at.accept(admin_chain="CNI-ADMIN")
    assert at.view() == {**SHUT, "out": False, "published": False}
    assert not at.accept(admin_chain="CNI-ADMIN")
    assert at.accept(admin_chain="CNI-NEVER")
    assert at.view() == {**SHUT, "out": False}


@pytest.mark.parametrize("backend", BACKENDS)
def test_comes_back_and_moves(lab: Lab, backend: str) -> None:
    """Flushed by others it comes back; behind a drop that came later, it moves before it."""
    at = Host(lab, backend)
    at.load(DOCKER)
    at.accept()
    for family in iptables.FAMILIES:
        at.host.run(f"{family}-{backend}", "-F", "FORWARD")
    assert at.view() == NOTHING
    assert at.accept()
    assert at.view() == SHUT
    at.load("*filter\n-I FORWARD -j DROP\nCOMMIT\n")
    assert at.view() == NOTHING
    assert at.accept()
    assert at.view() == SHUT


@pytest.mark.parametrize("backend", BACKENDS)
def test_internal(lab: Lab, backend: str) -> None:
    """Of an internal network only what stays within the bridge is accepted."""
    at = Host(lab, backend)
    at.load(DOCKER)
    at.accept(internal=True)
    assert at.view() == {**NOTHING, "neighbour": True}


@pytest.mark.parametrize("backend", BACKENDS)
def test_networks_do_not_disturb_each_other(lab: Lab, backend: str) -> None:
    """A second network's rules come and go beside the first's; those of a network that is not there any more go."""
    at = Host(lab, backend)
    at.load(DOCKER)
    at.accept()
    first = at.saved()
    both = [Accepted(ID, "br1"), Accepted("f" * 64, "br2")]
    assert at.edit(lambda table: foreign_accept.edits(table, both))
    assert not at.edit(lambda table: foreign_accept.edits(table, both))
    assert at.saved() != first
    assert at.accept()
    assert at.saved() == first


@pytest.mark.parametrize("name", ["-x", "two words", 'quo"te', "x" * 29, 7, "new\nline"])
def test_names_that_are_no_chain(name: object) -> None:
    """What iptables would take for something else is refused."""
    with pytest.raises(InvalidConfig, match="iptablesAdminChainName"):
        foreign_accept.parse_chain(name)
    assert foreign_accept.parse_chain("CNI-ADMIN") == "CNI-ADMIN"
    assert foreign_accept.parse_chain(None) == foreign_accept.parse_chain("") == ""
