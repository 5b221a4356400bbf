"""Situations that the newest reference plugins' own tests have, and no other file here: the same calls on both sides.

A plugin of the chain is ours in its place: `cni-cnm` with the block of that plugin, behind the reference bridge.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import program
from tests.side import Side

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAC = "c2:11:22:33:44:77"
SUBNET = {"type": "host-local", "subnet": "10.77.0.0/24"}
POD = "/run/netns/c1"
BRIDGE: dict[str, Any] = {"type": "bridge", "bridge": "cni0", "isGateway": True}
PTP: dict[str, Any] = {"type": "ptp"}
MACVLAN: dict[str, Any] = {"type": "macvlan", "master": "up0"}
INTERFACES = pytest.mark.parametrize("plugin", [BRIDGE, PTP, MACVLAN], ids=["bridge", "ptp", "macvlan"])


class Party(Side):
    """A side that can call the reference plugins, too: they are in `folder`."""

    def __init__(self, executable: Path, type_name: str, folder: Path) -> None:
        super().__init__(executable, type_name, (folder,))
        self.folder = folder
        self.container("c1")
        self.node.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "far0").ok()
        self.node.run("ip", "link", "set", "up0", "up").ok()

    @property
    def is_ours(self) -> bool:
        return self.type == "cni-cnm"


@pytest.fixture
def sides(require_root: None, newest: Path, tmp_path: Path) -> Iterator[tuple[Party, Party]]:
    made = Party(program(tmp_path), "cni-cnm", newest), Party(newest / "bridge", "bridge", newest)
    yield made
    for side in made:
        side.close()


def call(side: Party, verb: str, plugin: dict[str, Any], **keys: Any) -> Any:
    """An interface plugin of the reference, or ours by `driver`. More keys of `Side.call` are in `how`."""
    how = keys.pop("how", {})
    conf = {"cniVersion": "1.0.0", "name": "net", "ipam": SUBNET, **plugin, **keys}
    if side.is_ours:
        driver = {"driver": conf["type"], "profile": "reference"} if conf["type"] != "bridge" else {}
        return side.call(verb, {**conf, "type": "cni-cnm", **driver}, **how)
    return side.call(verb, conf, executable=side.folder / conf["type"], **how)


def behind_bridge(side: Party, plugin: str, verb: str, previous: Any, keys: dict[str, Any], **args: Any) -> Any:
    """The turn of a chained plugin. Its keys are a block of ours."""
    conf = {"cniVersion": "1.0.0", "name": "net", "prevResult": previous, **args}
    if side.is_ours:
        return side.call(verb, {**conf, plugin: keys})
    return side.call(verb, {**conf, **keys, "type": plugin}, executable=side.folder / plugin)


def pod_of_the_reference(side: Party) -> Any:
    conf = {"cniVersion": "1.0.0", "name": "net", "ipam": SUBNET, **BRIDGE}
    return side.call("ADD", conf, executable=side.folder / "bridge").ok().json


def link(side: Party, name: str = "eth0", netns: str = POD) -> Any:
    return side.node.ip("-d", "link", "show", name, netns=netns)[0]


# interface plugins -----------------------------------------------------------


@pytest.mark.parametrize("plugin", [BRIDGE, MACVLAN], ids=["bridge", "macvlan"])
@pytest.mark.parametrize("ipam", [SUBNET, {}], ids=["addressed", "layer 2"])
def test_a_mac_by_cni_args(sides: tuple[Party, Party], plugin: dict[str, Any], ipam: dict[str, Any]) -> None:
    for side in sides:
        done = call(side, "ADD", plugin, ipam=ipam, how={"args": f"IgnoreUnknown=1;MAC={MAC}"}).ok().json
        assert link(side)["address"] == MAC
        assert MAC in [one["mac"] for one in done["interfaces"]]


@INTERFACES
@pytest.mark.parametrize("netns", [POD, pytest.param("", marks=pytest.mark.long)], ids=["a namespace", "none"])
def test_a_delete_of_what_was_never_added(sides: tuple[Party, Party], plugin: dict[str, Any], netns: str) -> None:
    for side in sides:
        before = side.node.links()
        call(side, "DEL", plugin, how={"netns": netns}).ok()
        assert side.node.links() == before
        assert side.node.links(netns=POD) == {"lo"}


@INTERFACES
@pytest.mark.parametrize(
    ("dns", "wanted"),
    [
        (None, {"nameservers": ["192.0.2.3"], "search": ["of.ipam"]}),
        ({"nameservers": ["192.0.2.4"]}, {"nameservers": ["192.0.2.4"]}),
        ({"search": ["of.conf"]}, {"search": ["of.conf"]}),
        ({"nameservers": []}, {}),
    ],
    ids=["of the ipam", "name servers", "search", "an empty list"],
)
def test_dns_of_a_configuration_replaces_the_ipams(
    sides: tuple[Party, Party], plugin: dict[str, Any], dns: Any, wanted: Any
) -> None:
    """The reference macvlan loses the IPAM's in any case."""
    for side in sides:
        side.node.write("/run/resolv.conf", "nameserver 192.0.2.3\nsearch of.ipam\n")
        ipam = {**SUBNET, "resolvConf": "/run/resolv.conf"}
        keys = {} if dns is None else {"dns": dns}
        found = call(side, "ADD", plugin, ipam=ipam, **keys).ok().json.get("dns", {})
        lost = dns is None and not side.is_ours and plugin is MACVLAN
        assert {key: value for key, value in found.items() if value} == ({} if lost else wanted)


# host-local ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kept"),
    [("c1", False), ("c1\n", False), (" c1\r\neth0 \n", False), ("c1\neth0", True), ("c1\r\n eth0", True)],
    ids=["old", "old, line", "space around", "another line's end", "space inside"],
)
def test_leases_as_others_have_written_them(sides: tuple[Party, Party], content: str, kept: bool) -> None:
    """Without an interface's name (before 0.8.4), or with white space: both release the same ones."""
    left = []
    for side in sides:
        call(side, "ADD", BRIDGE).ok()
        side.node.path("/var/lib/cni/networks/net/10.77.0.2").write_text(content)
        call(side, "DEL", BRIDGE).ok()
        left.append("10.77.0.2" in side.leases("net"))
    assert left == [kept, kept]


def test_several_addresses_of_one_range_and_of_two_families(sides: tuple[Party, Party]) -> None:
    """`args.cni.ips`: one of each range set, and more than there are range sets is refused."""
    ranges = [[{"subnet": "10.77.0.0/24"}, {"subnet": "10.78.0.0/24"}], [{"subnet": "fd00:77::/64"}]]
    ipam = {"type": "host-local", "ranges": ranges}
    codes = []
    for side in sides:
        wanted = ["10.78.0.9/24", "fd00:77::9/64"]
        done = call(side, "ADD", BRIDGE, ipam=ipam, args={"cni": {"ips": ["10.78.0.9", "fd00:77::9"]}}).ok().json
        assert [one["address"] for one in done["ips"]] == wanted
        call(side, "DEL", BRIDGE, ipam=ipam).ok()
        refused = call(side, "ADD", BRIDGE, ipam=ipam, args={"cni": {"ips": ["10.99.0.9", "10.78.0.9"]}})
        codes.append(bool(refused.code))
        assert not {"10.78.0.9", "10.99.0.9"} & set(side.leases("net"))
    assert codes == [True, True]


# chained plugins -------------------------------------------------------------

TUNING = {
    "queue": ({"txQLen": 2000}, {}, ("txqlen", 2000)),
    "queue by args": ({}, {"txQLen": 1500}, ("txqlen", 1500)),
    "args before configuration": ({"txQLen": 2000}, {"txQLen": 1500}, ("txqlen", 1500)),
    "all of it": ({"mtu": 1400, "promisc": True, "txQLen": 700, "mac": MAC}, {}, ("txqlen", 700)),
}


@pytest.mark.parametrize(("keys", "args", "wanted"), TUNING.values(), ids=TUNING.keys())
@pytest.mark.parametrize("folder", ["", pytest.param("/run/tuning", marks=pytest.mark.long)], ids=["", "dataDir"])
def test_tuning_is_applied_and_undone(
    sides: tuple[Party, Party], keys: dict[str, Any], args: dict[str, Any], wanted: tuple[str, Any], folder: str
) -> None:
    seen = []
    for side in sides:
        previous = pod_of_the_reference(side)
        before = link(side)
        conf = {**keys, **({"dataDir": folder} if folder else {})}
        more = {"args": {"cni": args}} if args else {}
        result = behind_bridge(side, "tuning", "ADD", previous, conf, **more).ok().json
        tuned = link(side)
        assert tuned.get(wanted[0]) == wanted[1]
        behind_bridge(side, "tuning", "CHECK", result, conf, **more).ok()
        behind_bridge(side, "tuning", "DEL", result, conf, **more).ok()
        after = link(side)
        for one in ("txqlen", "mtu", "address", "promiscuity"):
            assert after.get(one) == before.get(one), one
        seen.append({one: tuned.get(one) for one in ("txqlen", "mtu", "promiscuity")})
    assert seen[0] == seen[1]


@pytest.mark.parametrize("chained", ["tuning", "bandwidth", "firewall", "portmap"])
def test_a_previous_result_is_passed_on(sides: tuple[Party, Party], chained: str) -> None:
    """What the plugin does not know of it stays, too: an interface, a route, a resolver."""
    for side in sides:
        previous = pod_of_the_reference(side)
        given = {
            **previous,
            "interfaces": [*previous["interfaces"], {"name": "other0"}],
            "routes": [{"dst": "198.51.100.0/24", "gw": "10.77.0.1"}],
            "dns": {"nameservers": ["192.0.2.3"]},
        }
        assert behind_bridge(side, chained, "ADD", given, {}).ok().json == given


def bucket(side: Party, name: str) -> dict[str, int]:
    """Rate and burst of a link on the host, in bytes; {} without."""
    listed = json.loads(side.node.run("tc", "-j", "qdisc", "show", "dev", name).ok().out)
    return next(({key: one["options"][key] for key in ("rate", "burst")} for one in listed if one["kind"] == "tbf"), {})


def test_limits_with_several_links_of_the_host(sides: tuple[Party, Party]) -> None:
    """The result lists veth pairs of other containers before the pod's own: its peer is the one that is limited."""
    keys = {"ingressRate": 8_000_000, "ingressBurst": 800_000}
    found = []
    for side in sides:
        previous = pod_of_the_reference(side)
        own = next(one["name"] for one in previous["interfaces"] if one["name"].startswith("veth"))
        given = {**previous, "interfaces": [{"name": "up0"}, {"name": "far0"}, *previous["interfaces"]]}
        for place in given["ips"]:
            place["interface"] += 2
        behind_bridge(side, "bandwidth", "ADD", given, keys).ok()
        assert not bucket(side, "up0")
        assert not bucket(side, "far0")
        found.append(bucket(side, own))
    assert found[0] == found[1] != {}


def test_limits_of_the_configuration_and_of_the_runtime(sides: tuple[Party, Party]) -> None:
    """The configuration's are applied."""
    found = []
    for side in sides:
        previous = pod_of_the_reference(side)
        own = next(one["name"] for one in previous["interfaces"] if one["name"].startswith("veth"))
        keys = {"ingressRate": 8_000_000, "ingressBurst": 800_000}
        runtime = {"bandwidth": {"ingressRate": 1_000_000, "ingressBurst": 100_000}}
        behind_bridge(side, "bandwidth", "ADD", previous, keys, runtimeConfig=runtime).ok()
        found.append(bucket(side, own))
    assert found[0] == found[1] != {}


def test_limits_of_an_interface_without_an_end_on_the_host(sides: tuple[Party, Party]) -> None:
    """A macvlan cannot be limited on the host: refused, and nothing is left."""
    for side in sides:
        previous = call(side, "ADD", MACVLAN).ok().json
        before = side.node.links()
        keys = {"ingressRate": 8_000_000, "ingressBurst": 800_000}
        assert behind_bridge(side, "bandwidth", "ADD", previous, keys).code
        assert side.node.links() == before


def test_an_operators_chain_before_the_accept(sides: tuple[Party, Party], tmp_path: Path) -> None:
    """`iptablesAdminChainName`: what an operator drops there stays dropped."""
    ways = []
    for side in sides:
        side.node.run("iptables", "-P", "FORWARD", "DROP").ok()
        previous = pod_of_the_reference(side)
        far = side.node.add_netns("far")
        side.node.run("ip", "link", "set", "far0", "netns", "far").ok()
        for netns, name, address in (("", "up0", "192.0.2.1/24"), (far, "far0", "192.0.2.9/24")):
            side.node.run("ip", "address", "add", address, "dev", name, netns=netns).ok()
            side.node.run("ip", "link", "set", name, "up", netns=netns).ok()
        side.node.run("ip", "route", "add", "10.77.0.0/24", "via", "192.0.2.1", netns=far).ok()
        side.node.run("ip", "route", "add", "default", "via", "10.77.0.1", netns=POD).ok()
        keys = {"backend": "iptables", "iptablesAdminChainName": "OPERATOR"}
        side.node.run("iptables", "-N", "OPERATOR").ok()
        behind_bridge(side, "firewall", "ADD", previous, keys).ok()
        passed = side.node.ping("192.0.2.9", netns=POD)
        side.node.run("iptables", "-A", "OPERATOR", "-d", "192.0.2.9", "-j", "DROP").ok()
        ways.append((passed, side.node.ping("192.0.2.9", netns=POD, wait=1)))
    assert ways == [(True, False), (True, False)]
