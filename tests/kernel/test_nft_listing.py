"""Elements are listed as libnftables lists them. What has another form is left to libnftables."""

from __future__ import annotations

import pytest

from cni_cnm.kernel import Element, Transaction
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.kernel.nftables import nft_listing
from tests.kernel.lab import Lab

TABLE = "inet listing"
DECLARE = f"""
add table {TABLE}
add chain {TABLE} there
add map {TABLE} verdicts {{ type ipv4_addr : verdict; }}
add map {TABLE} ports {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
add map {TABLE} ranges {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr; flags interval; }}
add set {TABLE} networks {{ type ipv4_addr . ipv4_addr; flags interval; }}
add set {TABLE} networks6 {{ type ipv6_addr . ipv6_addr; flags interval; }}
add set {TABLE} open {{ type ipv6_addr . ifname; flags interval; }}
add set {TABLE} macs {{ type ifname . ether_addr; }}
add set {TABLE} groups {{ type devgroup; }}
add rule {TABLE} there tcp dport {{ 80, 443 }} accept
"""
ELEMENTS = tuple(
    Element(TABLE, *parts)
    for parts in (
        ("verdicts", "10.0.0.5", "goto there", "who, {else}"),
        ("verdicts", "10.0.0.6", "accept", ""),
        ("ports", "6 . 8080", "fd00::5 . 80", "a"),
        ("ranges", "10.0.0.1 . 6 . 80", "10.0.0.5", "a"),
        ("ranges", "10.0.0.1 . 17 . 8000-8100", "10.0.0.5", "a b"),
        ("networks", "10.0.0.0/8 . 192.0.2.0/25", "", "b"),
        ("networks", "10.0.0.7 . 0.0.0.0/0", "", "b"),
        ("networks6", "fd00::/8 . fd01::7", "", "b"),
        ("networks6", "::/0 . fd01::/127", "", "b"),
        ("open", 'fd00::/64 . "eth0"', "", "c"),
        ("macs", '"veth 1" . 02:00:00:00:00:01', "", "c"),
        ("groups", "7", "", ""),
    )
)


@pytest.fixture
def nft(lab: Lab) -> KernelNft:
    return KernelNft(lab.host.fd)


def test_as_libnftables_lists(nft: KernelNft, monkeypatch: pytest.MonkeyPatch) -> None:
    nft.commit(Transaction(DECLARE, ELEMENTS))
    names = {element.set for element in ELEMENTS}
    ours = [nft.elements(TABLE), *(nft.elements(TABLE, name) for name in sorted(names))]
    monkeypatch.setattr(nft_listing, "elements", lambda *_: None)
    theirs = [nft.elements(TABLE), *(nft.elements(TABLE, name) for name in sorted(names))]
    assert [set(some) for some in ours] == [set(some) for some in theirs]
    assert set(ours[0]) == set(ELEMENTS)


@pytest.mark.parametrize(
    ("declaration", "element"),
    [
        ("set x { type mark; }", Element(TABLE, "x", "0x00000007")),
        ("map x { type inet_service : mark; }", Element(TABLE, "x", "80", "0x00000007")),
        ("set x { type ipv4_addr; flags interval; }", Element(TABLE, "x", "10.0.0.0/8", comment="a")),
    ],
)
def test_other_forms(nft: KernelNft, lab: Lab, declaration: str, element: Element) -> None:
    nft.commit(Transaction(f"add table {TABLE}\nadd {declaration.replace(' x', f' {TABLE} x', 1)}\n"), declare=True)
    comment = f' comment "{element.comment}"' if element.comment else ""
    value = f" : {element.value}" if element.value else ""
    lab.host.run("nft", f"add element {TABLE} x {{ {element.key}{comment}{value} }}")
    assert nft._elements(TABLE, "x") is None
    assert nft.elements(TABLE, "x") == nft.elements(TABLE) == [element]


def test_nothing_there(nft: KernelNft) -> None:
    assert nft.elements(TABLE) == nft.elements(TABLE, "x") == []
    nft.commit(Transaction(DECLARE), declare=True)
    assert nft.elements(TABLE) == nft.elements(TABLE, "open") == nft.elements(TABLE, "never") == []
