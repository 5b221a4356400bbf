"""Networks of a Docker plugin, through CNI: the calls it gets, field by field, and what is made of its answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.program import ROOT
from tests.side import REFERENCE, Answer, Side, require_reference
from tests.system.recorder import Recorder
from tests.waiting import until

RANGES = [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00:9::/64"}]]
NOTHING_SAID: dict[str, Any] = {"com.docker.network.portmap": [], "com.docker.network.endpoint.exposedports": []}


@pytest.fixture
def rec(side: Side) -> Iterator[Recorder]:
    made = Recorder(side.node)
    yield made
    made.stop()


def conf(**keys: Any) -> dict[str, Any]:
    return {"cniVersion": "1.1.0", "name": "net", "driver": "rec", "ipam": {"ranges": RANGES[:1]}, **keys}


def remove(side: Side, name: str = "net", *flags: str) -> None:
    side.node.run(str(side.executable), "network", "rm", *flags, name).ok()


def nothing_left(side: Side, rec: Recorder, network: str = "net") -> None:
    """On the host, in the containers, in the store, at the plugin."""
    remove(side, network)
    assert side.node.links() == {"lo"}
    assert all(side.node.links(f"/run/netns/{container}") == {"lo"} for container in side.containers)
    assert {name for name in side.leases(network) if not name.startswith("last")} == set()
    assert side.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes", "/var/lib/cni-cnm") == set()
    rec.script(keep=True)
    rec.forget()


def refused(answer: Answer, code: int, *words: str) -> None:
    assert answer.code != 0
    assert answer.json["code"] == code, answer.json
    assert all(word in answer.json["msg"] for word in words), answer.json["msg"]


def test_the_whole_life_of_a_network(side: Side, rec: Recorder) -> None:
    """Every call with every field as Docker sends it, in its order; between Leave and DeleteEndpoint the link is put
    back. Containers reach each other and the gateway, in both families."""
    config = conf(options={"com.example.colour": "red", "n": 7, "b": True}, ipam={"ranges": RANGES})
    results = {container: side.add(config, container).ok().json for container in ("c1", "c2")}
    made = rec.requests()
    assert [one.call for one in made] == [
        "GetCapabilities", "CreateNetwork",
        "CreateEndpoint", "Join", "ProgramExternalConnectivity",
        "CreateEndpoint", "Join", "ProgramExternalConnectivity",
    ]  # fmt: skip
    assert made[0].body is None
    assert "Content-Type" not in made[1].headers
    assert made[1].headers["Accept"] == "application/vnd.docker.plugins.v1.2+json"
    network = made[1].body["NetworkID"]
    assert len(network) == 64
    assert made[1].body == {
        "NetworkID": network,
        "Options": {
            "com.docker.network.enable_ipv4": True,
            "com.docker.network.enable_ipv6": True,
            "com.docker.network.generic": {"com.example.colour": "red", "n": "7", "b": "true"},
        },
        "IPv4Data": [
            {"AddressSpace": "LocalDefault", "Pool": "10.9.0.0/24", "Gateway": "10.9.0.1/24", "AuxAddresses": {}}
        ],
        "IPv6Data": [
            {"AddressSpace": "LocalDefault", "Pool": "fd00:9::/64", "Gateway": "fd00:9::1/64", "AuxAddresses": {}}
        ],
    }
    endpoint = made[2].body["EndpointID"]
    ids = {"NetworkID": network, "EndpointID": endpoint}
    given = {"Address": "10.9.0.2/24", "AddressIPv6": "fd00:9::2/64", "MacAddress": ""}
    assert made[2].body == {**ids, "Interface": given, "Options": NOTHING_SAID}
    assert made[3].body == {**ids, "SandboxKey": "/run/netns/c1", "Options": NOTHING_SAID}
    assert made[4].body == {**ids, "Options": NOTHING_SAID}

    (interface,) = results["c1"]["interfaces"]
    (link,) = side.node.ip("link", "show", "eth0", netns="/run/netns/c1")
    assert (interface["name"], interface["mac"]) == ("eth0", link["address"])
    assert results["c1"]["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.9.0.1"}, {"dst": "::/0", "gw": "fd00:9::1"}]
    for address in ("10.9.0.1", "10.9.0.3", "fd00:9::1", "fd00:9::3"):
        assert side.node.ping(address, netns="/run/netns/c1"), address
    side.check(config, results["c1"]).ok()

    rec.forget()
    side.delete(config).ok()
    assert [(one.call, one.body) for one in rec.requests()] == [
        ("RevokeExternalConnectivity", ids), ("Leave", ids), ("DeleteEndpoint", ids),
    ]  # fmt: skip
    assert side.node.path(f"{rec.folder}/put_back").read_text() == f"rc{endpoint[:9]}"
    side.delete(config).ok()
    side.delete(config, "c2").ok()
    rec.forget()
    nothing_left(side, rec)


def test_a_name_is_all_it_takes(side: Side, rec: Recorder) -> None:
    """The rest is as for a bridge: a subnet from the default pools, kept with the network."""
    config = {"cniVersion": "1.1.0", "name": "net", "driver": "rec"}
    result = side.add(config).ok().json
    (data,) = rec.body("CreateNetwork")["IPv4Data"]
    assert result["ips"][0]["gateway"] == data["Gateway"].partition("/")[0]
    side.add(config, "c2").ok()
    assert side.node.ping(result["ips"][0]["gateway"], netns="/run/netns/c2")
    for container in ("c1", "c2"):
        side.delete(config, container).ok()
    nothing_left(side, rec)


def test_the_network_is_deleted_with_its_id_alone(side: Side, rec: Recorder) -> None:
    side.add(conf()).ok()
    network = rec.body("CreateNetwork")["NetworkID"]
    side.delete(conf()).ok()
    rec.forget()
    remove(side)
    assert [(one.call, one.body) for one in rec.requests()] == [("DeleteNetwork", {"NetworkID": network})]


def test_what_the_user_wishes_is_sent(side: Side, rec: Recorder) -> None:
    """A MAC as text and as the base64 of its bytes; ports one by one; nameservers; the MTU as a label."""
    config = conf(
        mtu=1400, capabilities={"mac": True, "portMappings": True, "dns": True},
        runtimeConfig={
            "mac": "02:42:0a:00:00:07", "dns": {"servers": ["192.0.2.53"]},
            "portMappings": [{"hostPort": 8080, "containerPort": 80, "hostIP": "192.0.2.1"},
                             {"hostPort": 5300, "containerPort": 53, "protocol": "udp"}],
        },
    )  # fmt: skip
    result = side.add(config).ok().json
    assert result["interfaces"][0]["mac"] == "02:42:0a:00:00:07"
    assert rec.body("CreateNetwork")["Options"]["com.docker.network.generic"] == {
        "com.docker.network.driver.mtu": "1400"
    }
    options = {
        "com.docker.network.portmap": [
            {"Proto": 6, "IP": "", "Port": 80, "HostIP": "192.0.2.1", "HostPort": 8080, "HostPortEnd": 8080},
            {"Proto": 17, "IP": "", "Port": 53, "HostIP": "", "HostPort": 5300, "HostPortEnd": 5300},
        ],
        "com.docker.network.endpoint.exposedports": [{"Proto": 6, "Port": 80}, {"Proto": 17, "Port": 53}],
        "com.docker.network.endpoint.macaddress": base64.b64encode(bytes.fromhex("02420a000007")).decode(),
        "com.docker.network.endpoint.dnsservers": ["192.0.2.53"],
    }
    assert rec.body("CreateEndpoint")["Interface"]["MacAddress"] == "02:42:0a:00:00:07"
    for call in ("CreateEndpoint", "Join", "ProgramExternalConnectivity"):
        assert rec.body(call)["Options"] == options
    assert "8080" not in side.node.run("nft", "list", "ruleset").out
    side.delete(conf()).ok()
    nothing_left(side, rec)


def test_an_internal_network_says_so(side: Side, rec: Recorder) -> None:
    """The label is sent if it is true only; without a gateway there is no default route; ports are refused."""
    result = side.add(conf(internal=True)).ok().json
    assert rec.body("CreateNetwork")["Options"]["com.docker.network.internal"] is True
    assert "routes" not in result or result["routes"] == []
    assert "ProgramExternalConnectivity" not in rec.calls()
    ports = {"portMappings": [{"hostPort": 1, "containerPort": 1}]}
    refused(side.add(conf(internal=True, runtimeConfig=ports), "c2"), 7, "is internal")
    side.delete(conf()).ok()
    assert "RevokeExternalConnectivity" not in rec.calls()
    nothing_left(side, rec)


def test_a_gateway_on_an_internal_network_is_honoured(side: Side, rec: Recorder) -> None:
    """As libnetwork does: the plugin decides what is internal."""
    rec.script(Join={"merge": {"Gateway": "10.9.0.1"}})
    side.add(conf(internal=True)).ok()
    (default,) = side.node.ip("route", "show", "default", netns="/run/netns/c1")
    assert default["gateway"] == "10.9.0.1"


def test_static_routes_of_both_types(side: Side, rec: Recorder) -> None:
    """A next hop may be reached by a connected route; a route of the configuration is there beside them."""
    rec.script(
        Join={
            "merge": {
                "Gateway": "169.254.1.1",
                "StaticRoutes": [
                    {"Destination": "198.51.100.0/24", "RouteType": 0, "NextHop": "169.254.1.1"},
                    {"Destination": "169.254.1.1/32", "RouteType": 1},
                ],
                "DisableGatewayService": True,
            }
        }
    )
    config = conf(ipam={"ranges": RANGES[:1], "routes": [{"dst": "203.0.113.0/24", "gw": "10.9.0.1"}]})
    result = side.add(config).ok().json
    found = {route["dst"]: route for route in side.node.ip("route", netns="/run/netns/c1")}
    assert found["default"]["gateway"] == "169.254.1.1"
    assert found["198.51.100.0/24"]["gateway"] == "169.254.1.1"
    assert (found["169.254.1.1"]["scope"], "gateway" in found["169.254.1.1"]) == ("link", False)
    assert found["203.0.113.0/24"]["gateway"] == "10.9.0.1"
    side.check(config, result).ok()
    side.node.run("ip", "route", "del", "198.51.100.0/24", netns="/run/netns/c1").ok()
    refused(side.check(config, result), 110, "198.51.100.0/24")
    side.delete(config).ok()
    nothing_left(side, rec)


def test_a_connected_default_route_is_a_way_out(side: Side, rec: Recorder) -> None:
    rec.script(Join={"merge": {"Gateway": "", "StaticRoutes": [{"Destination": "0.0.0.0/0", "RouteType": 1}]}})
    result = side.add(conf()).ok().json
    (default,) = side.node.ip("route", "show", "default", netns="/run/netns/c1")
    assert (default["dev"], "gateway" in default) == ("eth0", False)
    assert "ProgramExternalConnectivity" in rec.calls()
    side.check(conf(), result).ok()
    side.delete(conf()).ok()
    nothing_left(side, rec)


def test_without_a_gateway_there_is_no_way_out(side: Side, rec: Recorder) -> None:
    """There is no second network in between (docker_gwbridge): neither a route nor a call about it."""
    rec.script(Join={"merge": {"Gateway": ""}})
    side.add(conf()).ok()
    assert side.node.ip("route", "show", "default", netns="/run/netns/c1") == []
    assert side.node.links("/run/netns/c1") == {"lo", "eth0"}
    assert "ProgramExternalConnectivity" not in rec.calls()


def test_what_is_empty_may_be_filled_in(side: Side, rec: Recorder) -> None:
    """Without an IPAM the plugin gives addresses and a MAC; the network is announced as Docker's null IPAM does."""
    filled = {"Address": "10.77.0.5/16", "AddressIPv6": "fd00:77::5/64", "MacAddress": "02-42-0A-4D-00-05"}
    rec.script(
        CreateEndpoint={"merge": {"Interface": filled}},
        Join={"merge": {"Gateway": "10.77.0.1"}},
    )
    config = conf(ipam={"type": "none"})
    result = side.add(config).ok().json
    assert rec.body("CreateNetwork")["IPv4Data"] == [{"AddressSpace": "null", "Pool": "0.0.0.0/0", "AuxAddresses": {}}]
    assert rec.body("CreateNetwork")["IPv6Data"] == []
    assert rec.body("CreateEndpoint")["Interface"] == {"Address": "", "AddressIPv6": "", "MacAddress": ""}
    assert [ip["address"] for ip in result["ips"]] == ["10.77.0.5/16", "fd00:77::5/64"]
    assert result["ips"][0]["gateway"] == "10.77.0.1"
    assert side.node.addresses("eth0", netns="/run/netns/c1") == {"10.77.0.5/16", "fd00:77::5/64"}
    (link,) = side.node.ip("link", "show", "eth0", netns="/run/netns/c1")
    assert link["address"] == "02:42:0a:4d:00:05"
    side.check(config, result).ok()
    side.delete(config).ok()
    nothing_left(side, rec)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ({"Address": "10.9.0.2/24"}, "with the Address 10.9.0.2/24, and it was given 10.9.0.2/24"),
        ({"MacAddress": "02:42:00:00:00:01"}, "with the MacAddress"),
        ({"Address": "10.9.0.2"}, 'response: Interface.Address is "10.9.0.2"'),
        ({"MacAddress": "colour"}, "MacAddress"),
    ],
)
def test_what_was_given_may_not_be_changed(side: Side, rec: Recorder, answer: Any, word: str) -> None:
    """Refused, and taken back with DeleteEndpoint; so is what cannot be read."""
    rec.script(CreateEndpoint={"merge": {"Interface": answer}})
    refused(side.add(conf(runtimeConfig={"mac": "02:42:00:00:00:02"})), 103, word)
    assert rec.calls() == ["GetCapabilities", "CreateNetwork", "CreateEndpoint", "DeleteEndpoint", "DeleteNetwork"]
    assert side.node.links() == {"lo"}
    assert side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm") == set()


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ({"Gateway": "gateway"}, 'response: Gateway is "gateway"'),
        ({"Gateway": "fd00::1"}, "an IPv4 address"),
        ({"StaticRoutes": [{"Destination": "10.0.0.0/8", "RouteType": 0}]}, "NextHop"),
        ({"StaticRoutes": [{"Destination": "10.0.0.0/8", "RouteType": 7}]}, "RouteType"),
        ({"InterfaceName": {"SrcName": "a/b"}}, 'is "a/b", it must be an interface name'),
        ({"InterfaceName": {"SrcName": "nowhere"}}, "the link nowhere is to be moved"),
    ],
)
def test_an_answer_to_join_that_cannot_be_used(side: Side, rec: Recorder, answer: Any, word: str) -> None:
    """An error, with Leave and DeleteEndpoint behind it; nothing is left."""
    rec.script(Join={"merge": answer})
    refused(side.add(conf()), 103, word)
    assert rec.calls()[2:] == ["CreateEndpoint", "Join", "Leave", "DeleteEndpoint", "DeleteNetwork"]
    assert side.node.links() == {"lo"}
    assert side.node.links("/run/netns/c1") == {"lo"}
    assert side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm") == set()


def test_no_interface_is_no_interface(side: Side, rec: Recorder) -> None:
    """A plugin may have no link to give: the addresses are reported without one."""
    rec.script(Join={"merge": {"InterfaceName": None}})
    result = side.add(conf()).ok().json
    assert not result.get("interfaces")
    assert result["ips"] == [{"address": "10.9.0.2/24", "gateway": "10.9.0.1"}]
    assert side.node.links("/run/netns/c1") == {"lo"}
    side.check(conf(), result).ok()
    side.delete(conf()).ok()
    nothing_left(side, rec)


@pytest.mark.parametrize("call", ["CreateNetwork", "CreateEndpoint", "Join", "ProgramExternalConnectivity"])
def test_a_plugin_that_refuses(side: Side, rec: Recorder, call: str) -> None:
    """Its own words, code 103, and all that was done before is undone at the plugin, too."""
    rec.script(**{call: {"error": "the sky is falling"}})
    refused(side.add(conf()), 103, f"the plugin rec failed in NetworkDriver.{call}: the sky is falling")
    undone = {
        "CreateNetwork": [],
        "CreateEndpoint": ["DeleteNetwork"],
        "Join": ["DeleteEndpoint", "DeleteNetwork"],
        "ProgramExternalConnectivity": ["Leave", "DeleteEndpoint", "DeleteNetwork"],
    }
    calls = rec.calls()
    assert calls[calls.index(call) + 1 :] == undone[call]
    assert side.node.links() == {"lo"}
    assert side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm") == set()
    rec.script()
    side.delete(conf()).ok()
    side.add(conf()).ok()
    assert side.node.ping("10.9.0.1", netns="/run/netns/c1")


def test_ports_of_a_plugin_that_publishes_none(side: Side, rec: Recorder) -> None:
    """404 is no support: right for a network that only needs a default route, an error where a port is requested."""
    rec.script(ProgramExternalConnectivity={"status": 404}, RevokeExternalConnectivity={"status": 404})
    side.add(conf()).ok()
    ports = {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}
    refused(side.add(conf(runtimeConfig=ports), "c2"), 103, "publishes no ports, so 8080/tcp")
    answer = side.delete(conf()).ok()
    assert answer.err == ""
    nothing_left(side, rec)


def test_a_plugin_without_scope_is_refused(side: Side, rec: Recorder) -> None:
    rec.script(GetCapabilities={"raw": "{}"})
    refused(side.add(conf()), 103, "response: Scope is null")
    assert rec.calls() == ["GetCapabilities"]


def test_no_gateway_is_announced_where_the_plugin_wants_none(side: Side, rec: Recorder) -> None:
    """GwAllocCheck before anything is made, with the options of CreateNetwork."""
    rec.script(GetCapabilities={"raw": json.dumps({"Scope": "local", "GwAllocChecker": True})})
    side.add(conf(ipam={"ranges": RANGES})).ok()
    assert rec.calls()[:3] == ["GetCapabilities", "GwAllocCheck", "CreateNetwork"]
    created = rec.body("CreateNetwork")
    assert rec.body("GwAllocCheck") == {"Options": created["Options"]}
    assert "Gateway" not in created["IPv4Data"][0]
    assert created["IPv6Data"][0]["Gateway"] == "fd00:9::1/64"


@pytest.mark.parametrize("call", ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint"])
def test_a_plugin_that_complains_stops_no_del(side: Side, rec: Recorder, call: str) -> None:
    """As in libnetwork an error is noted only, and the container's link is out."""
    side.add(conf()).ok()
    rec.script(**{call: {"error": "I know of no such thing"}})
    assert "I know of no such thing" in side.delete(conf()).ok().err
    assert side.node.links("/run/netns/c1") == {"lo"}
    assert side.node.files("/run/cni-cnm/endpoints") == set()


def test_a_plugin_that_is_down(side: Side, rec: Recorder) -> None:
    """ADD, DEL and network rm say so with 11 and STATUS with 50; the address stays taken until DEL gets through."""
    side.add(conf()).ok()
    rec.stop()
    refused(side.add(conf(), "c2"), 11, "the plugin rec cannot be reached")
    refused(side.delete(conf()), 11, "the plugin rec cannot be reached")
    refused(side.call("STATUS", conf(), ""), 50, "the plugin rec cannot be reached")
    assert "10.9.0.2" in side.leases("net")
    assert side.node.files("/run/cni-cnm/endpoints")
    side.delete(conf(), "c2").ok()
    side.node.path("/run/docker/plugins/rec.sock").unlink()
    refused(side.delete(conf()), 11, "cannot be sent to the plugin rec")
    rec.script()
    rec.start()  # without memory
    assert "not found" in side.delete(conf()).ok().err
    assert side.node.links("/run/netns/c1") == {"lo"}
    assert "not found" in side.node.run(str(side.executable), "network", "rm", "net").ok().err


def test_a_plugin_that_is_gone_for_good(side: Side, rec: Recorder) -> None:
    """The administrator removes endpoint and network without it."""
    side.add(conf()).ok()
    rec.stop()
    side.node.path("/run/docker/plugins/rec.sock").unlink()
    command = str(side.executable)
    assert side.node.run(command, "endpoint", "rm", "").code != 0
    assert side.node.run(command, "endpoint", "rm", "c1").code != 0
    assert "cannot be sent to the plugin" in side.node.run(command, "endpoint", "rm", "--force", "c1").ok().err
    assert side.node.run(command, "network", "rm", "net").code != 0
    remove(side, "net", "--force")
    assert side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm") == set()


def test_a_plugin_that_came_back_without_memory(side: Side, rec: Recorder) -> None:
    """A clear error with a hint, undone; with the network removed and made anew all is well."""
    side.add(conf()).ok()
    side.delete(conf()).ok()
    bridge = rec.body("CreateNetwork")["NetworkID"][:9]
    rec.start()
    side.node.run("ip", "link", "del", f"rp{bridge}").ok()
    refused(side.add(conf()), 103, "not found", "one without memory has lost it")
    assert side.node.files("/run/cni-cnm/endpoints") == set()
    remove(side)
    side.add(conf()).ok()
    assert side.node.ping("10.9.0.1", netns="/run/netns/c1")


def test_a_plugin_with_a_memory_survives_its_restart(side: Side, rec: Recorder) -> None:
    rec.script(keep=True)
    side.add(conf()).ok()
    rec.start()
    side.add(conf(), "c2").ok()
    assert side.node.ping("10.9.0.2", netns="/run/netns/c2")
    for container in ("c1", "c2"):
        side.delete(conf(), container).ok()
    nothing_left(side, rec)


@pytest.mark.parametrize("call", ["CreateNetwork", "CreateEndpoint", "Join"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_plugin_that_dies_in_a_call(side: Side, rec: Recorder, call: str, when: str) -> None:
    """The runtime's DEL and next ADD put right whatever it had done, once it is there again with its memory."""
    rec.script(**{call: {"die": when}, "keep": True})
    assert side.add(conf()).json["code"] in (11, 103)
    assert side.node.links("/run/netns/c1") == {"lo"}
    rec.script(keep=True)
    rec.start()
    side.delete(conf()).ok()
    side.add(conf()).ok()
    assert side.node.ping("10.9.0.1", netns="/run/netns/c1")
    side.delete(conf()).ok()
    assert rec.memory()[1] == {}
    nothing_left(side, rec)


@pytest.mark.parametrize("raw", ["", "rubbish", "[]", '{"Interface": 7}'])
def test_rubbish_is_an_error_and_taken_back(side: Side, rec: Recorder, raw: str) -> None:
    rec.script(CreateEndpoint={"raw": raw})
    refused(side.add(conf()), 103, "NetworkDriver.CreateEndpoint")
    assert rec.calls()[-2:] == ["DeleteEndpoint", "DeleteNetwork"]
    assert side.node.links() == {"lo"}


def test_status_of_a_plugin_that_hangs(side: Side, rec: Recorder) -> None:
    """NotReady, in time."""
    side.call("STATUS", conf(), "").ok()
    rec.script(GetCapabilities={"hang": 30})
    refused(side.call("STATUS", conf(), ""), 50, "did not answer NetworkDriver.GetCapabilities within 0.")
    rec.stop()


def test_a_name_that_is_neither(side: Side) -> None:
    """Neither built in nor a plugin: where those are looked for is said. STATUS is not ready, DEL is done."""
    config = conf(driver="absent")
    refused(side.add(config), 7, "'absent' is neither a built-in driver nor a Docker plugin")
    assert "/run/docker/plugins" in json.dumps(side.add(config).json)
    refused(side.call("STATUS", config, ""), 50, "neither a built-in driver nor a Docker plugin")
    side.delete(config).ok()
    assert side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm") == set()


@pytest.mark.parametrize("kind", ["spec", "json"])
def test_a_plugin_found_by_a_file(side: Side, kind: str) -> None:
    """On TCP, named by a .spec or a .json in the places Docker looks in."""
    text = {"spec": "tcp://127.0.0.1:9999\n", "json": json.dumps({"Name": "rec", "Addr": "http://127.0.0.1:9999"})}
    side.node.write(f"/etc/docker/plugins/rec.{kind}", text[kind])
    rec = Recorder(side.node, address="127.0.0.1:9999")
    try:
        side.add(conf()).ok()
        assert side.node.ping("10.9.0.1", netns="/run/netns/c1")
        side.delete(conf()).ok()
        nothing_left(side, rec)
    finally:
        rec.stop()


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_the_shipped_example(side: Side, version: str) -> None:
    """Network and addresses of one plugin, in both versions."""
    rec = Recorder(side.node, "my-plugin")
    conflist = json.loads((ROOT / f"conf/cni-{version}/docker-plugin.conflist").read_text(encoding="utf-8"))
    (plugin,) = conflist["plugins"]
    config = {"cniVersion": conflist["cniVersion"], "name": conflist["name"], **plugin}
    try:
        result = side.add(config).ok().json
        assert result["ips"][0]["address"] == "10.80.4.2/16"
        assert side.node.ping("10.80.4.1", netns="/run/netns/c1")
        side.delete(config).ok()
        nothing_left(side, rec, conflist["name"])
    finally:
        rec.stop()


def test_two_networks_of_a_container(side: Side, rec: Recorder) -> None:
    """When the bridge's endpoint, the default gateway, leaves, the plugin is told; its ports are published before."""
    bridge = {"cniVersion": "1.0.0", "name": "pods", "ipam": {"subnet": "10.66.0.0/24"}}
    side.add(bridge).ok()
    ports = {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}
    side.add(conf(runtimeConfig=ports), ifname="net1").ok()
    (default,) = side.node.ip("route", "show", "default", netns="/run/netns/c1")
    assert default["dev"] == "eth0"
    assert len([call for call in rec.calls() if call == "ProgramExternalConnectivity"]) == 1
    side.delete(bridge).ok()
    (default,) = side.node.ip("route", "show", "default", netns="/run/netns/c1")
    assert default["dev"] == "net1"
    assert len([call for call in rec.calls() if call == "ProgramExternalConnectivity"]) == 2
    side.delete(conf(), ifname="net1").ok()
    remove(side, "pods")
    nothing_left(side, rec)


def test_the_way_out_of_the_other_family_is_another_network(side: Side, rec: Recorder) -> None:
    """The plugin is told as soon as it is so (`no_proxy_6to4`), and when it is so no more."""
    six = {"cniVersion": "1.0.0", "name": "six", "ipam": {"ranges": [[{"subnet": "fd00:66::/64"}]]}}
    side.add(conf()).ok()
    side.add(six, ifname="net1").ok()
    side.delete(six, ifname="net1").ok()
    label = "com.docker.network.driver.private.no_proxy_6to4"
    said = [one.body["Options"].get(label) for one in rec.requests() if one.call == "ProgramExternalConnectivity"]
    assert said == [None, True, None]


def test_addresses_of_a_cni_executable(side: Side, rec: Recorder) -> None:
    """What subnets it has is not known beforehand; what it gives the endpoint is."""
    require_reference()
    side.node.run("mkdir", "/run/ipam").ok()
    side.node.run("ln", "-s", str(REFERENCE / "host-local"), "/run/ipam/my-ipam").ok()
    side.path += ":/run/ipam"
    config = {**conf(ipam={"type": "my-ipam", "subnet": "10.9.0.0/24"}), "cniVersion": "1.0.0"}
    result = side.add(config).ok().json
    assert rec.body("CreateNetwork")["IPv4Data"] == [{"AddressSpace": "null", "Pool": "0.0.0.0/0", "AuxAddresses": {}}]
    assert rec.body("CreateEndpoint")["Interface"]["Address"] == result["ips"][0]["address"] == "10.9.0.2/24"
    side.check(config, result).ok()
    side.delete(config).ok()
    nothing_left(side, rec)


def test_static_addresses(side: Side, rec: Recorder) -> None:
    ipam = {"type": "static", "addresses": [{"address": "10.9.0.7/24", "gateway": "10.9.0.1"}]}
    side.add(conf(ipam=ipam)).ok()
    assert rec.body("CreateNetwork")["IPv4Data"][0]["Gateway"] == "10.9.0.1/24"
    assert rec.body("CreateEndpoint")["Interface"]["Address"] == "10.9.0.7/24"
    assert side.node.ping("10.9.0.1", netns="/run/netns/c1")


def test_tuning_of_its_interface(side: Side, rec: Recorder) -> None:
    config = conf(tuning={"mtu": 1300, "sysctl": {"net.ipv4.conf.IFNAME.arp_ignore": "1"}})
    result = side.add(config).ok().json
    (link,) = side.node.ip("link", "show", "eth0", netns="/run/netns/c1")
    assert (link["mtu"], result["interfaces"][0]["mtu"]) == (1300, 1300)
    side.check(config, result).ok()
    side.delete(config).ok()
    nothing_left(side, rec)


def test_the_container_is_gone_already(side: Side, rec: Recorder) -> None:
    """Nothing is moved, and the plugin is told all the same."""
    side.add(conf()).ok()
    side.node.run("ip", "netns", "del", "c1").ok()
    side.containers.remove("c1")
    rec.forget()
    side.delete(conf(), netns="").ok()
    assert rec.calls() == ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint"]
    nothing_left(side, rec)


def test_check_says_what_is_wrong(side: Side, rec: Recorder) -> None:
    result = side.add(conf()).ok().json
    rec.script(EndpointOperInfo={"error": "it has caught fire"})
    refused(side.check(conf(), result), 110, "it has caught fire")
    rec.script(EndpointOperInfo={"status": 404})
    side.check(conf(), result).ok()
    side.node.run("ip", "link", "set", "eth0", "down", netns="/run/netns/c1").ok()
    refused(side.check(conf(), result), 110, "eth0 is down")
    rec.stop()
    refused(side.check(conf(), result), 110, "the plugin rec cannot be reached")


def test_an_edited_network(side: Side, rec: Recorder) -> None:
    """With endpoints a plugin's network is not changed; without, it is removed and made anew as it is now."""
    side.add(conf(options={"colour": "red"})).ok()
    refused(side.add(conf(options={"colour": "blue"}), "c2"), 7, "was made with options")
    side.delete(conf()).ok()
    rec.forget()
    side.add(conf(options={"colour": "blue"})).ok()
    assert [call for call in rec.calls() if call != "GetCapabilities"][:2] == ["DeleteNetwork", "CreateNetwork"]
    assert rec.body("CreateNetwork")["Options"]["com.docker.network.generic"] == {"colour": "blue"}
    side.delete(conf()).ok()
    nothing_left(side, rec)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"firewall": {"ingressPolicy": "same-bridge"}}, "which needs a bridge"),
        ({"firewall": {"firewalldZone": "public"}}, "which needs a bridge"),
        ({"firewall": {"iptablesAdminChainName": "ADMIN"}}, "which needs a bridge"),
        ({"runtimeConfig": {"bandwidth": {"ingressRate": 8000, "ingressBurst": 8000}}}, "bandwidth cannot be limited"),
        ({"ipam": {"ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "10.10.0.0/24"}]]}}, "one a family"),
        ({"mtu": "big"}, 'mtu is "big"'),
    ],
)
def test_what_a_plugins_network_cannot_have(side: Side, rec: Recorder, keys: Any, words: str) -> None:
    refused(side.add(conf(**keys)), 7, words)
    assert side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm") == set()
    assert side.node.links() == {"lo"}


def test_unknown_keys_are_named(side: Side, rec: Recorder) -> None:
    said = side.add(conf(isGateway=True, colour="red", portmap={"snat": False})).ok().err
    assert "ignored, because unknown: isGateway, colour" in said
    assert "portmap is not used" in said


def test_many_at_once(side: Side, rec: Recorder) -> None:
    """The network is made once, and every container has an interface and an address of its own."""
    names = [side.container(f"m{number}") for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda path: side.add(conf(), Path(path).name).ok().json, names))
    assert len({answer["ips"][0]["address"] for answer in answers}) == 12
    assert rec.calls().count("CreateNetwork") == 1
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda path: side.delete(conf(), Path(path).name).ok(), names))
    nothing_left(side, rec)


@pytest.mark.long
def test_a_plugin_that_hangs(side: Side, rec: Recorder) -> None:
    """11 when the call's time is over; what it may have done stays on record, and DEL takes it back."""
    rec.script(Join={"hang": 45}, keep=True)
    refused(side.add(conf()), 11, "did not answer NetworkDriver.Join within 20 s")
    assert side.node.files("/run/cni-cnm/endpoints")
    rec.script(keep=True)
    rec.start()
    side.delete(conf()).ok()
    assert side.node.links("/run/netns/c1") == {"lo"}
    assert rec.memory()[1] == {}
    nothing_left(side, rec)


@pytest.mark.parametrize("call", ["CreateEndpoint", "Join"])
def test_a_call_that_has_its_effect_too_late(side: Side, rec: Recorder, call: str) -> None:
    """The plugin answers what would undo it before that. The endpoint stays on record, and DEL tells the plugin."""
    side.node.write("/etc/cni-cnm/config.toml", "plugin_wait = 1\n")
    try:
        rec.script(**{call: {"late": 2}}, keep=True)
        refused(side.add(conf()), 11, f"did not answer NetworkDriver.{call} within 1 s")
        assert side.node.files("/run/cni-cnm/endpoints")
        until(lambda: call in rec.calls(), f"{call} has its effect")
        rec.script(keep=True)
        side.delete(conf()).ok()
        assert rec.memory()[1] == {}
        nothing_left(side, rec)
    finally:
        side.node.path("/etc/cni-cnm/config.toml").unlink()
