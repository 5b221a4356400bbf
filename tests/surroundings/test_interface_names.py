"""CNI_IFNAME that the kernel takes for a pattern, or keeps for itself."""

from __future__ import annotations

import json
import shutil

import pytest

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
    status = side.call("STATUS", {**network(bridge="pods+"), "cniVersion": "1.1.0"})
    assert status.json["code"] == 7


@pytest.mark.parametrize("name", ['a"b', "pods+", "pods*", "!pods"])
def test_a_network_on_record_with_such_a_name(side: Side, name: str) -> None:
    """It goes on, as another one beside it. Only the accept in iptables is left out, and said.

    The record is as 0.1.0 wrote it, for a bridge of its own.
    """
    for container in ("c1", "c2", "c3", "c4"):
        side.container(container)
    conf = network(bridge="br-net", ipMasq=True, firewall={"ingressPolicy": "same-bridge"})
    other = network("other", "10.92.0.0/24", firewall={"ingressPolicy": "same-bridge"})
    side.add(conf).ok()
    side.delete(conf).ok()
    path = side.node.path("/var/lib/cni-cnm/networks/net.json")
    record = json.loads(path.read_text().replace("br-net", json.dumps(name)[1:-1]))
    del record["published_only"]
    path.write_text(json.dumps(record))
    shutil.rmtree(side.node.path("/run/cni-cnm/firewall"))
    side.node.run("nft", "flush", "ruleset").ok()
    for command in ("ip link set br-net down", f"ip link set br-net name {name}", f"ip link set {name} up"):
        side.node.run(*command.split()).ok()
    side.node.run("iptables", "-P", "FORWARD", "DROP").ok()
    conf = {**conf, "bridge": name}
    result = side.add(conf).ok()
    assert "take for a pattern" in result.err
    side.add(other, "c2").ok()
    side.add(conf, "c3").ok()
    assert "take for a pattern" in side.check(conf, result.json).ok().err
    status = side.call("STATUS", {**conf, "cniVersion": "1.1.0"}).ok()
    assert "take for a pattern" in status.err
    saved = side.node.run("iptables-save", "-t", "filter").ok().out
    assert "br-other" in saved
    assert "pods" not in saved
    assert 'a"' not in saved
    listed = side.node.run("nft", "list", "set", "inet", "cni_cnm", "networks").ok().out
    assert f'"{name}"' in listed
    side.node.run("nft", "flush", "table", "inet", "cni_cnm").ok()
    side.add(other, "c4").ok()
    assert side.node.run("nft", "list", "set", "inet", "cni_cnm", "networks").ok().out == listed
    for config, container in ((conf, "c1"), (conf, "c3"), (other, "c2"), (other, "c4")):
        side.delete(config, container).ok()


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
    """They are isolated from our networks, also those that an nft script cannot name."""
    for number, name in enumerate(FOREIGN):
        side.node.run("ip", "link", "add", name.decode(errors="surrogateescape"), "type", "bridge").ok()
        address = f"10.91.{number}.1/24"
        side.node.run("ip", "address", "add", address, "dev", name.decode(errors="surrogateescape")).ok()
    side.container("c1")
    conf = network(firewall={"ingressPolicy": "same-bridge"})
    result = side.add(conf).ok().json
    listed = side.node.run("nft", "list", "set", "inet", "cni_cnm", "foreign").ok().out
    for name in FOREIGN:
        assert f'"{name.decode(errors="surrogateescape")}" comment' in listed, name
    side.check(conf, result).ok()
    side.delete(conf).ok()
