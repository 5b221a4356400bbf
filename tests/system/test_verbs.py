"""What each CNI verb owes beyond what the reference has: CHECK, GC, STATUS, repeated ADDs, edited configurations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.program import form
from tests.side import REFERENCE, Side


def conf(**keys: Any) -> dict[str, Any]:
    ipam = {"type": "host-local", "ranges": [[{"subnet": "10.90.0.0/24"}], [{"subnet": "fd00:90::/64"}]]}
    return {"cniVersion": "1.1.0", "name": "net", "bridge": "cni0", "isDefaultGateway": True, "ipMasq": True,
            "macspoofchk": True, "ipam": ipam, **keys}  # fmt: skip


# CHECK ----------------------------------------------------------------------

BREAKAGES = {
    "container link down": ("c1", "ip link set eth0 down", "eth0 is down"),
    "address gone": ("c1", "ip addr del 10.90.0.2/24 dev eth0", "address 10.90.0.2/24"),
    "IPv6 address gone": ("c1", "ip addr del fd00:90::2/64 dev eth0", "address fd00:90::2/64"),
    "default route gone": ("c1", "ip route del default", "0.0.0.0/0"),
    "other MAC": ("c1", "ip link set eth0 address 02:00:00:00:00:01", "MAC"),
    "container link renamed": ("c1", "ip link set eth0 down name eth7", "eth0 is missing"),
    "port off the bridge": ("", "ip link set VETH nomaster", "not a port of cni0"),
    "port down": ("", "ip link set VETH down", "is down"),
    "hairpin": ("", "bridge link set dev VETH hairpin on", "hairpin"),
    "bridge down": ("", "ip link set cni0 down", "cni0 is down"),
    "gateway address": ("", "ip addr del 10.90.0.1/24 dev cni0", "gateway address 10.90.0.1/24"),
    "forwarding": ("", "sysctl -w net.ipv4.ip_forward=0", "forwarding"),
    "masquerade": ("", "nft flush map inet cni_cnm masquerade4", "masquerade4"),
    "spoof check": ("", "nft flush set bridge cni_cnm senders", "senders"),
    "lease": ("", "rm /var/lib/cni/networks/net/10.90.0.2", "10.90.0.2"),
}


@pytest.mark.parametrize(("where", "command", "sentence"), BREAKAGES.values(), ids=BREAKAGES.keys())
def test_check_names_what_is_wrong(side: Side, where: str, command: str, sentence: str) -> None:
    """Whatever is broken by hand, CHECK says it, and repairs nothing."""
    if form() == "service" and any(word in command for word in ("nft", "cni0", "ip_forward")):
        pytest.skip("the service puts it back before CHECK can miss it")
    result = side.add(conf()).ok().json
    assert side.check(conf(), result).ok().json is None
    veth = next(link["name"] for link in result["interfaces"] if link["name"].startswith("veth"))
    words = command.replace("VETH", veth).split()
    side.node.run(*words, netns=f"/run/netns/{where}" if where else "").ok()
    before = side.state()
    failed = side.check(conf(), result)
    assert failed.code == 1
    assert sentence in failed.json["msg"], failed.json
    assert side.state() == before
    side.delete(conf()).ok()


def test_check_without_a_record(side: Side) -> None:
    """CHECK of what was never added says so."""
    failed = side.check(conf(), {"cniVersion": "1.1.0", "interfaces": [], "ips": []})
    assert (failed.code, "nothing is recorded" in failed.json["msg"]) == (1, True)


def test_check_compares_the_result_the_runtime_holds(side: Side) -> None:
    """A prevResult with another address is not this attachment's."""
    result = side.add(conf()).ok().json
    result["ips"][0]["address"] = "10.90.0.99/24"
    failed = side.check(conf(), result)
    assert "10.90.0.99/24" in failed.json["msg"]


# GC -------------------------------------------------------------------------


def attachments(*containers: str) -> dict[str, Any]:
    return {"cni.dev/valid-attachments": [{"containerID": c, "ifname": "eth0"} for c in containers]}


def test_gc_is_scoped_to_its_owner(side: Side) -> None:
    """What one runtime does not list goes; what another one made stays, and stderr says so."""
    side.container("c3")
    for name, owner in (("c1", "containerd"), ("c2", "containerd"), ("c3", "crio")):
        side.add(conf(owner=owner), name).ok()
    answer = side.call("GC", {**conf(owner="containerd"), **attachments("c1")}).ok()
    assert answer.json is None
    assert "crio" in answer.err
    assert side.node.links("/run/netns/c2") == {"lo"}
    assert "eth0" in side.node.links("/run/netns/c1")
    assert "eth0" in side.node.links("/run/netns/c3")
    assert {name for name in side.leases("net") if name.startswith("10.")} == {"10.90.0.2", "10.90.0.4"}
    side.call("GC", {**conf(owner="crio"), **attachments()}).ok()
    assert "10.90.0.4" not in side.leases("net")


def test_gc_leaves_other_networks_alone(side: Side) -> None:
    """An empty list for one network says nothing about another."""
    side.add(conf(owner="a")).ok()
    side.add(conf(owner="a", name="other", bridge="cni1", ipam={"type": "host-local", "subnet": "10.91.0.0/24"}),
             ifname="net1").ok()  # fmt: skip
    side.call("GC", {**conf(owner="a", name="other", bridge="cni1"), **attachments()}).ok()
    assert side.node.links("/run/netns/c1") == {"lo", "eth0"}


# STATUS ---------------------------------------------------------------------


def test_status(side: Side) -> None:
    """Ready before the first ADD; a bridge name that is no bridge is code 50."""
    assert side.call("STATUS", conf()).ok().json is None
    side.node.run("ip", "link", "add", "cni0", "type", "veth", "peer", "name", "x").ok()
    failed = side.call("STATUS", conf())
    assert (failed.code, failed.json["code"]) == (1, 50)


def test_status_of_an_exhausted_pool(side: Side) -> None:
    """A full node is a warning, not NotReady, unless `statusExhausted` asks for it; and the ADD says why it fails."""
    small = conf(ipam={"type": "host-local", "subnet": "10.90.1.0/30"})
    side.add(small).ok()
    assert "no free address" in side.call("STATUS", small).ok().err
    failed = side.call("STATUS", {**small, "statusExhausted": True})
    assert (failed.code, failed.json["code"]) == (1, 50)
    full = side.add(small, "c2")
    assert (full.code, full.json["code"]) == (1, 101)
    assert "10.90.1" in full.json["msg"]


def test_status_takes_no_lock(side: Side) -> None:
    """STATUS answers while a process that hangs has locked the store."""
    side.add(conf()).ok()
    lock = str(side.node.path("/var/lib/cni/networks/net/lock"))
    import fcntl

    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        side.call("STATUS", conf()).ok()


# ADD ------------------------------------------------------------------------


def test_repeated_add_is_refused_and_changes_nothing(side: Side) -> None:
    """A second ADD of a live endpoint is code 104; the first one's interface goes on working."""
    result = side.add(conf()).ok().json
    before = side.state()
    again = side.add(conf())
    assert (again.code, again.json["code"]) == (1, 104)
    assert side.state() == before
    side.check(conf(), result).ok()


def test_add_again_after_the_namespace_was_replaced(side: Side) -> None:
    """The container's namespace is a new one: the old endpoint is taken down first, nothing of it stays."""
    side.add(conf()).ok()
    side.node.run("ip", "netns", "del", "c1").ok()
    side.node.run("ip", "netns", "add", "c1").ok()
    side.add(conf()).ok()
    assert len(side.state()["host"]["links"]["VETH"]) == 1
    assert len([name for name in side.leases("net") if name.startswith("10.")]) == 1


def test_the_same_request_again_is_answered_again(side: Side) -> None:
    """A request executed again after a cut (same id) returns the recorded result, and does nothing twice."""
    if form() != "source":
        pytest.skip("the relay gives each request an id of its own; tests/system/test_relay.py shows what it does")
    env = {"CNI_CNM_REQUEST": "0123456789abcdef"}
    first = side.add(conf(), env=env).ok().json
    before = side.state()
    assert side.add(conf(), env=env).ok().json == first
    assert side.state() == before


def test_edited_configuration(side: Side) -> None:
    """A compatible edit wins; another bridge under live endpoints is refused with code 7 and both values."""
    side.add(conf()).ok()
    refused = side.add(conf(bridge="cni9"), "c2")
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert "'cni0'" in refused.json["msg"]
    assert "'cni9'" in refused.json["msg"]
    side.add(conf(hairpinMode=True), "c2").ok()
    assert [port["hairpin"] for port in side.state()["host"]["links"]["VETH"]] in ([True, False], [False, True])


def test_failed_first_add_leaves_no_network(side: Side) -> None:
    """The first ADD of a network fails: no bridge, no record, no lease."""
    broken = conf(ipam={"type": "host-local", "subnet": "10.90.2.0/30", "rangeStart": "10.90.2.2"})
    side.node.write("/var/lib/cni/networks/net/10.90.2.2", "other\r\neth0")
    assert side.add(broken).code == 1
    assert side.node.links() == {"lo"}
    assert side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm/networks") == set()


def test_one_line_network(side: Side) -> None:
    """Name and type are enough: a subnet of the default pools, gateway, default route, masquerade, its own bridge."""
    result = side.add({"cniVersion": "1.0.0", "name": "podnet"}).ok().json
    gateway = result["ips"][0]["gateway"]
    assert result["interfaces"][0]["name"].startswith("br-")
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": gateway}]
    assert side.node.ping(gateway, netns="/run/netns/c1")
    other = side.add({"cniVersion": "1.0.0", "name": "podnet"}, "c2").ok().json
    assert side.node.ping(other["ips"][0]["address"].split("/")[0], netns="/run/netns/c1")
    table = side.node.run(str(side.executable), "network", "ls").ok().out
    assert "podnet" in table


def test_internal_network(side: Side) -> None:
    """internal: the bridge has its address, the container no default route, and nothing is masqueraded."""
    result = side.add({"cniVersion": "1.0.0", "name": "inside", "internal": True}).ok().json
    assert "routes" not in result
    assert side.node.ip("route", "show", "default", netns="/run/netns/c1") == []
    assert "masquerade4" not in side.node.run("nft", "list", "ruleset").out


def test_mtu_follows_the_way_out(side: Side) -> None:
    """In the cnm profile a network gets the MTU of the default route's link, in the reference profile the kernel's."""
    for command in ("link add up0 mtu 1380 type bridge", "addr add 192.0.2.1/24 dev up0", "link set up0 up",
                    "route add default via 192.0.2.254"):  # fmt: skip
        side.node.run("ip", *command.split()).ok()
    side.add({"cniVersion": "1.0.0", "name": "auto"}).ok()
    side.add(conf(), ifname="net1").ok()
    mtus = {link["ifname"]: link["mtu"] for link in side.node.ip("link", "show", netns="/run/netns/c1")}
    assert (mtus["eth0"], mtus["net1"]) == (1380, 1500)


def test_stable_mac_and_pinned_bridge(side: Side) -> None:
    """A container that comes back has its MAC again; the bridge's does not change with its ports."""
    first = side.add(conf()).ok().json["interfaces"]
    side.delete(conf()).ok()
    second = side.add(conf()).ok().json["interfaces"]
    assert [first[0]["mac"], first[2]["mac"]] == [second[0]["mac"], second[2]["mac"]]


def test_several_networks_in_one_container(side: Side) -> None:
    """A second network does not take the first one's default route, and its result does not claim one."""
    side.add(conf()).ok()
    other = conf(name="other", bridge="cni1", ipam={"type": "host-local", "subnet": "10.91.0.0/24"})
    result = side.add(other, ifname="net1").ok().json
    assert "routes" not in result
    side.check(other, result, ifname="net1").ok()
    [default] = side.node.ip("route", "show", "default", netns="/run/netns/c1")
    assert default["gateway"] == "10.90.0.1"
    side.delete(conf()).ok()
    [default] = side.node.ip("route", "show", "default", netns="/run/netns/c1")
    assert default["gateway"] == "10.91.0.1"


def test_duplicate_address_detection_on_request(side: Side) -> None:
    """enabledad: the ADD waits for the kernel's verdict, without it addresses are usable at once."""
    for extra in ({}, {"enabledad": True}):
        side.add(conf(**extra)).ok()
        shown = side.node.run("ip", "-6", "addr", "show", "dev", "eth0", "scope", "global", netns="/run/netns/c1").out
        assert "tentative" not in shown
        assert ("nodad" in shown) is not bool(extra)
        side.delete(conf()).ok()


def test_route_attributes(side: Side) -> None:
    """mtu, advmss, priority, table and scope of a route reach the kernel and the result."""
    routes = [
        {"dst": "192.0.2.0/24", "mtu": 1300, "advmss": 1200, "priority": 50},
        {"dst": "198.51.100.0/24", "table": 77},
        {"dst": "203.0.113.0/24", "gw": "10.90.0.9", "scope": 0},
    ]
    ipam = {"type": "host-local", "subnet": "10.90.0.0/24", "routes": routes}
    result = side.add(conf(ipam=ipam)).ok().json
    assert result["routes"][:3] == routes
    shown = side.node.run("ip", "route", "show", "table", "all", netns="/run/netns/c1").out
    assert "192.0.2.0/24 via 10.90.0.1 dev eth0 metric 50 mtu 1300 advmss 1200" in shown
    assert "198.51.100.0/24 via 10.90.0.1 dev eth0 table 77" in shown
    assert "203.0.113.0/24 via 10.90.0.9 dev eth0" in shown
    side.check(conf(ipam=ipam), result).ok()


def test_vlan_without_kernel_support(side: Side) -> None:
    """A kernel without bridge VLAN filtering: code 102, the feature's name, nothing left."""
    answer = side.add(conf(vlan=100))
    if answer.code == 0:
        pytest.skip("this kernel has bridge VLAN filtering; the differential tests show the rest")
    assert answer.json["code"] == 102
    assert "VLAN" in answer.json["msg"]
    assert side.node.links() == {"lo"}


def test_full_bridge(side: Side) -> None:
    """The 1,024th container of a bridge: one clear sentence, nothing left of the attempt."""
    side.add(conf()).ok()
    lines = "".join(f"link add p{n} type veth peer name q{n}\nlink set p{n} master cni0\n" for n in range(1022))
    side.node.run("ip", "-batch", "-", stdin=lines, timeout=300).ok()
    answer = side.add(conf(), "c2")
    assert answer.code == 1
    assert "1023 ports" in answer.json["msg"]
    assert side.node.links("/run/netns/c2") == {"lo"}
    assert "10.90.0.3" not in side.leases("net")
    assert "full" in side.call("STATUS", conf()).ok().err


def test_delegated_ipam(side: Side) -> None:
    """Any CNI IPAM executable: here the reference's host-local under another name."""
    side.node.run("mkdir", "/run/ipam").ok()
    side.node.run("ln", "-s", str(REFERENCE / "host-local"), "/run/ipam/my-ipam").ok()
    side.path += ":/run/ipam"
    refused = side.add(conf(ipam={"type": "my-ipam", "subnet": "10.90.9.0/24"}))
    assert refused.json["code"] == 1, "it does not speak 1.1.0, and says so itself"
    assert side.node.links() == {"lo"}
    config = {**conf(ipam={"type": "my-ipam", "subnet": "10.90.9.0/24"}), "cniVersion": "1.0.0"}
    result = side.add(config).ok().json
    assert result["ips"][0]["address"] == "10.90.9.2/24"
    side.check(config, result).ok()
    side.delete(config).ok()
    assert "10.90.9.2" not in side.leases("net")


def test_log_line(side: Side) -> None:
    """One line a request, in the file the settings name: verb, network, container, result, time."""
    side.node.write("/etc/cni-cnm/config.toml", 'log = "/run/cni.log"\n')
    side.add(conf()).ok()
    side.add(conf())
    side.delete(conf()).ok()
    lines = side.log_lines("/run/cni.log", 3)
    assert "ADD net c1/eth0 10.90.0.2/24" in lines[0]
    assert "failed, code 104" in lines[1]
    assert "DEL net c1/eth0" in lines[2]
    assert all(line.endswith(" ms") for line in lines)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (conf(), "in the profile reference, because of bridge"),
        (
            {"cniVersion": "1.1.0", "name": "net", "mtu": 1400},
            "in the profile cnm, as there is no key of the reference",
        ),
        ({"cniVersion": "1.1.0", "name": "net", "profile": "cnm"}, "in the profile cnm, as profile says"),
    ],
    ids=["reference", "cnm", "stated"],
)
def test_the_first_add_of_a_network_logs_its_profile(side: Side, config: dict[str, Any], sentence: str) -> None:
    """And the key that decided it; the second ADD does not."""
    side.node.write("/etc/cni-cnm/config.toml", 'log = "/run/cni.log"\n')
    side.add(config).ok()
    side.add(config, "c2").ok()
    first, second = side.log_lines("/run/cni.log", 2)
    assert f"; the network is made {sentence}" in first
    assert "profile" not in second


def test_records_of_an_earlier_boot_are_void(side: Side) -> None:
    """Records and leases of another epoch: CHECK says so, the ADD starts anew, the old lease does not leak."""
    side.add(conf()).ok()
    [record] = side.node.path("/run/cni-cnm/endpoints").iterdir()
    old = json.loads(record.read_text())
    record.write_text(json.dumps({**old, "epoch": "another boot"}))
    assert side.check(conf(), {"ips": [], "interfaces": [], "cniVersion": "1.1.0"}).code == 1
    side.node.run("ip", "link", "del", old["host_ifname"]).ok()
    side.add(conf()).ok()
    assert len([name for name in side.leases("net") if name.startswith("10.")]) == 1
