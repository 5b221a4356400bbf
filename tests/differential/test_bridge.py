"""The same configurations through cni-cnm and through the reference bridge and host-local: results and kernel state.

Where ours differs on purpose, the test says so and shows the reference's fault.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import Any

import pytest

from tests.side import REFERENCE, Side, normal

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")
V4 = [[{"subnet": "10.77.0.0/24"}]]
V6 = [[{"subnet": "fd00:77::/64"}]]


def bridge(version: str = "1.0.0", ipam: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    ipam = {"ranges": V4} if ipam is None else ipam
    block = {"ipam": {"type": "host-local", **ipam}} if ipam else {}
    return {"cniVersion": version, "name": "net", "bridge": "cni0", **block, **keys}


def both_add(ours: Side, reference: Side, config: dict[str, Any], container: str = "c1", **more: Any) -> None:
    """Add on both sides; results and kernel state must be equal."""
    for side in (ours, reference):
        side.container(container)
    mine, theirs = ours.add(config, container, **more), reference.add(config, container, **more)
    assert (mine.code, normal(mine.json)) == (theirs.code, normal(theirs.json)), mine.err
    assert ours.state() == reference.state()
    assert ours.leases("net") == reference.leases("net")


def both_delete(ours: Side, reference: Side, config: dict[str, Any], container: str = "c1", **more: Any) -> None:
    mine, theirs = ours.delete(config, container, **more), reference.delete(config, container, **more)
    assert (mine.code, mine.json) == (theirs.code, theirs.json) == (0, None)
    assert ours.state() == reference.state()
    assert ours.leases("net") == reference.leases("net")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "ipam",
    [{"ranges": V4}, {"ranges": V6}, {"ranges": V4 + V6}],
    ids=["v4", "v6", "dual"],
)
def test_default_gateway(ours: Side, reference: Side, version: str, ipam: dict[str, Any]) -> None:
    """A bridge with a default gateway: same result, links, addresses, routes, sysctls and leases, for every version."""
    config = bridge(version, ipam, isDefaultGateway=True)
    both_add(ours, reference, config)
    both_delete(ours, reference, config)


KEYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "isGateway": {"isGateway": True},
    "hairpin": {"isGateway": True, "hairpinMode": True},
    "promisc": {"isGateway": True, "promiscMode": True},
    "mac by args": {"isGateway": True, "args": {"cni": {"mac": "c2:11:22:33:44:55"}}},
    "mac by runtimeConfig": {"capabilities": {"mac": True}, "runtimeConfig": {"mac": "c2:11:22:33:44:66"}},
    "other bridge": {"bridge": "br7", "isGateway": True},
    "dns": {"dns": {"nameservers": ["10.1.1.1"], "domain": "d", "search": ["s"], "options": ["o"]}},
    "spoof check": {"isGateway": True, "macspoofchk": True},
    "masquerade": {"isDefaultGateway": True, "ipMasq": True},
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS.keys())
def test_keys(ours: Side, reference: Side, keys: dict[str, Any]) -> None:
    """Each key of the reference has the same effect on the kernel, and the same result."""
    config = bridge(**keys)
    both_add(ours, reference, config)
    both_delete(ours, reference, config)


def test_mtu(ours: Side, reference: Side) -> None:
    """The same on ADD. When the last container has left, ours keeps the MTU on the bridge; the reference's has 1500."""
    config = bridge(isGateway=True, mtu=1400)
    both_add(ours, reference, config)
    for side in (ours, reference):
        side.delete(config).ok()
    assert [side.state()["host"]["links"]["cni0"][0]["mtu"] for side in (ours, reference)] == [1400, 1500]


IPAM: dict[str, dict[str, Any]] = {
    "old style subnet": {"subnet": "10.77.1.0/24"},
    "range": {"subnet": "10.77.1.0/24", "rangeStart": "10.77.1.50", "rangeEnd": "10.77.1.60", "gateway": "10.77.1.9"},
    "routes": {"ranges": V4, "routes": [{"dst": "192.168.7.0/24"}, {"dst": "10.99.0.0/16", "gw": "10.77.0.200"}]},
    "default route with gateway": {"ranges": V4, "routes": [{"dst": "0.0.0.0/0", "gw": "10.77.0.1"}]},
    "static": {"type": "static", "addresses": [{"address": "10.77.5.5/24", "gateway": "10.77.5.1"}]},
    "static dual": {
        "type": "static",
        "addresses": [{"address": "10.77.5.5/24", "gateway": "10.77.5.1"}, {"address": "fd00:5::5/64"}],
        "routes": [{"dst": "10.98.0.0/16"}],
    },
}


@pytest.mark.parametrize("ipam", IPAM.values(), ids=IPAM.keys())
def test_ipam(ours: Side, reference: Side, ipam: dict[str, Any]) -> None:
    """Address configurations: the same addresses and routes, twice in a row for two containers."""
    config = bridge(ipam=ipam, isGateway=True)
    both_add(ours, reference, config)
    if ipam.get("type") != "static":
        both_add(ours, reference, config, "c2")
        both_delete(ours, reference, config, "c2")
    both_delete(ours, reference, config)


@pytest.mark.parametrize("version", ["0.3.0", "0.4.0", "1.0.0"])
def test_layer_two(ours: Side, reference: Side, version: str) -> None:
    """No ipam: a link on the bridge, up, without addresses."""
    config = bridge(version, ipam={})
    both_add(ours, reference, config)
    both_delete(ours, reference, config)


def test_requested_address(ours: Side, reference: Side) -> None:
    """CNI_ARGS IP: the address asked for."""
    config = bridge(isGateway=True)
    both_add(ours, reference, config, args="IgnoreUnknown=1;IP=10.77.0.77")
    both_delete(ours, reference, config)


def test_check_agrees_with_both(ours: Side, reference: Side) -> None:
    """CHECK passes right after ADD, with either result as prevResult shape, and prints nothing."""
    config = bridge(isDefaultGateway=True)
    for side in (ours, reference):
        side.container("c1")
        result = side.add(config).ok().json
        assert side.check(config, result).ok().json is None


BRIDGE_OF_ANOTHER = ("link add cni0 type bridge", "addr add 10.5.0.1/24 dev cni0", "link set cni0 up")


def test_existing_bridge_with_another_address(ours: Side, reference: Side) -> None:
    """The bridge belongs to another subnet: refused, with both addresses named."""
    for side in (ours, reference):
        side.container("c1")
        for command in BRIDGE_OF_ANOTHER:
            side.node.run("ip", *command.split()).ok()
        assert side.add(bridge(isGateway=True)).code == 1
    refused = ours.add(bridge(isGateway=True))
    assert refused.json["msg"].startswith(
        "cni0 already has the address 10.5.0.1/24, the network's gateway is 10.77.0.1/24"
    )
    assert ours.state()["c1"]["links"].keys() == {"lo"}


def test_force_address(ours: Side, reference: Side) -> None:
    """forceAddress replaces the other subnet's address."""
    for side in (ours, reference):
        side.container("c1")
        for command in BRIDGE_OF_ANOTHER:
            side.node.run("ip", *command.split()).ok()
        side.add(bridge(isGateway=True, forceAddress=True)).ok()
        assert side.node.addresses("cni0") == {"10.77.0.1/24"}
    assert ours.state() == reference.state()


# where ours differs on purpose ----------------------------------------------------


def test_ranges_of_several_subnets_behind_one_gateway_bridge(ours: Side, reference: Side) -> None:
    """A range set over two IPv4 subnets: the reference fails at the second one's gateway, ours serves both."""
    ranges = [[{"subnet": "10.77.2.0/30"}, {"subnet": "10.77.3.0/24"}]]
    for side, expected in ((reference, 1), (ours, 0)):
        side.container("c1")
        side.container("c2")
        side.add(bridge(isGateway=True, ipam={"ranges": ranges})).ok()
        assert side.add(bridge(isGateway=True, ipam={"ranges": ranges}), "c2").code == expected
    assert ours.node.addresses("cni0") == {"10.77.2.1/30", "10.77.3.1/24"}


def test_dns_of_the_ipam_is_kept(ours: Side) -> None:
    """The IPAM's DNS stands where the configuration has none (the reference drops it before 1.2)."""
    ours.container("c1")
    ipam = {"type": "static", "addresses": [{"address": "10.77.5.5/24"}], "dns": {"nameservers": ["10.1.1.2"]}}
    assert ours.add(bridge(ipam=ipam)).ok().json["dns"] == {"nameservers": ["10.1.1.2"]}


def test_addresses_survive_the_link_going_down(ours: Side) -> None:
    """IPv6 addresses stay when the container takes its interface down and up; advertisements are not listened to."""
    ours.container("c1")
    ours.add(bridge(ipam={"ranges": V6})).ok()
    assert ours.sysctl("net/ipv6/conf/eth0/keep_addr_on_down", "/run/netns/c1") == "1"
    assert ours.sysctl("net/ipv6/conf/eth0/accept_ra", "/run/netns/c1") == "0"
    for state in ("down", "up"):
        ours.node.run("ip", "link", "set", "eth0", state, netns="/run/netns/c1").ok()
    assert ours.node.addresses("eth0", netns="/run/netns/c1") == {"fd00:77::2/64"}


def test_delete_without_namespace_leaves_nothing(ours: Side, reference: Side) -> None:
    """The namespace is gone before DEL: the reference forgets its masquerade rules, ours leaves nothing."""
    config = bridge(isDefaultGateway=True, ipMasq=True)
    for side in (ours, reference):
        side.container("c1")
        side.add(config).ok()
        side.node.run("ip", "netns", "del", "c1").ok()
        side.delete(config, netns="").ok()
    assert "10.77.0.2" in reference.node.run("iptables-save", "-t", "nat").out
    assert "10.77.0.2" not in ours.node.run("nft", "list", "ruleset").out
    assert ours.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()


def test_namespace_path_is_a_plain_file(ours: Side, reference: Side) -> None:
    """After a crash the namespace's file may be left as a plain file: the reference fails and keeps the lease."""
    config = bridge(isGateway=True)
    for side, expected in ((reference, 1), (ours, 0)):
        side.container("c1")
        side.add(config).ok()
        side.node.run("umount", "/run/netns/c1").ok()
        assert side.delete(config).code == expected
    assert "10.77.0.2" in reference.leases("net")
    assert "10.77.0.2" not in ours.leases("net")


def test_failed_add_leaves_nothing(ours: Side, reference: Side) -> None:
    """An ADD that fails after the link was made: the reference leaves the veth, ours undoes all of it."""
    config = bridge(isGateway=True, ipam={"ranges": [[{"subnet": "10.77.0.0/30", "rangeStart": "10.77.0.2"}]]})
    for side in (ours, reference):
        side.container("c1")
        side.container("c2")
        side.add(config).ok()
        assert side.add(config, "c2").code == 1
    assert len(reference.state()["host"]["links"]["VETH"]) == 2
    assert len(ours.state()["host"]["links"]["VETH"]) == 1
    assert ours.state()["c2"]["links"].keys() == {"lo"}


def test_default_route_without_gateway_beside_default_gateway(ours: Side, reference: Side) -> None:
    """`routes: 0.0.0.0/0` with isDefaultGateway: the reference fails with "file exists", ours has one default route."""
    config = bridge(isDefaultGateway=True, ipam={"ranges": V4, "routes": [{"dst": "0.0.0.0/0"}]})
    for side, expected in ((reference, 1), (ours, 0)):
        side.container("c1")
        assert side.add(config).code == expected
    routes = [route for route in ours.state()["c1"]["routes"] if "default" in route]
    assert len(routes) == 1
    assert "10.77.0.1" in routes[0]


def test_layer_two_check(ours: Side, reference: Side) -> None:
    """CHECK of a bridge without ipam: the reference always fails, ours passes."""
    config = bridge(ipam={})
    for side, expected in ((reference, 1), (ours, 0)):
        side.container("c1")
        result = side.add(config).ok().json
        assert side.check(config, result).code == expected


def test_own_namespace_is_refused_before_anything(ours: Side, reference: Side) -> None:
    """CNI_NETNS is the host's own: the reference acts and then prints a second object, ours refuses with code 8."""
    config = bridge(isGateway=True)
    answer = ours.call("ADD", config, netns="/proc/self/ns/net")
    assert (answer.code, answer.json["code"]) == (1, 8)
    assert ours.state()["host"]["links"].keys() == {"lo"}
    reference.node.run(
        str(reference.executable),
        stdin='{"cniVersion":"1.0.0","name":"net","type":"bridge","bridge":"cni0"}',
        env={"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/proc/self/ns/net", "CNI_IFNAME": "eth0",
             "CNI_PATH": reference.path},
    )  # fmt: skip
    assert "cni0" in reference.state()["host"]["links"]


def test_second_attachment_of_a_container_to_one_network(ours: Side, reference: Side) -> None:
    """Two interfaces on one network: removing one leaves the other's masquerade alone; the reference's is flushed."""
    config = bridge(isGateway=True, ipMasq=True)
    ours.container("c1")
    ours.add(config).ok()
    ours.add(config, ifname="net1").ok()
    ours.delete(config).ok()
    ruleset = ours.node.run("nft", "list", "map", "inet", "cni_cnm", "masquerade4").ok().out
    assert "10.77.0.3" in ruleset
    assert "10.77.0.2" not in ruleset


def test_empty_lease_file_does_not_block_an_address(ours: Side, reference: Side) -> None:
    """A crash leaves an empty lease: the reference skips that address for ever, ours takes it."""
    config = bridge(isGateway=True, ipam={"ranges": [[{"subnet": "10.77.0.0/30"}]]})
    for side, expected in ((reference, 1), (ours, 0)):
        side.container("c1")
        side.node.write("/var/lib/cni/networks/net/10.77.0.2", "")
        assert side.add(config).code == expected


def test_reference_pod_is_taken_down_by_ours(ours: Side) -> None:
    """A pod made by the reference under the same network: our DEL removes its link and its lease."""

    config = bridge(isGateway=True)
    ours.container("c1")
    ours.call("ADD", {**config, "type": "bridge"}, executable=REFERENCE / "bridge").ok()
    assert "10.77.0.2" in ours.leases("net")
    ours.delete(config).ok()
    assert "10.77.0.2" not in ours.leases("net")
    assert "VETH" not in ours.state()["host"]["links"]
    assert ours.state()["c1"]["links"].keys() == {"lo"}


def test_both_allocate_on_one_store(ours: Side) -> None:
    """Reference and ours beside each other on one network: no address twice, each DEL frees its own."""

    config = bridge(isGateway=True)
    for number in range(6):
        ours.container(f"c{number}")
        executable = REFERENCE / "bridge" if number % 2 else ours.executable
        ours.call("ADD", {**config, "type": executable.name}, f"c{number}", executable=executable).ok()
    leases = {name for name in ours.leases("net") if not name.startswith("last")}
    assert leases == {f"10.77.0.{n}" for n in range(2, 8)}
    for number in range(6):
        executable = REFERENCE / "bridge" if number % 2 else ours.executable
        ours.call("DEL", {**config, "type": executable.name}, f"c{number}", executable=executable).ok()
    assert {name for name in ours.leases("net") if not name.startswith("last")} == set()


def test_rules_of_the_reference_chain_go_with_its_pod(ours: Side) -> None:
    """A pod of the reference's bridge, portmap and firewall: our DEL removes its chains, and only its own."""
    ours.container("c1")
    ours.container("c2")
    config = bridge(isGateway=True, ipMasq=True)
    port = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
    for name in ("c1", "c2"):
        result = ours.call("ADD", {**config, "type": "bridge"}, name, executable=REFERENCE / "bridge").ok().json
        for plugin, keys in (("portmap", {"runtimeConfig": {"portMappings": [port]}}), ("firewall", {})):
            link = {"cniVersion": "1.0.0", "name": "net", "type": plugin, "prevResult": result, **keys}
            ours.call("ADD", link, name, executable=REFERENCE / plugin).ok()
        port = {**port, "hostPort": 8081}
    ours.delete(config).ok()
    rules = ours.node.run("iptables-save").ok().out
    assert "10.77.0.2" not in rules
    assert "8080" not in rules
    assert "10.77.0.3" in rules
    assert "8081" in rules
    ours.delete(config, "c2").ok()
    rules = ours.node.run("iptables-save").ok().out
    assert not [line for line in rules.splitlines() if "CNI-DN-" in line or "10.77.0." in line]


def _hash(text: str) -> str:
    return hashlib.sha512(text.encode()).hexdigest()[:16]


def _nftables_of_newer_plugins(container: str, address: str, address6: str, ifname: str = "eth0") -> str:
    """What bridge and portmap write from 1.6 on with their nftables backends, and bridge with macspoofchk."""
    owner = f"{_hash('net')}-{_hash(f'{ifname}:{container}')}, net: net, if: {ifname}, id: {container}"[:128]
    label = f"{container}-{ifname}"
    port = 8000 + int(address.rpartition(".")[2])
    lines = [
        "add table inet cni_plugins_masquerade",
        "add chain inet cni_plugins_masquerade masq_checks",
        "add chain inet cni_plugins_masquerade postrouting { type nat hook postrouting priority srcnat; }",
        "flush chain inet cni_plugins_masquerade postrouting",
        "add rule inet cni_plugins_masquerade postrouting ip daddr 224.0.0.0/4 return",
        "add rule inet cni_plugins_masquerade postrouting goto masq_checks",
    ]
    for family, one, subnet in (("ip", address, "10.77.0.0/24"), ("ip6", address6, "fd00:77::/64")):
        to = f"[{one}]:80" if family == "ip6" else f"{one}:80"
        outside = f"{family} saddr {one} {family} daddr != {subnet}"
        itself = f"{family} saddr {one} {family} daddr {one}"
        lines += [
            f'add rule inet cni_plugins_masquerade masq_checks {outside} masquerade comment "{owner}"',
            f"add table {family} cni_hostport",
            *(f"add chain {family} cni_hostport {chain}" for chain in ("hostports", "hostip_hostports")),
            f"add chain {family} cni_hostport prerouting {{ type nat hook prerouting priority dstnat; }}",
            f"flush chain {family} cni_hostport prerouting",
            f"add rule {family} cni_hostport prerouting fib daddr type local jump hostports",
            f"add chain {family} cni_hostport masquerading {{ type nat hook postrouting priority srcnat; }}",
            f'add rule {family} cni_hostport hostports tcp dport {port} dnat to {to} comment "{container}"',
            f'add rule {family} cni_hostport masquerading {itself} masquerade comment "{container}"',
        ]
    chain, comment = f"cni-br-iface-{label}", f'comment "macspoofchk-{label}"'
    lines += [
        "add table bridge nat",
        "add chain bridge nat PREROUTING { type filter hook prerouting priority -300; }",
        *(f"add chain bridge nat {one}" for one in (chain, f"{chain}-mac")),
        f'add rule bridge nat PREROUTING iifname "veth{container}" jump {chain} {comment}',
        f"add rule bridge nat {chain} jump {chain}-mac {comment}",
        f"add rule bridge nat {chain}-mac ether saddr 02:00:00:00:00:02 return {comment}",
        f"add rule bridge nat {chain}-mac drop {comment}",
    ]
    return "\n".join(lines) + "\n"


def test_nftables_rules_of_newer_reference_plugins_go_with_their_pod(ours: Side) -> None:
    """What their nftables backends keep for a pod goes with our DEL of it; its neighbours' and foreign rules stay."""
    ours.container("c1")
    config = bridge(isGateway=True)
    ours.call("ADD", {**config, "type": "bridge"}, executable=REFERENCE / "bridge").ok()
    node, netns = ours.node, "/run/netns/c1"
    node.run("ip", "link", "add", "net1", "type", "veth", "peer", "name", "far", netns=netns).ok()
    node.run("ip", "addr", "add", "10.99.0.2/24", "dev", "net1", netns=netns).ok()
    foreign = (
        "add table bridge nat\nadd chain bridge nat PREROUTING { type filter hook prerouting priority -300; }\n"
        'add rule bridge nat PREROUTING iifname "eth7" counter comment "macspoofchk-c1-eth01"\n'
        "add table ip cni_hostport\nadd chain ip cni_hostport hostports\n"
        # of another network of the same container, whose id is all that the comment says
        'add rule ip cni_hostport hostports tcp dport 9000 dnat to 10.99.0.2:90 comment "c1"\n'
    )
    neighbours = _nftables_of_newer_plugins("c10", "10.77.0.3", "fd00:77::3")
    neighbours += _nftables_of_newer_plugins("c1", "10.77.0.4", "fd00:77::4", "net2").replace('comment "c1"', "")
    node.run("nft", "-f", "-", stdin=foreign + neighbours).ok()
    before = _rules(ours)
    node.run("nft", "-f", "-", stdin=_nftables_of_newer_plugins("c1", "10.77.0.2", "fd00:77::2")).ok()
    everything = _rules(ours)
    assert len(everything) > len(before)
    ours.delete(config, "c9").ok()
    assert _rules(ours) == everything
    ours.delete(config).ok()
    assert _rules(ours) == before
    ours.delete(config).ok()
    assert _rules(ours) == before, "nor does a second DEL take what is of the other network"
    ours.delete(config, "c10").ok()
    assert "10.77.0.3" not in "".join(_rules(ours)), "of a pod without link and lease, by the comments alone"
    ours.delete(config, netns="").ok()
    assert "10.99.0.2" not in "".join(_rules(ours)), "without a namespace there is no other network"


def _rules(side: Side) -> list[str]:
    """Without what they have counted."""
    lines = (line.strip() for line in side.node.run("nft", "list", "ruleset").ok().out.splitlines())
    return sorted(line for line in lines if not line.startswith("packets "))


def test_a_delete_of_nothing_runs_no_process(ours: Side) -> None:
    """Runtimes send a DEL before every ADD: with nothing on record and no such tables, nothing is executed for it."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    ours.container("c1")
    config = json.dumps({**bridge(isGateway=True), "type": "cni-cnm"})
    env = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
           "CNI_PATH": ours.path}  # fmt: skip
    trace = ("strace", "-f", "-qq", "-e", "trace=execve,vfork", "-o", "/run/trace")
    ours.node.run(*trace, str(ours.executable), stdin=config, env=env).ok()
    started = [line for line in ours.node.path("/run/trace").read_text().splitlines() if "execve" in line]
    assert started
    assert not [line for line in started if "iptables" in line or "/nft" in line]
