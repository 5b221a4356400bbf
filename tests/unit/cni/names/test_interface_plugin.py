"""Called as ptp, macvlan, ipvlan, host-device and sbr, on a kernel in memory that has all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cni import plugin
from cni_cnm.kernel import Hardware
from tests.unit.cni.names.runtime import BRIDGE, Runtime
from tests.unit.drivers.world import World

SUBNET = {"type": "host-local", "subnet": "10.1.0.0/24"}
MAC = "02:00:00:00:00:77"


class Caller:
    """A runtime on the host of `World`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.container = world.containers["a"]
        self.cni_path = "/nowhere"

    def call(self, verb: str, name: str, config: dict[str, Any], args: str = "") -> dict[str, Any]:
        environ = {"CNI_COMMAND": verb, "CNI_CONTAINERID": "a", "CNI_NETNS": "/netns/a", "CNI_IFNAME": "eth0",
                   "CNI_PATH": self.cni_path, "CNI_CNM_OWNER": "test", "CNI_ARGS": args}  # fmt: skip
        conf = {"cniVersion": "1.0.0", "name": "net", "type": name, **config}
        reply = plugin.handle(environ, json.dumps(conf).encode, lambda: self.world.controller, name)
        found: dict[str, Any] = json.loads(reply.out) if reply.out else {}
        return found

    def ok(self, verb: str, name: str, config: dict[str, Any], args: str = "") -> dict[str, Any]:
        found = self.call(verb, name, config, args)
        assert "code" not in found, found
        return found


@pytest.fixture
def caller(tmp_path: Path) -> Caller:
    return Caller(World(tmp_path))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("ptp", {"ipMasq": True, "mtu": 1400}),
        ("macvlan", {"master": "eth1", "mode": "private", "bcqueuelen": 10}),
        ("ipvlan", {"master": "eth1", "mode": "l3"}),
        ("host-device", {"device": "eth1"}),
    ],
)
def test_a_container_s_life(caller: Caller, name: str, config: dict[str, Any]) -> None:
    """The driver of that name, in the profile of the reference: no default route, and nothing but its keys is read."""
    more = {"ipam": SUBNET, "driver": "bridge", "profile": "cnm", "portmap": 7, "mac": 7 if name != "macvlan" else MAC}
    conf = {**config, **more}
    made = caller.ok("ADD", name, conf)
    assert [one["address"] for one in made["ips"]] == ["10.1.0.2/24"]
    assert made.get("routes", []) == []
    record = caller.world.controller.network("net").endpoint("eth0").record
    assert record.driver == name
    caller.ok("CHECK", name, {**conf, "prevResult": made})
    caller.ok("DEL", name, conf)
    assert caller.container.link("eth0") is None
    assert not caller.world.leases("net")


def test_ptp_with_the_addresses_of_another_program(caller: Caller, tmp_path: Path) -> None:
    """The host learns them after it has made its end. It has a route to each all the same."""
    caller.cni_path = str(tmp_path)
    answer = {"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.2/24", "gateway": "10.9.0.1"}]}
    (tmp_path / "other").write_text(f"#!/bin/sh\n[ $CNI_COMMAND != ADD ] || echo '{json.dumps(answer)}'\n")
    (tmp_path / "other").chmod(0o755)
    conf = {"ipam": {"type": "other"}}
    made = caller.ok("ADD", "ptp", conf)
    host = caller.world.host
    end = host.link(made["interfaces"][0]["name"])
    assert end is not None
    assert [str(one) for one in host.addresses(end.ifindex)] == ["10.9.0.1/32"]
    assert "10.9.0.2/32" in [str(route.dst) for route in host.routes(link=end.ifindex)]
    assert caller.ok("CHECK", "ptp", {**conf, "prevResult": made}) == {}
    assert caller.ok("DEL", "ptp", conf) == {}


@pytest.mark.parametrize(
    ("name", "args", "config", "read"),
    [
        ("macvlan", f"MAC={MAC}", {}, True),
        ("macvlan", "", {"runtimeConfig": {"mac": MAC}}, True),
        ("macvlan", "", {"args": {"cni": {"mac": MAC}}}, False),
        ("ptp", f"IgnoreUnknown=1;MAC={MAC}", {}, False),
        ("ptp", "", {"runtimeConfig": {"mac": MAC}}, False),
        ("ipvlan", f"MAC={MAC};IP=10.1.0.7", {"runtimeConfig": {"mac": MAC}, "args": {"cni": {"mac": MAC}}}, False),
        ("host-device", f"MAC={MAC}", {"device": "eth1"}, False),
    ],
)
def test_a_mac_that_is_requested(caller: Caller, name: str, args: str, config: dict[str, Any], read: bool) -> None:
    """Of a plugin that does not read it, it is for a plugin behind."""
    caller.ok("ADD", name, {"ipam": SUBNET, **config}, args)
    link = caller.world.link("eth0", caller.container)
    assert (link.mac == MAC) is read
    if "IP=" in args:
        assert caller.world.leases("net") == {"10.1.0.7"}


def test_a_device_that_the_runtime_chooses(caller: Caller) -> None:
    caller.world.host.space.hardware["bus/pci/devices/0000:00:19.0"] = Hardware(("eth1",), "e1000")
    made = caller.ok("ADD", "host-device", {"runtimeConfig": {"deviceID": "0000:00:19.0"}})
    assert [one["name"] for one in made["interfaces"]] == ["eth0"]
    assert "ips" not in made
    caller.ok("DEL", "host-device", {})
    refused = caller.call("ADD", "host-device", {})
    assert refused["code"] == 999
    assert "specify either" in refused["msg"]


def test_ipvlan_behind_another_plugin(caller: Caller) -> None:
    """Its interface is the parent, and its addresses are used: there is no ipam."""
    previous = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eth1"}],
        "ips": [{"address": "192.0.2.9/24", "gateway": "192.0.2.1", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "192.0.2.1"}],
    }
    made = caller.ok("ADD", "ipvlan", {"prevResult": previous})
    link = caller.world.link("eth0", caller.container)
    assert (link.kind, link.peer) == ("ipvlan", caller.world.link("eth1").ifindex)
    assert [one["name"] for one in made["interfaces"]] == ["eth0"]
    assert [(one["address"], one["gateway"]) for one in made["ips"]] == [("192.0.2.9/24", "192.0.2.1")]
    assert made["routes"] == previous["routes"]
    caller.ok("DEL", "ipvlan", {})
    two = {**previous, "interfaces": [{"name": "eth1"}, {"name": "eth0"}]}
    refused = caller.call("ADD", "ipvlan", {"prevResult": two})
    assert (refused["code"], "chained master failure" in refused["msg"]) == (999, True)


def test_a_kernel_without_ipvlan(tmp_path: Path) -> None:
    """A clear refusal, and nothing is left."""
    caller = Caller(World(tmp_path, missing=("ipvlan",)))
    refused = caller.call("ADD", "ipvlan", {"ipam": SUBNET, "master": "eth1"})
    assert "this kernel has no ipvlan" in refused["msg"]
    assert not caller.world.leases("net")
    caller.ok("DEL", "ipvlan", {"ipam": SUBNET, "master": "eth1"})


PTP = {"ipam": {**SUBNET, "routes": [{"dst": "0.0.0.0/0"}]}}


def routes(caller: Caller, table: int | None = None) -> set[tuple[str, str]]:
    return {(str(route.dst), str(route.gw or "")) for route in caller.container.routes(table=table)}


def test_sbr_is_a_part_of_the_endpoint(caller: Caller) -> None:
    """ADD moves the routes, CHECK of both plugins passes, DEL of sbr alone moves them back, and another ADD works."""
    made = caller.ok("ADD", "ptp", PTP)
    before = routes(caller)
    assert caller.ok("ADD", "sbr", {"prevResult": made}) == made
    assert routes(caller) == set()
    assert routes(caller, 100) == before
    record = caller.world.controller.network("net").endpoint("eth0").record
    assert (record.parts, record.default_routes) == (("sbr",), ())
    for name, config in (("ptp", PTP), ("sbr", {})):
        caller.ok("CHECK", name, {**config, "prevResult": made})
    caller.ok("DEL", "sbr", {"prevResult": made})
    assert routes(caller) == before
    assert caller.container.rules() == []
    caller.ok("CHECK", "ptp", {**PTP, "prevResult": made})
    for _ in range(2):  # the same part again takes the place of the first
        caller.ok("ADD", "sbr", {"prevResult": made})
        assert {rule.table for rule in caller.container.rules()} == {100}
    caller.ok("DEL", "ptp", PTP)
    assert caller.container.rules() == []
    caller.ok("DEL", "sbr", {})


def test_sbr_makes_room_for_another_default_gateway(caller: Caller) -> None:
    """The container's other network has the default route of the main table, until sbr is withdrawn."""
    caller.ok("ADD", "sbr", {"prevResult": caller.ok("ADD", "ptp", PTP)})
    world = caller.world
    other = {"cniVersion": "1.0.0", "name": "other", "type": "bridge", "bridge": "br1", "isDefaultGateway": True,
             "ipam": {"type": "host-local", "subnet": "10.2.0.0/24"}}  # fmt: skip
    environ = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "a", "CNI_NETNS": "/netns/a", "CNI_IFNAME": "eth1",
               "CNI_PATH": "/nowhere", "CNI_CNM_OWNER": "test"}  # fmt: skip
    reply = plugin.handle(environ, json.dumps(other).encode, lambda: world.controller, "bridge")
    assert reply.code == 0, reply.out
    assert ("0.0.0.0/0", "10.2.0.1") in routes(caller)
    assert ("0.0.0.0/0", "10.1.0.1") in routes(caller, 100)
    caller.ok("DEL", "sbr", {})
    defaults = {route for route in routes(caller) if route[0] == "0.0.0.0/0"}
    assert len(defaults) == 1


@pytest.mark.parametrize(
    ("config", "sentence"),
    [({}, "must be called as chained plugin"), ({"table": -1, "prevResult": {"ips": []}}, "table is -1")],
)
def test_sbr_refuses(caller: Caller, config: dict[str, Any], sentence: str) -> None:
    refused = caller.call("ADD", "sbr", config)
    assert (refused["code"], sentence in refused["msg"]) == (999, True), refused


def test_a_subnet_of_a_network_that_its_runtime_removed(tmp_path: Path) -> None:
    """nerdctl deletes the bridge and the list, and gives the subnet to its next network, on another bridge."""
    runtime = Runtime(tmp_path, (BRIDGE,))
    runtime.add()
    runtime.network, runtime.plugins = "next", ({**BRIDGE, "bridge": "br1"},)
    refused = runtime.add("c2")
    assert "is also that of the network net" in refused["msg"]
    assert "network rm" in refused["msg"]
    assert "allowOverlap" not in refused["msg"]
    runtime.network = "net"
    runtime.delete()
    host = runtime.namespaces.host()
    host.delete_link(host.index_of("br0"))
    runtime.network = "next"
    assert "code" not in runtime.add("c2")
