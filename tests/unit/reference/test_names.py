"""Names and comments, as the plugins were seen to make them."""

from __future__ import annotations

from cni_cnm.model import EndpointKey
from cni_cnm.reference import names

KEY = EndpointKey("net", "c1", "eth0")


def test_hashes() -> None:
    """Of network and container: 28 characters for a chain, 15 for a link."""
    assert names.masquerade_chain(KEY) == "CNI-623e1c388032b20529218ecc"
    assert names.ports_chain(KEY) == "CNI-DN-623e1c388032b20529218"
    assert names.ifb(KEY) == "bwp623e1c388032"
    assert names.masquerade_chain(KEY._replace(ifname="eth1")) == names.masquerade_chain(KEY)


def test_comments() -> None:
    hashes = "a4861f4ae9f7d238-f4d01f2ef4b92245"
    assert names.nft_masquerade_comment(KEY) == f"{hashes}, net: net, if: eth0, id: c1"
    assert names.masquerade_comment(KEY) == 'name: "net" id: "c1"'
    assert names.ports_comment(KEY) == 'dnat name: "net" id: "c1"'


def test_long_comments_are_cut_as_the_plugins_cut_them() -> None:
    """At 255 characters with an ellipsis in iptables, at 128 in nftables."""
    long = EndpointKey("n" * 200, "c" * 64, "eth0")
    assert names.ports_comment(long) == f'dnat name: "{"n" * 200}" id: "{"c" * 64}'[:253] + "..."
    assert len(names.nft_masquerade_comment(long)) == 128
