"""CHECK of an endpoint's part of the packet filter, element by element, in the kernel."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

import pytest

from cni_cnm.cnm.packet_filter import check_endpoint, endpoint_elements, restore_elements
from cni_cnm.cnm.records import READY, EndpointRecord
from cni_cnm.drivers import drivers
from cni_cnm.errors import CheckFailed
from cni_cnm.firewall import Policy, isolation, portmap
from cni_cnm.firewall.portmap_options import parse_mappings
from cni_cnm.kernel import Element, Transaction, merge
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.model import Address, IpamSpec, Lease, NetworkSpec
from tests.kernel.lab import Lab
from tests.memory_kernel.nft import MemoryNft

POLICY = Policy(masquerade=True, guard_mac=True, bridge="br0", ingress=isolation.ISOLATED, internal=True)
PORTS = [
    {"hostPort": 8080, "containerPort": 80},
    {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.1"},
    {"hostPort": 9000, "containerPort": 9000, "range": 100},
    {"hostPort": 9000, "containerPort": 9000, "range": 100, "hostIP": "2001:db8::1", "protocol": "sctp"},
]
OPTIONS = drivers.get("bridge").options(NetworkSpec("net", "bridge", {}, IpamSpec("")))
RECORD = EndpointRecord(
    "a" * 64, "net", "b" * 64, "", "bridge", OPTIONS, "cni/test", READY, "epoch",
    container_id="c1", ifname="eth0", host_ifname="veth1", mac="02:00:00:00:00:05",
    lease=Lease((Address(ip_interface("10.0.0.5/24")), Address(ip_interface("fd00::5/64")))),
    ports=parse_mappings(PORTS),
)  # fmt: skip
FRIEND = isolation.allow("b" * 64, "net", ["br0"], ["br1"])
NETWORK = merge(isolation.add_network("b" * 64, "net", "br0", isolation.ISOLATED, internal=True), FRIEND)


@pytest.fixture
def nft(lab: Lab) -> KernelNft:
    made = KernelNft(lab.host.fd)
    made.commit(NETWORK)
    made.commit(endpoint_elements.with_network(RECORD, POLICY))
    return made


def check(nft: KernelNft) -> str:
    """What CHECK says; "" for nothing."""
    try:
        check_endpoint.check_elements(nft, endpoint_elements.own(RECORD, POLICY), NETWORK)
    except CheckFailed as failed:
        return failed.msg
    return ""


def test_every_element_is_missed_by_name(nft: KernelNft) -> None:
    """Whatever single element is taken away is named with its set and table, and is fine again when it is back."""
    elements = {*nft.elements("inet cni_cnm"), *nft.elements("bridge cni_cnm")}
    sets = {
        "networks", "internal", "allowed", "masquerade4", "masquerade6", "hairpin4", "hairpin6", "ports4", "ports6",
        "ports4_at", "ranges4", "ranges6", "ranges6_at", "guarded", "senders", "closed", "closed_macs",
    }  # fmt: skip
    assert {element.set for element in elements} == sets
    assert check(nft) == ""
    for element in elements:
        nft.commit(Transaction(remove=(element,)))
        place = f"{element.set} in the nftables table {element.table}"
        said = f"the element {element.key} is missing from {place}"
        assert check(nft).replace('"', "") == said.replace('"', "")
        assert element not in nft.elements(element.table, element.set), "CHECK wrote"
        nft.commit(Transaction(put=(_written(element),)))
        assert check(nft) == ""


def test_what_is_another_ones(nft: KernelNft) -> None:
    """An element that leads elsewhere, or that another endpoint has put there since, is named with what it is."""
    [masquerade] = nft.elements("inet cni_cnm", "masquerade4")
    nft.commit(Transaction(put=(masquerade._replace(value="accept"),)))
    assert "10.0.0.5 of masquerade4" in check(nft)
    assert "leads to accept, not to goto outside_10.0.0.0/24" in check(nft)
    nft.commit(Transaction(put=(masquerade._replace(comment="cccccccccccc net/c2/eth0"),)))
    assert "belongs to net/c2/eth0" in check(nft)
    nft.commit(Transaction(put=(masquerade,)))
    assert check(nft) == ""


def test_a_bridge_that_two_networks_share(nft: KernelNft) -> None:
    """Whichever of them has put the bridge's elements last, CHECK of both is content; together they are put once."""
    other = isolation.add_network("d" * 64, "other", "br0", isolation.ISOLATED, internal=True)
    nft.commit(other)
    assert check(nft) == ""
    restore_elements.put_back(nft, merge(other, NETWORK), ())
    assert {element.owner for element in nft.elements("inet cni_cnm", "networks")} == {"b" * 12}


def test_rules(nft: KernelNft, lab: Lab) -> None:
    """A flushed chain is named with how many rules it lacks."""
    lab.host.run("nft", "flush", "chain", "inet", "cni_cnm", "published")
    assert check(nft) == "10 of 10 rules are missing from published in the nftables table inet cni_cnm"


def test_mending(nft: KernelNft, lab: Lab) -> None:
    """What is gone, be it elements or rules, is put back; what another endpoint has in its place is not taken."""
    wanted = merge(NETWORK, endpoint_elements.with_network(RECORD, POLICY))
    for command in (
        "flush map inet cni_cnm ports4",
        "delete element inet cni_cnm allowed { br0 . br1 }",
        "flush chain inet cni_cnm published",
        "flush ruleset",
    ):
        lab.host.run("nft", command)
        assert check(nft)
        restore_elements.put_back_missing(nft, wanted, [RECORD])
        assert check(nft) == "", command
    [port] = nft.elements("inet cni_cnm", "ports4")
    theirs = port._replace(value="10.0.0.9 . 80", comment="cccccccccccc net/c2/eth0")
    nft.commit(Transaction(put=(theirs,)))
    restore_elements.put_back_missing(nft, wanted, [RECORD])
    assert nft.elements("inet cni_cnm", "ports4") == [theirs]


def test_mending_writes_nothing_where_all_is_there(nft: KernelNft, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking is no transaction."""
    monkeypatch.setattr(KernelNft, "commit", lambda *_, **__: pytest.fail("written"))
    restore_elements.put_back_missing(nft, endpoint_elements.with_network(RECORD, POLICY), [RECORD])


def test_streams_that_are_forgotten() -> None:
    """UDP to where a port is published now; UDP and TCP from where it is no more, a dead endpoint's included."""
    nft, targets = MemoryNft(), frozenset(address.interface.ip for address in RECORD.addresses)
    dead = portmap.publish("d" * 64, "net/c0/eth0", [ip_interface("10.0.0.9/24")], RECORD.ports)
    nft.commit(dead)
    wanted = endpoint_elements.with_network(RECORD, POLICY)
    endpoint_elements.put(nft, RECORD, wanted, lambda owner: owner != "d" * 12, declare=False)
    endpoint_elements.withdraw(lambda: nft, RECORD, POLICY, None)
    udp, tcp = (17, range(53, 54)), ((6, range(8080, 8081)), (6, range(9000, 9100)))
    every = (tcp[0], udp, tcp[1])
    assert nft.forgotten == [
        ("unpublished", every, {ip_address("10.0.0.9")}),
        ("published", (udp,), targets),
        ("unpublished", every, targets),
    ]


def test_everything_is_gone(nft: KernelNft, lab: Lab) -> None:
    """After `nft flush ruleset` it is an answer, not a failure."""
    lab.host.run("nft", "flush", "ruleset")
    assert "are missing from" in check(nft)


def _written(element: Element) -> Element:
    """As it was put: `elements` gives names of links without quotes."""
    key = " . ".join(f'"{word}"' if word[:2] in ("br", "ve") else word for word in element.key.split(" . "))
    return element._replace(key=key)
