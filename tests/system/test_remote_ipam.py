"""Addresses of a Docker IPAM plugin: for its own networks, for bridges, from CNI, the command line and the library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.side import Answer, Side
from tests.system.recorder import Recorder

GATEWAY = {"RequestAddressType": "com.docker.network.gateway"}
REQUEST, RELEASE = "IpamDriver.RequestAddress", "IpamDriver.ReleaseAddress"


@pytest.fixture
def rec(side: Side) -> Iterator[Recorder]:
    made = Recorder(side.node)
    made.script(keep=True)
    yield made
    made.stop()


def conf(driver: str = "rec", **ipam: Any) -> dict[str, Any]:
    return {"cniVersion": "1.1.0", "name": "net", "driver": driver, "ipam": {"type": "rec", **ipam}}


TWO: dict[str, Any] = {
    "ranges": [
        [{"subnet": "10.44.0.0/24", "ipRange": "10.44.0.64/26", "auxAddresses": {"Printer": "10.44.0.7"}}],
        [{"subnet": "fd00:44::/64", "gateway": "fd00:44::99"}],
    ],
    "options": {"Colour": "red"},
}


def run(side: Side, *words: str) -> str:
    return side.node.run(str(side.executable), *words).ok().out


def nothing_left(side: Side, rec: Recorder) -> None:
    run(side, "network", "rm", "net")
    assert side.node.links() == {"lo"}
    assert side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm") == set()
    assert rec.memory() == [{}, {}, {}]


def refused(answer: Answer, code: int, *words: str) -> None:
    assert answer.code != 0
    assert answer.json["code"] == code, answer.json
    assert all(word in answer.json["msg"] for word in words), answer.json["msg"]


def ipam_calls(rec: Recorder) -> list[tuple[str, Any]]:
    named = [(one.call.removeprefix("IpamDriver."), one.body) for one in rec.requests() if "Ipam" in one.call]
    return [one for one in named if one[0] not in ("GetCapabilities", "GetDefaultAddressSpaces")]


def test_the_whole_life_of_a_network(side: Side, rec: Recorder) -> None:
    """Pools, gateways and auxiliary addresses once; an address of each pool for an endpoint; all of it released."""
    config = conf(**TWO)
    result = side.add(config).ok().json
    four, six = "rec-local/10.44.0.0/24", "rec-local/fd00:44::/64"
    mine = {"com.docker.network.endpoint.name": "c1"}
    assert ipam_calls(rec) == [
        ("RequestPool", {"AddressSpace": "rec-local", "Pool": "10.44.0.0/24", "SubPool": "10.44.0.64/26",
                         "Options": {"Colour": "red"}, "V6": False}),
        ("RequestAddress", {"PoolID": four, "Address": "", "Options": GATEWAY}),
        ("RequestAddress", {"PoolID": four, "Address": "10.44.0.7", "Options": {}}),
        ("RequestPool", {"AddressSpace": "rec-local", "Pool": "fd00:44::/64", "SubPool": "",
                         "Options": {"Colour": "red"}, "V6": True}),
        ("RequestAddress", {"PoolID": six, "Address": "fd00:44::99", "Options": GATEWAY}),
        ("RequestAddress", {"PoolID": four, "Address": "", "Options": mine}),
        ("RequestAddress", {"PoolID": six, "Address": "", "Options": mine}),
    ]  # fmt: skip
    created = rec.body("CreateNetwork")
    assert created["IPv4Data"] == [
        {"AddressSpace": "rec-local", "Pool": "10.44.0.0/24", "Gateway": "10.44.0.65/24",
         "AuxAddresses": {"Printer": "10.44.0.7/24"}}
    ]  # fmt: skip
    assert created["IPv6Data"] == [
        {"AddressSpace": "rec-local", "Pool": "fd00:44::/64", "Gateway": "fd00:44::99/64", "AuxAddresses": {}}
    ]
    assert result["ips"] == [
        {"address": "10.44.0.66/24", "gateway": "10.44.0.65", "interface": 0},
        {"address": "fd00:44::1/64", "gateway": "fd00:44::99", "interface": 0},
    ]
    side.add(config, "c2").ok()
    for address in ("10.44.0.65", "10.44.0.67", "fd00:44::99"):
        assert side.node.ping(address, netns="/run/netns/c1"), address
    side.check(config, result).ok()
    assert run(side, "network", "ls").split()[-2:] == ["10.44.0.0/24,", "fd00:44::/64"]
    rec.forget()
    side.delete(config).ok()
    assert ipam_calls(rec) == [
        ("ReleaseAddress", {"PoolID": four, "Address": "10.44.0.66"}),
        ("ReleaseAddress", {"PoolID": six, "Address": "fd00:44::1"}),
    ]
    assert rec.calls()[-3] == "DeleteEndpoint", "the address is released when the endpoint is gone"
    side.delete(config, "c2").ok()
    rec.forget()
    nothing_left(side, rec)
    assert ipam_calls(rec) == [
        ("ReleaseAddress", {"PoolID": six, "Address": "fd00:44::99"}),
        ("ReleasePool", {"PoolID": six}),
        ("ReleaseAddress", {"PoolID": four, "Address": "10.44.0.65"}),
        ("ReleaseAddress", {"PoolID": four, "Address": "10.44.0.7"}),
        ("ReleasePool", {"PoolID": four}),
    ]


def test_a_bridge_with_the_plugins_addresses(side: Side, rec: Recorder) -> None:
    """The built-in driver takes them as it takes others: gateway on the bridge, default route, masquerade."""
    config = conf("bridge", subnet="10.45.0.0/24")
    result = side.add(config).ok().json
    side.add(config, "c2").ok()
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.45.0.1"}]
    assert "10.45.0.2" in side.node.run("nft", "list", "ruleset").out
    assert side.node.ping("10.45.0.3", netns="/run/netns/c1")
    assert side.node.ping("10.45.0.1", netns="/run/netns/c1")
    side.check(config, result).ok()
    for container in ("c1", "c2"):
        side.delete(config, container).ok()
    assert "10.45.0.2" not in side.node.run("nft", "list", "ruleset").out
    nothing_left(side, rec)


def test_a_pool_of_the_plugins_choice_avoids_the_host(side: Side, rec: Recorder) -> None:
    """What overlaps a route of the host or another network is held until a free one comes, and then released."""
    side.node.run("ip", "link", "add", "br7", "type", "bridge").ok()
    side.node.run("ip", "link", "set", "br7", "up").ok()
    side.node.run("ip", "addr", "add", "10.0.0.1/24", "dev", "br7").ok()
    run(side, "network", "create", "--subnet", "10.1.0.0/24", "other")
    result = side.add(conf()).ok().json
    assert result["ips"][0]["address"] == "10.2.0.2/24"
    calls = [call for call, _ in ipam_calls(rec)]
    assert calls[:5] == ["RequestPool"] * 3 + ["ReleasePool"] * 2
    assert list(rec.memory()[2]) == ["rec-local/10.2.0.0/24"]
    side.add(conf(), "c2").ok()
    assert [call for call, _ in ipam_calls(rec)].count("RequestPool") == 3, "a network keeps what was chosen for it"
    for container in ("c1", "c2"):
        side.delete(conf(), container).ok()
    run(side, "network", "rm", "other", "net")
    assert rec.memory() == [{}, {}, {}]


def test_a_plugin_that_chooses_the_same_pool_again(side: Side, rec: Recorder) -> None:
    """Docker would ask it for ever."""
    side.node.run("ip", "link", "add", "br7", "type", "bridge").ok()
    side.node.run("ip", "link", "set", "br7", "up").ok()
    side.node.run("ip", "addr", "add", "10.0.0.1/24", "dev", "br7").ok()
    rec.script(Ipam_RequestPool={"raw": json.dumps({"PoolID": "p", "Pool": "10.0.0.0/24"})})
    refused(side.add(conf()), 101, "the plugin rec chose 10.0.0.0/24, which this host uses", "set ipam.subnet")
    assert [call for call, _ in ipam_calls(rec)] == ["RequestPool", "RequestPool", "ReleasePool"]
    assert side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm") == set()


def test_ipv6_of_the_plugins_choice(side: Side, rec: Recorder) -> None:
    result = side.add({**conf(), "enableIPv6": True}).ok().json
    assert [ip["address"] for ip in result["ips"]] == ["10.0.0.2/24", "fd00::2/64"]
    side.delete(conf()).ok()
    nothing_left(side, rec)


def test_the_gateway_in_the_pools_data(side: Side, rec: Recorder) -> None:
    """It is not requested, and released all the same, as Docker does."""
    data = {"com.docker.network.gateway": "10.46.0.254/24"}
    rec.script(Ipam_RequestPool={"merge": {"Data": data}}, keep=True)
    side.add(conf("bridge", subnet="10.46.0.0/24")).ok()
    assert [call for call, _ in ipam_calls(rec)] == ["RequestPool", "RequestAddress"]
    assert "10.46.0.254/24" in {a for link in side.node.links() for a in side.node.addresses(link)}
    side.delete(conf()).ok()
    rec.forget()
    run(side, "network", "rm", "net")
    assert [body["Address"] for call, body in ipam_calls(rec) if call == "ReleaseAddress"] == ["10.46.0.254"]


def test_a_plugin_that_manages_no_addresses(side: Side, rec: Recorder) -> None:
    """0.0.0.0/0: none is requested, and the network plugin may fill them in."""
    rec.script(
        Ipam_RequestPool={"raw": json.dumps({"PoolID": "none", "Pool": "0.0.0.0/0"})},
        Ipam_GetCapabilities={"status": 404},
        CreateEndpoint={"merge": {"Interface": {"Address": "10.47.0.5/24"}}},
    )
    result = side.add(conf()).ok().json
    assert [call for call, _ in ipam_calls(rec)] == ["RequestPool"]
    assert result["ips"] == [{"address": "10.47.0.5/24", "interface": 0}]
    assert rec.body("CreateNetwork")["IPv4Data"][0]["Pool"] == "0.0.0.0/0"
    side.check(conf(), result).ok()
    side.delete(conf()).ok()


def test_a_mac_where_the_plugin_needs_one(side: Side, rec: Recorder) -> None:
    """Derived, the same for an endpoint that comes back, and not sent to the driver as a request of the user."""
    rec.script(Ipam_GetCapabilities={"raw": json.dumps({"RequiresMACAddress": True})}, keep=True)
    macs = []
    for _ in range(2):
        result = side.add(conf(subnet="10.48.0.0/24")).ok().json
        macs.append(result["interfaces"][0]["mac"])
        side.delete(conf()).ok()
    assert macs[0] == macs[1]
    options = [body["Options"] for call, body in ipam_calls(rec) if call == "RequestAddress"]
    mine = {"com.docker.network.endpoint.name": "c1", "com.docker.network.endpoint.macaddress": macs[0]}
    assert [option for option in options if option != GATEWAY] == [mine, mine]
    created = [one.body for one in rec.requests() if one.call == "CreateEndpoint"]
    assert created[0]["Interface"]["MacAddress"] == macs[0]
    assert "com.docker.network.endpoint.macaddress" not in created[0]["Options"]


def test_a_requested_address(side: Side, rec: Recorder) -> None:
    config = {**conf(subnet="10.49.0.0/24"), "args": {"cni": {"ips": ["10.49.0.77"]}}}
    assert side.add(config).ok().json["ips"][0]["address"] == "10.49.0.77/24"
    refused(side.add(config, "c2"), 103, "10.49.0.77 is taken")
    outside = {**config, "args": {"cni": {"ips": ["10.50.0.1"]}}}
    refused(side.add(outside, "c2"), 7, "10.50.0.1 is not in 10.49.0.0/24")


def test_both_keys_of_an_error_are_read(side: Side, rec: Recorder) -> None:
    """`Error` with status 200, `Err` with another."""
    rec.script(Ipam_RequestAddress={"raw": json.dumps({"Error": "no address today"})}, keep=True)
    refused(side.add(conf(subnet="10.51.0.0/24")), 103, "no address today")
    rec.script(Ipam_RequestPool={"error": "no pool today"}, keep=True)
    refused(side.add(conf(subnet="10.51.0.0/24")), 103, "no pool today")
    assert rec.memory() == [{}, {}, {}]
    assert side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm") == set()


@pytest.mark.parametrize("call", ["Ipam_RequestAddress", "CreateNetwork", "CreateEndpoint"])
def test_what_fails_is_given_back(side: Side, rec: Recorder, call: str) -> None:
    rec.script(**{call: {"error": "no"}, "keep": True})
    refused(side.add(conf(**TWO)), 103)
    assert rec.memory() == [{}, {}, {}]
    assert side.node.links() == {"lo"}
    assert side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm") == set()


def test_a_plugin_without_memory_is_told_again(side: Side, rec: Recorder) -> None:
    """RequiresRequestReplay: pool, gateway, auxiliary and endpoints' addresses, as soon as it knows them no more."""
    config = conf("bridge", **TWO)
    rec.script(Ipam_GetCapabilities={"raw": json.dumps({"RequiresRequestReplay": True})})
    side.add(config).ok()
    rec.start()
    rec.forget()
    assert side.add(config, "c2").ok().json["ips"][0]["address"] == "10.44.0.67/24"
    four, six = "rec-local/10.44.0.0/24", "rec-local/fd00:44::/64"
    mine = {"com.docker.network.endpoint.name": "c2"}
    assert [(call, body.get("PoolID") or body["Pool"], body.get("Address"), body["Options"])
            for call, body in ipam_calls(rec)] == [
        ("RequestAddress", four, "", mine),
        ("RequestPool", "10.44.0.0/24", None, {"Colour": "red"}),
        ("RequestAddress", four, "10.44.0.65", GATEWAY),
        ("RequestAddress", four, "10.44.0.7", {}),
        ("RequestPool", "fd00:44::/64", None, {"Colour": "red"}),
        ("RequestAddress", six, "fd00:44::99", GATEWAY),
        ("RequestAddress", four, "10.44.0.66", {}),
        ("RequestAddress", six, "fd00:44::1", {}),
        ("RequestAddress", four, "", mine),
        ("RequestAddress", six, "", mine),
    ]  # fmt: skip
    for container in ("c1", "c2"):
        side.delete(config, container).ok()
    run(side, "network", "rm", "net")


def test_a_plugin_that_should_have_a_memory_is_not_told_again(side: Side, rec: Recorder) -> None:
    """Its refusal is what the user gets to know."""
    rec.script()
    side.add(conf("bridge", subnet="10.52.0.0/24")).ok()
    rec.start()
    rec.forget()
    side.node.path(f"{rec.folder}/memory.json").unlink(missing_ok=True)
    refused(side.add(conf("bridge", subnet="10.52.0.0/24"), "c2"), 103, "pool rec-local/10.52.0.0/24 not found")
    assert [call for call, _ in ipam_calls(rec)] == ["RequestAddress"]
    assert "not found" in side.delete(conf("bridge")).ok().err


def test_a_plugin_that_is_down(side: Side, rec: Recorder) -> None:
    """The address is recorded until it is released; STATUS says that no ADD can work."""
    config = conf("bridge", subnet="10.53.0.0/24")
    result = side.add(config).ok().json
    rec.stop()
    refused(side.add(config, "c2"), 11, "cannot be reached")
    refused(side.call("STATUS", config, ""), 50, "cannot be reached")
    refused(side.delete(config), 11, "cannot be reached")
    assert side.node.links("/run/netns/c1") == {"lo"}, "the container is disconnected all the same"
    rec.start()
    side.delete(config).ok()
    refused(side.check(config, result), 110, "nothing is recorded")
    nothing_left(side, rec)


def test_a_plugin_that_is_gone_for_good(side: Side, rec: Recorder) -> None:
    """Endpoint and network are removed without it; what only an endpoint had is released with the network."""
    config = conf("bridge", subnet="10.53.0.0/24")
    side.add(config).ok()
    rec.stop()
    assert "cannot be reached" in side.node.run(str(side.executable), "endpoint", "rm", "--force", "c1").ok().err
    assert side.node.run(str(side.executable), "network", "rm", "net").code != 0
    rec.start()
    nothing_left(side, rec)
    side.add(config, "c2").ok()
    rec.stop()
    run(side, "endpoint", "rm", "--force", "c2")
    run(side, "network", "rm", "--force", "net")
    assert side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm") == set()


def test_addresses_of_an_earlier_boot_are_given_back(side: Side, rec: Recorder) -> None:
    """A reboot voids the records of endpoints, and not what the plugin has on its disk: the next ADD releases it."""
    config = conf("bridge", subnet="10.54.0.0/24")
    side.add(config).ok()
    (lease,) = side.node.path("/var/lib/cni-cnm/leased").iterdir()
    lease.write_text(json.dumps({**json.loads(lease.read_text()), "epoch": "earlier"}))
    side.node.run("rm", "-r", "/run/cni-cnm").ok()
    side.node.run("ip", "netns", "del", "c1").ok()
    side.containers.remove("c1")
    assert side.add(config, "c2").ok().json["ips"][0]["address"] == "10.54.0.2/24"
    side.delete(config, "c2").ok()
    nothing_left(side, rec)


def test_a_del_without_record_gives_back_what_is_on_disk(side: Side, rec: Recorder) -> None:
    config = conf("bridge", subnet="10.55.0.0/24")
    side.add(config).ok()
    side.node.run("rm", "-r", "/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes").ok()
    rec.forget()
    side.delete(config).ok()
    assert [body["Address"] for _, body in ipam_calls(rec)] == ["10.55.0.2"]
    assert side.node.files("/var/lib/cni-cnm/leased") == set()


def test_made_by_the_command_line(side: Side, rec: Recorder) -> None:
    """The network made beforehand with a plugin's name for both is the one that a configuration means."""
    run(side, "network", "create", "--driver", "rec", "--ipam", "rec", "--subnet", "10.56.0.0/24",
        "--ipam-opt", "Colour=red", "-o", "com.example.Size=5", "net")  # fmt: skip
    assert rec.body("CreateNetwork")["Options"]["com.docker.network.generic"] == {"com.example.Size": "5"}
    assert dict(ipam_calls(rec))["RequestPool"]["Options"] == {"Colour": "red"}
    config = {**conf(subnet="10.56.0.0/24"), "options": {"com.example.Size": "5"}}
    result = side.add({**config, "ipam": {"type": "rec", "ranges": [[{"subnet": "10.56.0.0/24"}]],
                                          "options": {"Colour": "red"}}}).ok().json  # fmt: skip
    assert result["ips"][0]["address"] == "10.56.0.2/24"
    shown = json.loads(run(side, "endpoint", "inspect", "c1"))
    assert shown[0]["info"]["bridge"].startswith("rp")
    side.delete(config).ok()
    nothing_left(side, rec)
    bad = side.node.run(str(side.executable), "network", "create", "--ipam-opt", "a=b", "x")
    assert "--ipam-opt is for an IPAM plugin" in bad.err


def test_an_executable_on_cni_path_is_before_a_plugin(side: Side, rec: Recorder) -> None:
    """Of the same name: the plugin is not asked."""
    answer = '{"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.2/24"}]}'
    side.node.write("/run/ipam/rec", f"#!/bin/sh\necho '{answer}'\n")
    side.node.run("chmod", "+x", "/run/ipam/rec").ok()
    side.path += ":/run/ipam"
    side.add({**conf("bridge"), "cniVersion": "1.0.0"}).ok()
    assert rec.requests() == []


@pytest.mark.parametrize(
    ("ipam", "words"),
    [
        ({"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.5"}, "ipam.rangeStart is not for the IPAM plugin rec"),
        ({"subnet": "10.0.0.0/24", "ipRange": "10.1.0.0/28"}, "a part of 10.0.0.0/24"),
        ({"subnet": "10.0.0.0/24", "gateway": "10.1.0.1"}, "an address of 10.0.0.0/24"),
        ({"subnet": "10.0.0.0/24", "auxAddresses": {"a": "10.1.0.1"}}, "an address of 10.0.0.0/24"),
        ({"gateway": "10.0.0.1"}, "ipam.gateway is given without ipam.subnet"),
        ({"ranges": [[{"subnet": "10.0.0.0/24"}, {"subnet": "10.1.0.0/24"}]]}, "a list of one subnet"),
        ({"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.1.0.0/24"}]]}, "two subnets of the same IP version"),
        ({"subnet": "10.0.0.0/24", "options": {"a": 1}}, "it must be a string"),
    ],
)
def test_what_cannot_be_right_is_refused(side: Side, rec: Recorder, ipam: Any, words: str) -> None:
    """Before the plugin is asked for anything."""
    refused(side.add(conf("bridge", **ipam)), 7, words)
    assert ipam_calls(rec) == []
    assert side.node.links() == {"lo"}


def test_killed_between_two_calls(side: Side, rec: Recorder) -> None:
    """The plugin dies after each call in turn, and the caller gives up: DEL and ADD put right what they can know of."""
    for call in ("CreateNetwork", "CreateEndpoint", "Join", "ProgramExternalConnectivity"):
        rec.script(**{call: {"die": "after"}, "keep": True})
        assert side.add(conf(subnet="10.57.0.0/24")).code != 0
        rec.script(keep=True)
        rec.start()
        side.delete(conf()).ok()
        side.add(conf(subnet="10.57.0.0/24")).ok()
        side.delete(conf()).ok()
        nothing_left(side, rec)
