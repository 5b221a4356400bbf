"""Lists of plugins by the names of the reference plugins, and by these: each plugin's answer, and the kernel.

Two nodes serve all of them. What the reference does wrong is at the end: each test says what, and that ours does not.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from tests.differential.conftest import our_side
from tests.side import REFERENCE, Side, normal, require_reference

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")
MAC = "c2:11:22:33:44:55"
V4, V6 = [{"subnet": "10.77.0.0/24"}], [{"subnet": "fd00:77::/64"}]
DUAL = {"type": "host-local", "ranges": [V4, V6]}
ONE = {"type": "host-local", "ranges": [V4], "routes": [{"dst": "0.0.0.0/0"}]}
STATIC = {"type": "static", "addresses": [{"address": "10.77.0.9/24", "gateway": "10.77.0.1"}]}
BRIDGE: dict[str, Any] = {"type": "bridge", "bridge": "br0", "isGateway": True, "ipam": ONE}
PTP: dict[str, Any] = {"type": "ptp", "ipam": ONE}
MACVLAN: dict[str, Any] = {"type": "macvlan", "master": "nic0", "ipam": ONE}
DEVICE: dict[str, Any] = {"type": "host-device", "device": "nic0"}
PORTMAP: dict[str, Any] = {"type": "portmap", "capabilities": {"portMappings": True}}
FIREWALL: dict[str, Any] = {"type": "firewall", "backend": "iptables"}
LIMITS = {"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 1_600_000}
BANDWIDTH: dict[str, Any] = {"type": "bandwidth", **LIMITS}
TUNING: dict[str, Any] = {"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}, "mtu": 1400, "mac": MAC}
SBR: dict[str, Any] = {"type": "sbr"}
PORTS = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}


class Case(NamedTuple):
    plugins: tuple[dict[str, Any], ...]
    args: str = ""
    runtime: Mapping[str, Any] = {}
    since: str = "0.1.0"
    """The first version that it works with."""


CASES: dict[str, Case] = {
    "bridge": Case((BRIDGE,)),
    "bridge, both families": Case(({**BRIDGE, "isDefaultGateway": True, "ipam": DUAL},)),
    "bridge, masquerade and hairpin": Case(({**BRIDGE, "ipMasq": True, "hairpinMode": True, "promiscMode": False},)),
    "bridge, promiscuous": Case(({**BRIDGE, "promiscMode": True},)),
    "bridge, layer 2": Case(({"type": "bridge", "bridge": "br0"},), since="0.3.0"),
    "bridge, a MAC": Case((BRIDGE,), f"IgnoreUnknown=1;MAC={MAC}"),
    "bridge, an address": Case((BRIDGE,), "IgnoreUnknown=1;IP=10.77.0.77"),
    "bridge, static": Case(({**BRIDGE, "ipam": STATIC},)),
    "bridge, spoof check": Case(({**BRIDGE, "macspoofchk": True},)),
    "ptp": Case((PTP,)),
    "ptp, both families": Case(({"type": "ptp", "ipMasq": True, "mtu": 1400, "ipam": DUAL},)),
    "ptp, a MAC for another": Case((PTP,), f"IgnoreUnknown=1;MAC={MAC}"),
    "macvlan": Case(({**MACVLAN, "mode": "private", "mtu": 1400},)),
    "macvlan, layer 2": Case(({"type": "macvlan", "master": "nic0"},), f"IgnoreUnknown=1;MAC={MAC}", since="0.3.0"),
    "host-device": Case(({**DEVICE, "ipam": ONE},)),
    "host-device, both families": Case(({**DEVICE, "ipam": DUAL},)),
    "host-device, by MAC": Case(({"type": "host-device", "hwaddr": "02:00:00:00:00:0a", "ipam": ONE},)),
    "host-device, layer 2": Case((DEVICE,), f"IgnoreUnknown=1;MAC={MAC}", since="0.3.0"),
    "all in a chain": Case(
        ({**BRIDGE, "hairpinMode": True, "ipam": DUAL}, PORTMAP, FIREWALL, BANDWIDTH, TUNING),
        runtime=PORTS,
        since="0.4.0",
    ),
    "bandwidth behind ptp": Case((PTP, BANDWIDTH), since="0.3.0"),
    "bandwidth of the runtime": Case(
        (BRIDGE, {"type": "bandwidth", "capabilities": {"bandwidth": True}}),
        runtime={"bandwidth": LIMITS},
        since="0.3.0",
    ),
    "tuning behind macvlan": Case((MACVLAN, {**TUNING, "promisc": True, "allmulti": True}), since="0.3.0"),
    "tuning behind host-device": Case(({**DEVICE, "ipam": ONE}, {"type": "tuning", "mtu": 1400}), since="0.3.0"),
    "plugins with nothing to do": Case((BRIDGE, PORTMAP, {"type": "bandwidth"}, {"type": "tuning"}), since="0.3.0"),
    "sbr": Case(({**BRIDGE, "isDefaultGateway": True, "ipam": DUAL}, SBR), since="0.3.0"),
    "sbr behind macvlan": Case((MACVLAN, SBR), since="0.3.0"),
    "sbr behind host-device": Case(({**DEVICE, "ipam": STATIC}, SBR), since="0.3.0"),
}
QUICK = {"bridge, both families", "ptp", "macvlan", "host-device", "all in a chain", "sbr"}


WRONG_CHECKS = {
    ("bridge, layer 2", "bridge"): "it wants an IPAM",
    ("sbr", "bridge"): "sbr has moved its routes",
    ("all in a chain", "portmap"): "it looks for IPv4's rules in IPv6's table",
    ("all in a chain", "tuning"): "it does not replace IFNAME",
    ("tuning behind macvlan", "tuning"): "the same",
    ("sbr behind macvlan", "macvlan"): "sbr has moved its routes",
    ("sbr behind host-device", "host-device"): "sbr has moved its routes",
    ("plugins with nothing to do", "bandwidth"): "it panics",
}
"""Scenarios and plugins of the reference (1.1.1) whose CHECK fails after ADD, and why."""


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    """Ours by name, the reference."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    require_reference()
    made = our_side(tmp_path_factory.mktemp("names"), "bridge"), Side(REFERENCE / "bridge", "bridge")
    yield made
    for side in made:
        side.close()


@pytest.fixture(autouse=True)
def device(sides: tuple[Side, Side]) -> Iterator[None]:
    """A link nic0 on both nodes, for plugins that take one, and a fresh container."""
    for side in sides:
        side.containers.clear()
        side.container("c1")
        side.node.run(
            *[
                "ip",
                "link",
                "add",
                "nic0",
                "address",
                "02:00:00:00:00:0a",
                "type",
                "veth",
                "peer",
                "name",
                "far0",
                "address",
                "02:00:00:00:00:0b",
            ]
        ).ok()
        for end in ("nic0", "far0"):
            side.node.run("ip", "link", "set", end, "up").ok()
    yield
    for side in sides:
        side.node.run("ip", "netns", "del", "c1")
        side.node.run("rm", "-rf", "/var/lib/cni/networks/net")
        for name in side.node.links() - {"lo"}:
            side.node.run("ip", "link", "del", name)


def call(side: Side, verb: str, plugin: Mapping[str, Any], version: str, case: Case, **more: Any) -> Any:
    config = {"cniVersion": version, "name": "net", **plugin, **more.pop("config", {})}
    given = {key: value for key, value in case.runtime.items() if plugin.get("capabilities", {}).get(key)}
    if given:
        config["runtimeConfig"] = given
    folder = side.names or REFERENCE
    return side.call(verb, config, executable=folder / str(plugin["type"]), args=case.args, **more)


def add(side: Side, case: Case, version: str) -> tuple[list[Any], Any]:
    """Each plugin's result, and that of the whole list."""
    results: list[Any] = []
    previous: Any = None
    for plugin in case.plugins:
        given = {"prevResult": previous} if previous else {}
        previous = call(side, "ADD", plugin, version, case, config=given).ok().json
        results.append(previous)
    return results, previous


def shown(result: Any) -> Any:
    """Without random names. A route that names no gateway has the address's (SPEC "Success"): ours says it."""
    found = normal(result)
    for link in found.get("interfaces", ()):
        link["name"] = re.sub("^bwp[0-9a-f]{12}$", "IFB", link["name"])
    given = {":" in one["address"]: one.get("gateway") for one in reversed(found.get("ips", []))}
    for route in found.get("routes", ()):
        route.setdefault("gw", given.get(":" in route["dst"]))
    for family in ("ip4", "ip6"):
        for route in found.get(family, {}).get("routes", ()):
            route.setdefault("gw", found[family].get("gateway"))
    return found


def seen(side: Side) -> dict[str, Any]:
    """The kernel's state. Without what docs/decisions/0026 and 0027 say is different on purpose."""
    found = side.state()
    text = json.dumps(found["host"]["routes"])
    found["host"]["routes"] = json.loads(re.sub("veth[0-9a-f]+", "VETH", text))
    links = found["host"]["links"]
    found["host"]["links"] = {re.sub("^bwp[0-9a-f]{12}$", "IFB", name): link for name, link in links.items()}
    for name in side.containers:
        for key in ("6/accept_dad", "arp_notify"):
            found[name]["sysctls"].pop(key, None)
    return found


def limits(side: Side) -> list[Any]:
    """Token buckets of the host's links."""
    listed = json.loads(side.node.run("tc", "-j", "qdisc", "show").ok().out)
    return sorted((one["options"]["rate"], one["options"]["burst"]) for one in listed if one["kind"] == "tbf")


def sourced(side: Side) -> dict[str, list[str]]:
    """By source address: the routes of the table that its rule leads to, of its family."""
    found = {}
    for family in ("-4", "-6"):
        for rule in side.node.ip(family, "rule", "show", netns="/run/netns/c1"):
            if rule["src"] == "all":
                continue
            routes = side.node.ip(family, "route", "show", "table", rule["table"], netns="/run/netns/c1")
            kept = (one for one in routes if not one["dst"].startswith("fe80"))
            found[rule["src"]] = sorted(f"{one['dst']} {one.get('gateway')} {one.get('scope')}" for one in kept)
    return found


def link_up(side: Side) -> Any:
    return [link["operstate"] for link in side.node.ip("link", "show", "nic0")]


def rows() -> list[Any]:
    """Each scenario with each version that it works with: the newest of the quick ones in the normal run."""
    found = []
    for name, case in CASES.items():
        for version in VERSIONS[VERSIONS.index(case.since) :]:
            quick = name in QUICK and version == VERSIONS[-1]
            found.append(pytest.param(name, version, id=f"{name}-{version}", marks=[] if quick else pytest.mark.long))
    return found


@pytest.mark.parametrize(("name", "version"), rows())
def test_list(sides: tuple[Side, Side], name: str, version: str) -> None:
    """ADD, CHECK and DEL: the same answers, links, addresses, routes, sysctls, limits, rules and leases."""
    case = CASES[name]
    answers, states = [], []
    for side in sides:
        results, whole = add(side, case, version)
        answers.append([shown(result) for result in results])
        found = [seen(side), side.leases("net"), limits(side), sourced(side)]
        for plugin in case.plugins if version >= "0.4.0" else ():
            wrong = side is sides[1] and (name, plugin["type"]) in WRONG_CHECKS
            done = call(side, "CHECK", plugin, version, case, config={"prevResult": whole})
            assert bool(done.code) is wrong, done
            assert wrong or done.json is None
        given = {"prevResult": whole} if version >= "0.4.0" else {}
        for plugin in reversed(case.plugins):
            assert call(side, "DEL", plugin, version, case, config=given).ok().json is None
        states.append([*found, "after", seen(side), side.leases("net"), limits(side), sourced(side)])
    assert answers[0] == answers[1]
    assert states[0] == states[1]


# refusals -----------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "a version": ("ADD", {**BRIDGE, "cniVersion": "9.9.9"}),
    "no name": ("ADD", {**BRIDGE, "name": ""}),
    "a name": ("ADD", {**BRIDGE, "name": "a/b"}),
    "CHECK before 0.4.0": ("CHECK", {**BRIDGE, "cniVersion": "0.3.1"}),
    "CHECK without a result": ("CHECK", BRIDGE),
    "no ipam of that name": ("ADD", {**BRIDGE, "ipam": {"type": "nowhere"}}),
    "hairpin and promiscuous": ("ADD", {**BRIDGE, "hairpinMode": True, "promiscMode": True}),
    "a VLAN": ("ADD", {**BRIDGE, "vlan": 5000}),
    "host-local without ranges": ("ADD", {**BRIDGE, "ipam": {"type": "host-local"}}),
    "ptp without ipam": ("ADD", {"type": "ptp"}),
    "macvlan, no such master": ("ADD", {**MACVLAN, "master": "nowhere"}),
    "macvlan, mode": ("ADD", {**MACVLAN, "mode": "x"}),
    "host-device, none": ("ADD", {"type": "host-device"}),
    "host-device, no such link": ("ADD", {**DEVICE, "device": "nowhere"}),
    "host-device, kernelpath": ("ADD", {"type": "host-device", "kernelpath": "/etc"}),
    "portmap without a result": ("ADD", {**PORTMAP, "runtimeConfig": PORTS}),
    "firewall without a result": ("ADD", FIREWALL),
    "bandwidth without a result": ("ADD", BANDWIDTH),
    "a rate without burst": ("ADD", {"type": "bandwidth", "ingressRate": 8000, "prevResult": {"ips": []}}),
    "tuning without a result": ("ADD", TUNING),
    "sbr without a result": ("ADD", SBR),
    "sbr without addresses": ("ADD", {**SBR, "prevResult": {"interfaces": [{"name": "eth0", "sandbox": "x"}]}}),
    "ipvlan": ("ADD", {"type": "ipvlan", "master": "nic0", "ipam": ONE}),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long) for name in REFUSED])
def test_refused(sides: tuple[Side, Side], name: str) -> None:
    """Both refuse with the same code. Of ours nothing is left."""
    verb, plugin = REFUSED[name]
    codes = []
    for side in sides:
        answer = call(side, verb, {**plugin, "name": plugin.get("name", "net")}, "1.0.0", Case(()))
        codes.append((answer.code, answer.json["code"]))
    assert codes[0] == codes[1], answer.json
    assert sides[0].node.links() == {"lo", "nic0", "far0"}
    assert sides[0].node.links(netns="/run/netns/c1") == {"lo"}
    assert not [lease for lease in sides[0].leases("net") if lease[0].isdigit()]


# where the reference is wrong ---------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("netns", ["", "/run/netns/gone"])
def test_a_device_s_address_is_released_without_a_namespace(sides: tuple[Side, Side], netns: str) -> None:
    """The reference's DEL returns at once, or fails: the address is never released."""
    kept = []
    for side in sides:
        add(side, Case(({**DEVICE, "ipam": ONE},)), "1.0.0")
        side.node.run("ip", "netns", "del", "c1").ok()
        done = call(side, "DEL", {**DEVICE, "ipam": ONE}, "1.0.0", Case(()), netns=netns)
        kept.append((done.code, "10.77.0.2" in side.leases("net")))
        side.node.run("rm", "-rf", "/var/lib/cni/networks/net").ok()
    assert kept == [(0, False), (int(bool(netns)), True)]


@pytest.mark.long
def test_a_file_at_the_path_of_a_namespace_that_is_gone(sides: tuple[Side, Side]) -> None:
    """The reference sbr makes it, to lock it. Then the DEL of the bridge fails on it."""
    case, found = Case((BRIDGE, SBR)), []
    for side in sides:
        add(side, case, "1.0.0")
        side.node.run("ip", "netns", "del", "c1").ok()
        code = call(side, "DEL", SBR, "1.0.0", case).code
        path = side.node.path("/run/netns/c1")
        found.append((code, path.exists(), call(side, "DEL", BRIDGE, "1.0.0", case).code))
        path.unlink(missing_ok=True)
        side.node.run("rm", "-rf", "/var/lib/cni/networks/net").ok()
    assert found == [(0, False, 0), (1, True, 1)]


@pytest.mark.long
def test_a_check_behind_sbr(sides: tuple[Side, Side]) -> None:
    """The reference bridge looks for its routes in the main table, from which sbr has moved them."""
    case = Case(({**BRIDGE, "isDefaultGateway": True, "ipam": DUAL}, SBR))
    codes = []
    for side in sides:
        _, whole = add(side, case, "1.0.0")
        codes.append(call(side, "CHECK", case.plugins[0], "1.0.0", case, config={"prevResult": whole}).code)
    assert codes == [0, 1]


@pytest.mark.long
@pytest.mark.parametrize(
    "plugin",
    [{"type": "bandwidth"}, {"type": "tuning", "args": {"cni": {"sysctl": {"net.core.somaxconn": "500"}}}}],
    ids=["bandwidth without limits", "tuning by arguments alone"],
)
def test_no_panic(sides: tuple[Side, Side], plugin: dict[str, Any]) -> None:
    """The reference ends with exit code 2, and without an answer."""
    side = sides[0]
    _, previous = add(side, Case((BRIDGE,)), "1.0.0")
    given = {} if plugin["type"] == "bandwidth" else {"prevResult": previous}
    answer = call(side, "ADD", plugin, "1.0.0", Case(()), config=given)
    assert (answer.code, bool(answer.json)) in ((0, True), (1, True))
