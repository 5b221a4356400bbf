"""CNI_IFNAME that the kernel takes for a pattern, or keeps for itself."""

from __future__ import annotations

from tests.side import Side
from tests.surroundings.configs import network


def test_a_name_that_no_interface_keeps_is_refused(side: Side) -> None:
    """Code 4, and nothing is touched; DEL, which a runtime sends behind it, succeeds."""
    side.container("c1")
    for name in ("eth%d", "%", "all", "default"):
        refused = side.add(network(), ifname=name)
        assert (refused.code, refused.json["code"]) == (1, 4), name
        assert name in refused.json["msg"]
        assert side.node.links("/run/netns/c1") == side.node.links() == {"lo"}
        made = side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm/networks", "/var/lib/cni/networks")
        assert not made
        side.delete(network(), ifname=name).ok()


def test_bytes_that_no_result_can_have(side: Side) -> None:
    """A name that is not UTF-8, and one that has the byte the kernel takes for white space."""
    side.container("c1")
    for name in ("eth\udcff", "à"):
        refused = side.add(network(), ifname=name)
        assert (refused.code, refused.json["code"]) == (1, 4), name
        side.delete(network(), ifname=name).ok()
    assert side.node.links("/run/netns/c1") == side.node.links() == {"lo"}


def test_a_bridge_name_that_packet_filters_misread(side: Side) -> None:
    """Refused with code 7 before anything is touched: it would break every later change, or stand for other links."""
    side.container("c1")
    for name in ('a"b', "pods+", "pods*", "!pods"):
        refused = side.add(network(bridge=name))
        assert (refused.code, refused.json["code"]) == (1, 7), name
        assert side.node.links() == {"lo"}
        side.delete(network(bridge=name)).ok()


def test_a_bridge_with_any_other_name(side: Side) -> None:
    """It is isolated and masqueraded, CHECK finds all of it, and everything goes with the next name."""
    side.container("c1")
    before = ""
    for name in ("a,b", "{}#;$x", "it's", "\\", "ü", "\x1b[2J", "-x", "@1"):
        conf = network(bridge=name, ipMasq=True, firewall={"ingressPolicy": "same-bridge"})
        result = side.add(conf).ok().json
        listed = side.node.run("nft", "list", "set", "inet", "cni_cnm", "networks").ok().out
        assert f'"{name}"' in listed
        assert not before or f'"{before}"' not in listed
        assert side.node.run("ip", "link", "show", "dev", name).code == 0
        assert not before or side.node.run("ip", "link", "show", "dev", before).code != 0
        side.check(conf, result).ok()
        side.delete(conf).ok()
        before = name


FOREIGN = (b'q"uote', b"comma,}", b"star*", b"plus+", b"\x1b[2J\x85", b"not\xff\xfeutf", b"{", b"\\", b"'", b"@0", b"#")


def test_bridges_of_others_with_any_name(side: Side) -> None:
    """They are isolated from our networks, except those that nft has no text for: CHECK names the first of them."""
    for number, name in enumerate(FOREIGN):
        side.node.run("ip", "link", "add", name.decode(errors="surrogateescape"), "type", "bridge").ok()
        address = f"10.91.{number}.1/24"
        side.node.run("ip", "address", "add", address, "dev", name.decode(errors="surrogateescape")).ok()
    side.container("c1")
    conf = network(firewall={"ingressPolicy": "same-bridge"})
    result = side.add(conf).ok().json
    listed = side.node.run("nft", "list", "set", "inet", "cni_cnm", "foreign").ok().out
    for name in FOREIGN:
        written = f'"{name.decode(errors="surrogateescape")}" comment' in listed
        assert written is (name not in (b'q"uote', b"star*")), name
    wrong = side.check(conf, result)
    assert wrong.code == 1
    assert wrong.json["msg"].startswith(f"the bridge {FOREIGN[0].decode()} of another program is not isolated")
    for name in (b'q"uote', b"star*"):
        side.node.run("ip", "link", "delete", name.decode()).ok()
    side.check(conf, result).ok()
    side.delete(conf).ok()
