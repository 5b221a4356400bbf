"""Through the plugin, beside other firewalls: what they decide on purpose counts, and what is in the way is told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import program
from tests.side import Side
from tests.system.test_firewall_watch import conf, load, out, published, run, serving
from tests.system.test_ports import ask, port, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PUBLISHED: dict[str, Any] = {"runtimeConfig": {"portMappings": [port(8080, 80)]}}
DROPS = "*filter\n:FORWARD DROP\nCOMMIT\n"
ADMIN = "*filter\n:FORWARD {policy}\n:ADMIN -\n-A ADMIN -d 192.0.2.9 -j REJECT\nCOMMIT\n"
CHAINS = {
    "inet": ["add table inet fw", "add chain inet fw gate { type filter hook forward priority 0; policy drop; }"],
    "raw": [
        "add table ip raw",
        "add chain ip raw PREROUTING { type filter hook prerouting priority -300; policy drop; }",
    ],
    "mangle": ["add table ip mg", "add chain ip mg post { type filter hook postrouting priority 0; policy drop; }"],
    "bridge": [
        "add table bridge sw",
        "add chain bridge sw f { type filter hook prerouting priority 0; policy drop; }",
    ],
    "last rule": [
        "add table inet fw",
        "add chain inet fw gate { type filter hook forward priority 0; policy accept; }",
        "add chain inet fw rest",
        "add rule inet fw gate jump rest",
        "add rule inet fw rest reject",
    ],
}
"""Base chains that drop all, of tables that are not iptables'."""


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    made = Side(program(tmp_path), "cni-cnm")
    for container in ("c1", "c2", "c3"):
        made.container(container)
    node = made.node
    node.add_netns("outside")
    node.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "outside").ok()
    for netns, link, ends in (("", "up0", "1"), ("/run/netns/outside", "eth0", "9")):
        for address in (f"192.0.2.{ends}/24", f"2001:db8::{ends}/64"):
            nodad = ("nodad",) if ":" in address else ()
            node.run("ip", "addr", "add", address, "dev", link, *nodad, netns=netns).ok()
        node.run("ip", "link", "set", link, "up", netns=netns).ok()
    node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1").ok()
    for subnet, gateway in (("10.61.0.0/24", "192.0.2.1"), ("fd61::/64", "2001:db8::1")):
        node.run("ip", "route", "add", subnet, "via", gateway, netns="/run/netns/outside").ok()
    yield made
    made.close()


def nft(side: Side, *lines: str) -> None:
    side.node.run("nft", "-f", "-", stdin="\n".join((*lines, ""))).ok()


def ping(side: Side, address: str, container: str) -> bool:
    return side.node.ping(address, netns=f"/run/netns/{container}", wait=1)


@pytest.mark.parametrize("family", ["ip", "ip6"])
@pytest.mark.parametrize("policy", ["ACCEPT", "DROP"])
@pytest.mark.parametrize(
    "rule",
    ["{family} saddr @bad drop", "{family} saddr @bad counter log drop", "{family} saddr @bad jump logdrop"],
    ids=["set", "statements", "shared"],
)
@pytest.mark.quick("set-ACCEPT-ip6", "statements-DROP-ip", "shared-ACCEPT-ip")
def test_a_block_list_counts(side: Side, policy: str, rule: str, family: str) -> None:
    """A native rule in iptables' chain blocks a client of a published port as it did without a network of ours."""
    client, bad = ("192.0.2.1", "192.0.2.9") if family == "ip" else ("2001:db8::1", "2001:db8::9")
    program = "iptables-nft" if family == "ip" else "ip6tables-nft"
    for command in (
        "-N DOCKER-USER",
        "-N logdrop",
        "-A logdrop -j DROP",
        "-A FORWARD -j DOCKER-USER",
        f"-P FORWARD {policy}",
    ):
        run(side, f"{program} {command}")
    nft(
        side,
        f"add set {family} filter bad {{ type {'ipv4_addr' if family == 'ip' else 'ipv6_addr'}; }}",
        f"add rule {family} filter DOCKER-USER {rule.format(family=family)}",
        *([f"add rule {family} filter FORWARD jump logdrop"] if "logdrop" in rule else []),
    )
    subnets = {"ipam": {"ranges": [[{"subnet": "10.61.0.0/24"}], [{"subnet": "fd61::/64"}]]}}
    side.add({**conf(), **subnets, **PUBLISHED}).ok()
    serve(side, "c1", "tcp", 80)
    assert reaches(side, client)
    nft(side, f"add element {family} filter bad {{ {bad} }}")
    assert not reaches(side, client)


def reaches(side: Side, address: str) -> bool:
    code = f"import socket\nsocket.create_connection(({address!r}, 8080), 1).recv(1)"
    return side.node.run("python3", "-c", code, netns="/run/netns/outside").code == 0


@pytest.mark.parametrize(
    "rule", ["ct state invalid drop", "ether saddr 02:00:00:00:00:01 drop", "meta l4proto vmap { sctp : drop }"]
)
@pytest.mark.quick("ct state invalid drop")
def test_a_table_that_iptables_cannot_print(side: Side, rule: str) -> None:
    """Its policy DROP is seen and accepted before; the operator's rule stays, and iptables prints what it printed."""
    run(side, "iptables-nft -P FORWARD DROP")
    nft(side, f"add rule ip filter FORWARD {rule}")
    printed = side.node.run("iptables-nft-save", "-t", "filter")
    config = conf()
    result = side.add(config).ok().json
    assert out(side)
    side.check(config, result).ok()
    assert side.node.run("iptables-nft-save", "-t", "filter").code == printed.code
    listed = run(side, "nft list chain ip filter FORWARD")
    assert rule.split(" ", maxsplit=1)[0] in listed
    side.delete(config).ok()
    run(side, f"{side.executable} network rm net")
    assert "br-" not in run(side, "nft list chain ip filter FORWARD")


@pytest.mark.parametrize("policy", ["ACCEPT", "DROP"])
@pytest.mark.parametrize("backend", ["nft", "legacy"])
@pytest.mark.quick("nft-ACCEPT", "legacy-DROP")
def test_the_administrators_chain(side: Side, policy: str, backend: str) -> None:
    """It is entered first, whatever FORWARD's policy is and whatever else FORWARD accepts, and from when it exists."""
    config = conf(firewall={"iptablesAdminChainName": "ADMIN"})
    side.add(config).ok()
    assert out(side)
    side.node.run(f"iptables-{backend}-restore", "--noflush", stdin=ADMIN.format(policy=policy)).ok()
    run(side, f"iptables-{backend} -I FORWARD -j ACCEPT")
    result = side.add(config, "c2").ok().json
    assert not out(side)
    assert not out(side, "c2")
    side.check(config, result, "c2").ok()
    run(side, f"iptables-{backend} -D FORWARD 1")
    assert side.check(config, result, "c2").code == 1
    for container in ("c1", "c2"):
        side.delete(config, container).ok()
    run(side, f"{side.executable} network rm net")
    assert "br-" not in run(side, f"iptables-{backend}-save")


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.quick("mangle", "bridge")
def test_a_chain_that_is_not_changed_is_told(side: Side, chain: str) -> None:
    """ADD and STATUS warn, CHECK fails, nothing is put there; with the chain it all ends."""
    nft(side, *CHAINS[chain])
    before = run(side, "nft list ruleset")
    table = CHAINS[chain][0].removeprefix("add ")
    config = conf()
    added = side.add(config).ok()
    assert not out(side)
    place = f"the nftables {table}"
    assert place in added.err
    broken = side.check(config, added.json)
    assert (broken.code, place in broken.json["msg"]) == (1, True)
    status = side.call("STATUS", {**config, "cniVersion": "1.1.0"}).ok()
    assert place in status.err
    assert side.add(config, "c2").ok().err.count(place) == 1
    assert before in run(side, "nft list ruleset") or run(side, f"nft list {table}") in before
    run(side, f"nft delete {table}")
    side.check(config, added.json).ok()
    assert place not in side.add(config, "c3").ok().err
    assert out(side)


def test_a_chain_that_accepts_our_bridge_is_not_told(side: Side) -> None:
    """The operator's own accepts, by names that the rules show, are enough; a doubt is told, and CHECK passes."""
    nft(
        side,
        *CHAINS["inet"],
        'add rule inet fw gate iifname "br-*" accept',
        "add rule inet fw gate ct state established,related accept",
    )
    config = conf()
    added = side.add(config).ok()
    assert "fw" not in added.err
    assert out(side)
    nft(side, "flush chain inet fw gate", "add rule inet fw gate ip saddr 10.0.0.0/8 accept",
        "add rule inet fw gate ct state established,related accept")  # fmt: skip
    again = side.add(config, "c2").ok()
    assert "cannot tell" in again.err
    assert "cannot tell" in side.check(config, added.json).ok().err


def test_a_chain_of_a_device_is_told(side: Side) -> None:
    """It sees what comes in by that device alone: ADD warns, and CHECK passes."""
    nft(
        side,
        "add table netdev edge",
        "add chain netdev edge i { type filter hook ingress device up0 priority 0; policy drop; }",
    )
    config = conf()
    added = side.add(config).ok()
    assert "the nftables table netdev edge" in added.err
    assert "the nftables table netdev edge" in side.check(config, added.json).ok().err


@pytest.mark.parametrize("dropping", ["nft", "legacy", "both"])
@pytest.mark.quick("both")
def test_both_backends_of_iptables_beside_each_other(side: Side, dropping: str) -> None:
    """Programs of one host may use either: each that drops gets the accept, and each is left as it was."""
    for backend in ("nft", "legacy"):
        policy = "DROP" if dropping in (backend, "both") else "ACCEPT"
        run(side, f"iptables-{backend} -P FORWARD {policy}")
        run(side, f"iptables-{backend} -A FORWARD -s 203.0.113.0/24 -j DROP")
    config = conf(**PUBLISHED)
    side.add(config).ok()
    serve(side, "c1", "tcp", 80)
    assert out(side)
    assert published(side)
    for backend in ("nft", "legacy"):
        ours = run(side, f"iptables-{backend}-save -t filter").count("cni-cnm:")
        assert ours == (2 if dropping in (backend, "both") else 0)
    side.delete(config).ok()
    run(side, f"{side.executable} network rm net")
    for backend in ("nft", "legacy"):
        assert "cni-cnm:" not in run(side, f"iptables-{backend}-save -t filter")


def test_a_rule_that_is_not_understood_is_told(side: Side) -> None:
    """What queues all packets to a program comes before our accept, so it decides."""
    load(side, "nft", DROPS)
    run(side, "iptables-nft -A FORWARD -j NFQUEUE --queue-num 7 --queue-bypass")
    config = conf()
    added = side.add(config).ok()
    assert "is not understood" in added.err
    assert "is not understood" in side.check(config, added.json).ok().err
    listed = run(side, "iptables-nft -S FORWARD").splitlines()
    assert "NFQUEUE" in listed[1]
    assert all("cni-cnm:" in line for line in listed[2:])


@pytest.mark.parametrize("form", ["next ADD", "service"])
def test_bridges_of_other_programs(side: Side, form: str) -> None:
    """A bridge that appears is isolated from our networks, one that becomes the uplink is the LAN."""
    config = conf(firewall={"ingressPolicy": "routed"})
    address = side.add(config).ok().json["ips"][0]["address"].partition("/")[0]
    node = side.node
    node.run("ip", "route", "add", "default", "via", "172.30.0.1", netns=f"/run/netns/{foreign(side)}").ok()

    def follows(reached: bool) -> None:
        """The next ADD's work, or the service's."""
        if form == "next ADD":
            side.container(name := f"n{len(side.containers)}")
            side.add(config, name).ok()
        deadline = time.monotonic() + 10
        while ping(side, address, "theirs") is not reached and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ping(side, address, "theirs") is reached
        assert ping(side, "172.30.0.2", "c1") is reached

    if form == "service":
        with serving(side):
            follows(False)
            node.run("ip", "route", "add", "default", "dev", "docker0").ok()
            follows(True)
            node.run("ip", "route", "del", "default").ok()
            follows(False)
            node.run("ip", "addr", "flush", "dev", "docker0", "scope", "global").ok()
            node.run("ip", "route", "add", "172.30.0.0/24", "dev", "docker0").ok()
            follows(True)
    else:
        follows(False)
        node.run("ip", "route", "add", "default", "dev", "docker0").ok()
        follows(True)
        node.run("ip", "route", "del", "default").ok()
        node.run("ip", "link", "set", "docker0", "name", "docker1").ok()
        follows(False)


def foreign(side: Side) -> str:
    """docker0 with a container."""
    node = side.node
    node.add_netns("theirs")
    for command in (
        "link add docker0 type bridge", "addr add 172.30.0.1/24 dev docker0", "link set docker0 up",
        "link add theirs type veth peer name eth0 netns theirs", "link set theirs master docker0 up",
    ):  # fmt: skip
        node.run("ip", *command.split()).ok()
    node.run("ip", "addr", "add", "172.30.0.2/24", "dev", "eth0", netns="/run/netns/theirs").ok()
    node.run("ip", "link", "set", "eth0", "up", netns="/run/netns/theirs").ok()
    return "theirs"


@pytest.mark.parametrize(
    ("keys", "reached"),
    [
        ({}, False),
        ({"firewall": {"ingressPolicy": "routed"}}, True),
        ({"firewall": {"ingressPolicy": "open"}}, True),
        ({"options": {"com.docker.network.bridge.gateway_mode_ipv4": "routed"}}, True),
        ({"options": {"com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected"}}, True),
        ({"options": {"com.docker.network.bridge.gateway_mode_ipv4": "nat"}}, False),
        ({"profile": "reference", "bridge": "cni7", "isGateway": True, "ipMasq": True}, True),
    ],
)
@pytest.mark.parametrize("policy", ["ACCEPT", "DROP"])
@pytest.mark.quick("DROP-keys0-False", "ACCEPT-keys1-True", "ACCEPT-keys5-False", "DROP-keys6-True")
def test_the_lan(side: Side, keys: dict[str, Any], reached: bool, policy: str) -> None:
    """Another host reaches a pod by its address where the network says so; by a published port always."""
    run(side, f"iptables-nft -P FORWARD {policy}")
    routes = {"routes": [{"dst": "0.0.0.0/0"}]} if "bridge" in keys else {}
    config = conf(ipam={"type": "host-local", "subnet": "10.61.0.0/24", **routes}, **keys)
    address = side.add({**config, **PUBLISHED}).ok().json["ips"][0]["address"].partition("/")[0]
    serve(side, "c1", "tcp", 80)
    assert published(side)
    assert out(side)
    assert ping(side, address, "outside") is reached


def test_routed_is_not_masqueraded(side: Side) -> None:
    """With Docker's gateway mode `routed` a pod's own address is seen outside; other networks do not reach it."""
    mode = {"com.docker.network.bridge.gateway_mode_ipv4": "routed"}
    address = side.add(conf(options=mode)).ok().json["ips"][0]["address"].partition("/")[0]
    side.add(conf("other", "10.62.0.0/24"), "c2").ok()
    assert "10.61.0.2" not in run(side, "nft list map inet cni_cnm masquerade4")
    assert "10.62.0.2" in run(side, "nft list map inet cni_cnm masquerade4")
    assert out(side)
    assert ping(side, address, "outside")
    assert not ping(side, address, "c2")


def docker28(address: str) -> str:
    """The filter table of Docker 28 with docker0 and a container that publishes port 80, read from its source."""
    return f"""\
*filter
:FORWARD DROP
:DOCKER -
:DOCKER-BRIDGE -
:DOCKER-CT -
:DOCKER-FORWARD -
:DOCKER-ISOLATION-STAGE-1 -
:DOCKER-ISOLATION-STAGE-2 -
:DOCKER-USER -
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d {address}/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
COMMIT
*nat
:DOCKER -
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.30.0.0/24 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination {address}:80
COMMIT
*raw
-A PREROUTING -d {address}/32 ! -i docker0 -j DROP
COMMIT
"""


DOCKER29 = """\
add table ip docker-bridges
add map ip docker-bridges into {{ type ifname : verdict; }}
add map ip docker-bridges from {{ type ifname : verdict; }}
add chain ip docker-bridges filter-FORWARD {{ type filter hook forward priority 0; policy accept; }}
add rule ip docker-bridges filter-FORWARD oifname vmap @into
add rule ip docker-bridges filter-FORWARD iifname vmap @from
add chain ip docker-bridges into__docker0
add rule ip docker-bridges into__docker0 ct state established,related counter accept
add rule ip docker-bridges into__docker0 iifname "docker0" counter accept
add rule ip docker-bridges into__docker0 ip daddr {address} tcp dport 80 counter accept
add rule ip docker-bridges into__docker0 counter drop
add chain ip docker-bridges from__docker0
add rule ip docker-bridges from__docker0 counter accept
add element ip docker-bridges into {{ "docker0" : jump into__docker0 }}
add element ip docker-bridges from {{ "docker0" : jump from__docker0 }}
add chain ip docker-bridges ports
add rule ip docker-bridges ports iifname != "docker0" tcp dport 8081 counter dnat to {address}:80
add chain ip docker-bridges nat-PREROUTING {{ type nat hook prerouting priority -100; policy accept; }}
add rule ip docker-bridges nat-PREROUTING fib daddr type local counter jump ports
add chain ip docker-bridges nat-POSTROUTING {{ type nat hook postrouting priority 100; policy accept; }}
add rule ip docker-bridges nat-POSTROUTING oifname != "docker0" ip saddr 172.30.0.0/24 counter masquerade
add chain ip docker-bridges raw-PREROUTING {{ type filter hook prerouting priority -300; policy accept; }}
add rule ip docker-bridges raw-PREROUTING ip daddr {address} iifname != "docker0" counter drop
"""
"""The table of Docker 29 by nftables, read from its source, with shorter names."""


@pytest.mark.parametrize("rules", ["28, iptables", "29, nftables"])
@pytest.mark.quick("29, nftables")
def test_newer_dockers_rules(side: Side, rules: str) -> None:
    """Beside them our pods go out and are reached by published ports; of Docker's containers the same, no more."""
    foreign(side)
    side.node.run("ip", "route", "add", "default", "via", "172.30.0.1", netns="/run/netns/theirs").ok()
    if rules.startswith("28"):
        side.node.run("iptables-nft-restore", "--noflush", stdin=docker28("172.30.0.2")).ok()
    else:
        nft(side, *DOCKER29.format(address="172.30.0.2").splitlines())
    config = {**conf(), **PUBLISHED}
    added = side.add(config).ok()
    address = added.json["ips"][0]["address"].partition("/")[0]
    assert not [line for line in added.err.splitlines() if "docker-bridges" in line], "what it drops is on purpose"
    side.check(config, added.json).ok()
    serve(side, "c1", "tcp", 80)
    serve(side, "theirs", "tcp", 80)
    assert out(side)
    assert published(side)
    assert out(side, "theirs")
    assert not ping(side, address, "theirs")
    assert not ping(side, "172.30.0.2", "c1")
    assert not ping(side, address, "outside")
    for client, port_number in (("theirs", 8080), ("c1", 8081), ("outside", 8081)):
        assert not ask(side, "tcp", "192.0.2.1", port_number, client).startswith("no"), client
