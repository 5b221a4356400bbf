"""Faults beside the networks of the healthy host: other firewalls, uplinks, parents, full bridges, kernel features."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cni_cnm.model import IpamSpec, NameService, NetworkSpec
from tests.doctor.world import World


def nft(world: World, script: str) -> None:
    world.run("sh", "-c", f"nft -f - <<'END'\n{script}\nEND")


def test_a_firewall_that_drops_by_default(world: World) -> None:
    nft(world, "table inet site { chain forward { type filter hook forward priority 0; policy drop; }; }")
    world.repair("firewalls", "the chain forward of the nftables table inet site drops by default what br-")
    world.run("nft", "delete table inet site")


def test_a_chain_before_routing_that_drops_by_default(world: World) -> None:
    nft(world, 'table inet early { chain pre { type filter hook prerouting priority -300; policy drop; '
        'iifname "up0" accept; iifname "lo" accept; }; }')  # fmt: skip
    world.repair("firewalls", "the chain pre of the nftables table inet early drops by default")
    world.run("nft", "delete table inet early")


def test_a_rule_that_is_not_understood(world: World) -> None:
    """It is said, and is no finding: nothing shows that it drops what containers send."""
    nft(world, "table inet site { chain forward { type filter hook forward priority 0; policy drop; "
        "ip saddr 10.0.0.0/8 accept; ip daddr 10.0.0.0/8 accept; }; }")  # fmt: skip
    found = world.look("firewalls")
    assert found.findings == []
    assert "cannot tell whether they accept what br-" in found.unchecked[0][1].reason
    world.run("nft", "delete table inet site")


def test_a_firewall_that_drops_questions_for_names(world: World) -> None:
    """By UDP, TCP or both. A rule that accepts them by port is understood, and one with a set is not."""
    ipam = IpamSpec("host-local", {"type": "host-local", "subnet": "10.67.0.0/24"})
    record = world.attach(NetworkSpec("asks", "bridge", {}, ipam, names=NameService("asks.internal")), "c9")
    try:
        _questions(world, record.policy.bridge)
    finally:
        world.run("nft", "delete table inet site")
        world.follow([f"cni-cnm endpoint rm --force {record.id[:12]}", "cni-cnm network rm asks"])
    assert world.findings() == []


def _questions(world: World, bridge: str) -> None:
    def look() -> tuple[list[str], list[str]]:
        """Commands of what is found, and what cannot be told."""
        found = world.look("names")
        said = [one for _, one in found.findings if "drops questions" in one.what]
        return [line for one in said for line in one.commands], [one.reason for _, one in found.unchecked]

    head, loopback = (
        "table inet site { chain input { type filter hook input priority 0; policy drop; ",
        'iifname "lo" accept; ',
    )
    nft(world, f"{head}{loopback}ct state established accept; tcp dport 22 accept; udp dport 53 accept; }}; }}")
    assert look() == ([f"nft insert rule inet site input iifname {bridge} tcp dport 53 accept"], [])
    nft(world, "flush chain inet site input")
    commands, _ = look()
    assert [line.split()[-4] for line in commands] == ["udp", "tcp"]
    world.follow(commands)
    assert look() == ([], [])
    nft(world, "flush chain inet site input; add rule inet site input meta l4proto { tcp, udp } th dport 53 accept")
    commands, unchecked = look()
    assert not commands
    assert "it cannot be told whether they accept questions" in unchecked[0]


def test_iptables_that_drops_and_whose_accept_is_gone(world: World) -> None:
    """As after `iptables -F`: the service or the next ADD puts the accepts back, and so does the command."""
    nft(world, "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }")
    world.follow(["cni-cnm repair"])
    assert world.findings() == []
    world.run("nft", "flush chain ip filter FORWARD")
    world.repair("packet_filter", "are missing from the chain FORWARD of iptables")
    world.run("nft", "delete table ip filter")
    world.follow(["cni-cnm repair"])


def test_an_uplink_with_a_smaller_mtu(world: World) -> None:
    world.ip("link set up0 mtu 1400")
    assert "(1500) is larger than that of up0 (1400)" in world.repair("mtu", "the network web").what
    world.ip("link set up0 mtu 1500")
    for container in ("c1", "c2"):
        world.inside(container, "link set eth0 mtu 1500")
        world.ip(f"link set {world.link(container)} mtu 1500")
    for container, ifname in (("c1", "net1"), ("c3", "eth0")):
        world.inside(container, f"link set {ifname} mtu 1500")
        world.ip(f"link set {world.link(container, ifname)} mtu 1500")


def test_a_default_route_of_a_router(world: World) -> None:
    """It was learned while IPv6 was not forwarded, and would end with its lifetime."""
    world.ip("-6 route add default via 2001:db8::9 dev up0 proto ra")
    world.sysctl("net/ipv6/conf/up0/accept_ra", "1")
    world.repair("forwarding", "up0 ignores router advertisements")
    world.ip("-6 route del default via 2001:db8::9 dev up0")


def test_a_parent_that_is_down(world: World) -> None:
    options = {"profile": "reference", "type": "macvlan", "master": "up1"}
    world.ip("link add up1 type veth peer name far1")
    for link in ("up1", "far1"):
        world.ip(f"link set {link} up")
    network = NetworkSpec("lan", "macvlan", options, IpamSpec("host-local", {"subnet": "192.168.77.0/24"}))
    record = world.attach(network, "c4")
    assert world.findings() == []
    world.ip("link set up1 down")
    world.repair("networks", "the network lan: its parent up1 is down")
    world.follow([f"cni-cnm endpoint rm --force {record.id[:12]}", "cni-cnm network rm lan", "ip link del up1"])


def test_a_driver_that_the_kernel_does_not_have(world: World) -> None:
    """The command cannot be followed here: this kernel was built without it, or has it."""
    place = world.folder / "state" / "networks" / "back.json"
    text = place.read_text()
    probe = subprocess.run(["ip", "link", "add", "probe0", "link", "up0", "type", "ipvlan"], capture_output=True)
    if probe.returncode == 0:
        world.ip("link del probe0")
        pytest.skip("the kernel has ipvlan")
    os.makedirs("/etc/cni/net.d", exist_ok=True)
    Path("/etc/cni/net.d/lan.conflist").write_text(
        json.dumps(
            {
                "cniVersion": "1.0.0",
                "name": "lan",
                "plugins": [{"type": "cni-cnm", "driver": "ipvlan", "options": {"parent": "up0"},
                             "capabilities": {"portMappings": True}}],
            }
        )
    )  # fmt: skip
    try:
        [finding] = world.findings("kernel")
        assert finding.what == "the kernel has no ipvlan links, and a network has the driver ipvlan"
        assert finding.commands == ("modprobe ipvlan",)
    finally:
        Path("/etc/cni/net.d/lan.conflist").unlink()
        place.write_text(text)


def test_a_firewall_whose_program_is_missing(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The test does not install packages: the command is compared."""
    legacy = shutil.which("iptables-legacy")
    if legacy is None:
        pytest.skip("needs iptables-legacy")
    world.run(legacy, "-A", "FORWARD", "-j", "ACCEPT")
    nft(world, "table inet firewalld { chain none { }; }")
    for program in ("apt-get", "sh"):
        (tmp_path / program).symlink_to(shutil.which(program) or "/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = world.findings("tools")
    monkeypatch.undo()
    assert [one.commands for one in found] == [
        ("apt-get install -y iptables",),
        ("apt-get install -y firewalld",),
    ]
    world.run("nft", "delete table inet firewalld")
    world.run(legacy, "-F", "FORWARD")


def test_a_bridge_that_is_nearly_full(world: World) -> None:
    lines = "\n".join(
        f"link add full{number} group 77 type veth peer name fill{number}\n"
        f"link set full{number} master br-back\nlink set fill{number} master br-back"
        for number in range(490)
    )
    world.run("sh", "-c", f"ip -batch - <<'END'\n{lines}\nEND")
    [finding] = world.findings("bridges")
    assert finding.what == "the bridge br-back of the network back has 981 ports of at most 1023"
    world.follow(finding.commands)  # a further network, where there is room
    record = world.attach(NetworkSpec("back-2", "bridge"), "c5")
    world.follow([f"cni-cnm endpoint rm --force {record.id[:12]}", "cni-cnm network rm back-2"])
    world.ip("link del br-back")
    world.ip("link del group 77")
    world.follow(["cni-cnm repair"])
    assert world.findings() == []


def test_an_address_of_an_ipv6_container_is_gone(world: World) -> None:
    world.inside("c1", "-6 addr del fd00:61::2/64 dev eth0")
    world.repair("inside", "does not have the address fd00:61::2/64")


def test_the_interface_of_a_container_is_gone(world: World) -> None:
    """It may have another name in there: it is not removed."""
    world.inside("c2", "link set eth0 name lost0")
    world.shown("inside", "the interface eth0 is missing")
    world.inside("c2", "link set lost0 down")
    world.inside("c2", "link set lost0 name eth0")
    world.repair("inside", "the interface eth0 is down")


@pytest.mark.parametrize("version", [4, 6])
def test_all_routes_of_a_container_are_gone(world: World, version: int) -> None:
    """A gateway is reached by the route to its subnet: the commands put that one in first."""
    world.inside("c2", f"-{version} route flush dev eth0")
    world.repair("inside", "is missing")
