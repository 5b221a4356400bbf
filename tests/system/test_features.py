"""Bandwidth, tuning and isolation through the plugin: on interfaces of its own, and behind another plugin's bridge."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.side import REFERENCE, Side, require_reference
from tests.system.test_ports import ask, port, serve

LIMITS = {"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 4_000_000, "egressBurst": 400_000}
MAC = "02:42:0a:00:00:07"
TUNING = {"sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400, "mac": MAC, "promisc": True}


def conf(name: str = "net", subnet: str = "10.61.0.0/24", **keys: Any) -> dict[str, Any]:
    return {"cniVersion": "1.0.0", "name": name, "ipam": {"subnet": subnet}, **keys}


def ifbs(side: Side) -> set[str]:
    return {name for name in side.node.links() if name.startswith("bwp")}


def interface(result: Any, name: str = "eth0") -> dict[str, Any]:
    [found] = [link for link in result["interfaces"] if link["name"] == name]
    return dict(found)


@pytest.mark.parametrize("keys", [{"bandwidth": LIMITS}, {"runtimeConfig": {"bandwidth": LIMITS}}])
def test_bandwidth(side: Side, keys: dict[str, Any]) -> None:
    """Both ways are limited, the result names the ifb, CHECK misses a limit that is gone, DEL leaves no ifb."""
    config = conf(**keys)
    result = side.add(config).ok().json
    [ifb] = ifbs(side)
    assert interface(result, ifb)["mac"]
    port = next(name for name in side.node.links() if name.startswith("veth"))
    for name, rate in ((port, "8Mbit"), (ifb, "4Mbit")):
        assert f"rate {rate}" in side.node.run("tc", "qdisc", "show", "dev", name).out
    side.check(config, result).ok()
    side.node.run("tc", "qdisc", "del", "dev", ifb, "root").ok()
    broken = side.check(config, result)
    assert broken.code == 1
    assert ifb in broken.json["msg"]
    side.delete(config).ok()
    assert ifbs(side) == set()


def test_each_attachment_of_a_container_is_limited(side: Side) -> None:
    """Twice in one network, and once in another: three ifbs that do not clash; one that goes leaves the others'."""
    attachments = {
        "eth0": conf(bandwidth=LIMITS),
        "net1": conf(bandwidth={**LIMITS, "egressRate": 2_000_000}),
        "net2": conf("other", "10.62.0.0/24", bandwidth={**LIMITS, "egressRate": 1_000_000}),
    }
    results = {ifname: side.add(config, ifname=ifname).ok().json for ifname, config in attachments.items()}
    rates = {}
    for ifname, result in results.items():
        [ifb] = [link["name"] for link in result["interfaces"] if link["name"].startswith("bwp")]
        rates[ifname] = side.node.run("tc", "qdisc", "show", "dev", ifb).out
        side.check(attachments[ifname], result, ifname=ifname).ok()
    assert [rate for rate in ("4Mbit", "2Mbit", "1Mbit") if f"rate {rate}" in "".join(rates.values())] == [
        "4Mbit", "2Mbit", "1Mbit",
    ]  # fmt: skip
    assert len(ifbs(side)) == 3
    side.delete(attachments["eth0"]).ok()
    assert len(ifbs(side)) == 2
    for ifname in ("net1", "net2"):
        side.check(attachments[ifname], results[ifname], ifname=ifname).ok()
        side.delete(attachments[ifname], ifname=ifname).ok()
    assert ifbs(side) == set()


def test_the_machine_s_list_of_allowed_sysctls(side: Side) -> None:
    """/etc/cni/tuning/allowlist.conf decides, with an interface's name in place; what it lacks is refused, code 7."""
    side.node.write("/etc/cni/tuning/allowlist.conf", "^net.ipv4.conf.IFNAME.arp_ignore$\n^net.core.\n")
    allowed = {"net.ipv4.conf.IFNAME.arp_ignore": "1", "net.core.somaxconn": "500"}
    side.add(conf(tuning={"sysctl": allowed})).ok()
    assert side.sysctl("net/ipv4/conf/eth0/arp_ignore", "/run/netns/c1") == "1"
    refused = side.add(conf(tuning={"sysctl": {**allowed, "net.ipv4.conf.IFNAME.arp_notify": "1"}}), "c2")
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert "arp_notify" in refused.json["msg"]
    assert side.node.links("/run/netns/c2") == {"lo"}


def test_dns_and_aliases(side: Side) -> None:
    """`dns` of the runtime is in the result, before the configuration's; both it and the aliases are on record."""
    runtime = {"dns": {"servers": ["10.1.1.1"], "searches": ["svc"], "options": ["ndots:5"]}, "aliases": ["web", "db"]}
    result = side.add(conf(runtimeConfig=runtime, dns={"nameservers": ["10.9.9.9"]})).ok().json
    assert result["dns"] == {"nameservers": ["10.1.1.1"], "search": ["svc"], "options": ["ndots:5"]}
    [record] = json.loads(side.node.run(str(side.executable), "endpoint", "inspect", "c1").ok().out)
    assert record["aliases"] == ["web", "db"]
    assert "10.1.1.1" in str(record["lease"]["dns"])


def test_tuning(side: Side) -> None:
    """Sysctl, MTU, MAC and promiscuity are set, the result has the MAC, CHECK names what was changed since."""
    config = conf(tuning=TUNING)
    result = side.add(config).ok().json
    netns = "/run/netns/c1"
    assert interface(result)["mac"] == MAC
    [link] = side.node.ip("link", "show", "dev", "eth0", netns=netns)
    assert (link["address"], link["mtu"], "PROMISC" in link["flags"]) == (MAC, 1400, True)
    assert side.sysctl("net/core/somaxconn", netns) == "500"
    side.check(config, result).ok()
    side.node.run("ip", "link", "set", "eth0", "mtu", "1300", netns=netns).ok()
    broken = side.check(config, result)
    assert broken.code == 1
    assert "mtu" in broken.json["msg"]
    side.delete(config).ok()
    assert side.node.links(netns) == {"lo"}


def test_a_failed_add_leaves_no_limit_and_no_sysctl(side: Side) -> None:
    """A sysctl the kernel refuses: interface, ifb and the sysctls before it are as they were."""
    netns = "/run/netns/c1"
    before = side.sysctl("net/core/somaxconn", netns)
    sysctls = {"net.core.somaxconn": "501", "net.ipv4.conf.IFNAME.nosuch": "1"}
    refused = side.add(conf(bandwidth=LIMITS, tuning={"sysctl": sysctls}))
    assert refused.code == 1
    assert "nosuch" in refused.json["msg"]
    assert (ifbs(side), side.node.links(netns)) == (set(), {"lo"})
    assert side.sysctl("net/core/somaxconn", netns) == before
    assert side.node.files("/run/cni-cnm/endpoints") == set()


def test_behind_the_reference_bridge(side: Side) -> None:
    """Another plugin's interface is limited and tuned, the result says so; DEL makes it what it was."""
    require_reference()
    bridge = {
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "cni0",
        "ipam": {"type": "host-local", "subnet": "10.66.0.0/24"},
    }  # fmt: skip
    netns = "/run/netns/c1"
    reference = REFERENCE / "bridge"
    result = side.call("ADD", bridge, executable=reference).ok().json
    before = side.sysctl("net/core/somaxconn", netns)
    port = next(name for name in side.node.links() if name.startswith("veth"))
    untouched = side.node.run("tc", "qdisc", "show", "dev", port).out
    link = {"cniVersion": "1.0.0", "name": "net", "bandwidth": LIMITS, "tuning": TUNING}
    final = side.add({**link, "prevResult": result}).ok().json
    [ifb] = ifbs(side)
    assert (interface(final)["mac"], interface(final, ifb)["name"]) == (MAC, ifb)
    assert final["ips"] == result["ips"]
    assert "rate 8Mbit" in side.node.run("tc", "qdisc", "show", "dev", port).out
    side.check(link, final).ok()
    side.delete({**link, "prevResult": final}).ok()
    assert ifbs(side) == set()
    assert side.node.run("tc", "qdisc", "show", "dev", port).out == untouched
    [now] = side.node.ip("link", "show", "dev", "eth0", netns=netns)
    assert (now["address"], now["mtu"]) == (interface(result)["mac"], 1500)
    assert side.sysctl("net/core/somaxconn", netns) == before
    side.call("DEL", bridge, executable=reference).ok()


@pytest.mark.parametrize(
    "keys",
    [
        {"bandwidth": {"ingressRate": 8000}},
        {"tuning": {"sysctl": {"kernel.hostname": "x"}}},
        {"tuning": {"mac": "01:00:00:00:00:00"}},
        {"firewall": {"ingressPolicy": "closed"}},
        {"firewall": {"ingressPolicy": "open"}, "options": {"com.docker.network.bridge.enable_icc": "false"}},
    ],
)
def test_wrong_values(side: Side, keys: dict[str, Any]) -> None:
    """Code 7, and nothing was made: no bridge, no record."""
    refused = side.add(conf(**keys))
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert side.node.links() == {"lo"}
    assert side.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/networks") == set()


def test_a_sysctl_given_twice(side: Side) -> None:
    """JSON decoders would keep one of them; it is refused instead."""
    sysctls = '{"net.core.somaxconn": "1", "net.core.somaxconn": "2"}'
    refused = side.call("ADD", json.dumps(conf(tuning={"sysctl": "HERE"})).replace('"HERE"', sysctls))
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert "given twice" in refused.json["msg"]


def pair(side: Side, one: dict[str, Any], other: dict[str, Any]) -> str:
    """Containers c1 and c2 in two networks, or twice in one; the address of c2."""
    side.add(one).ok()
    made = side.add(other, "c2").ok().json
    return str(made["ips"][0]["address"]).partition("/")[0]


def reaches(side: Side, address: str) -> bool:
    return side.node.ping(address, netns="/run/netns/c1", wait=1)


def elements(side: Side) -> str:
    return side.node.run("nft", "list", "ruleset").out


def test_networks_are_isolated_but_published_ports_cross(side: Side) -> None:
    """Two networks do not reach each other, a published port does; neighbours do; nothing stays of a network."""
    published = {"runtimeConfig": {"portMappings": [port(8080, 80)]}}
    other = conf("other", "10.62.0.0/24", **published)
    for command in ("link add up0 type bridge", "addr add 192.0.2.1/24 dev up0", "link set up0 up"):
        side.node.run("ip", *command.split()).ok()
    address = pair(side, conf(), other)
    assert not reaches(side, address)
    serve(side, "c2", "tcp", 80)
    assert not ask(side, "tcp", "192.0.2.1", 8080, "c1").startswith("no")
    assert ask(side, "tcp", address, 80, "c1").startswith("no")
    side.delete(other, "c2").ok()
    neighbour = side.add(conf(), "c2").ok().json["ips"][0]["address"]
    assert reaches(side, neighbour.partition("/")[0])


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"firewall": {"ingressPolicy": "open", "backend": "iptables"}}, True),
        ({"firewall": {"ingressPolicy": "same-bridge"}}, False),
    ],
)
def test_ingress_policy_between_networks(side: Side, keys: dict[str, Any], expected: bool) -> None:
    """`open` on both lifts what is the default of the cnm profile."""
    assert reaches(side, pair(side, conf(**keys), conf("other", "10.62.0.0/24", **keys))) == expected


@pytest.mark.parametrize(
    "keys",
    [
        {"firewall": {"ingressPolicy": "isolated"}},
        {"options": {"com.docker.network.bridge.enable_icc": "false"}},
        {"bridge": "cni0", "isGateway": True, "firewall": {"ingressPolicy": "isolated"},
         "ipam": {"type": "host-local", "subnet": "10.61.0.0/24"}},
    ],
)  # fmt: skip
def test_isolated_within(side: Side, keys: dict[str, Any]) -> None:
    """Containers of one network do not reach each other, the host still does; DEL takes their elements out."""
    config = conf(**keys)
    address = pair(side, config, config)
    assert not reaches(side, address)
    assert side.node.ping(address)
    assert elements(side).count("net/c2/eth0") >= 2
    side.delete(config, "c2").ok()
    assert "net/c2/eth0" not in elements(side)


@pytest.mark.parametrize("profile", [{}, {"bridge": "cni0", "isDefaultGateway": True}])
def test_internal(side: Side, profile: dict[str, Any]) -> None:
    """An internal network does not reach another one, nor is it reached, even with routes and an open policy."""
    ipam = {"type": "host-local", "subnet": "10.61.0.0/24", "routes": [{"dst": "10.62.0.0/24", "gw": "10.61.0.1"}]}
    inside = {**conf(internal=True, **profile), "ipam": ipam}
    address = pair(side, inside, conf("other", "10.62.0.0/24", firewall={"ingressPolicy": "open"}))
    assert not reaches(side, address)
    assert not side.node.ping("10.61.0.2", netns="/run/netns/c2", wait=1)


def test_isolation_is_back_after_a_flush_and_missed_by_check(side: Side) -> None:
    """CHECK names the element that was flushed; the next ADD puts the network's back."""
    config = conf()
    result = side.add(config).ok().json
    side.check(config, result).ok()
    side.node.run("nft", "flush", "set", "inet", "cni_cnm", "networks").ok()
    broken = side.check(config, result)
    assert broken.code == 1
    assert "networks" in broken.json["msg"]
    side.add(config, "c2").ok()
    side.check(config, result).ok()


def test_changed_policy(side: Side) -> None:
    """Refused while containers stand on the old one; without any, the network's elements follow."""
    side.add(conf()).ok()
    opened = conf(firewall={"ingressPolicy": "open"})
    assert side.add(opened, "c2").json["code"] == 7
    side.delete(conf()).ok()
    side.add(opened, "c2").ok()
    assert "br-" not in side.node.run("nft", "list", "set", "inet", "cni_cnm", "networks").out
