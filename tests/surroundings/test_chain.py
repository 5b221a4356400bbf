"""Lists as they are in the field: who makes the interface, and what later plugins change of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.side import REFERENCE, Side
from tests.surroundings.configs import network

ALSO = {"lo": {"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": "/run/netns/c1"},
        "other": {"name": "net7", "mac": "02:00:00:00:00:07", "sandbox": "/run/netns/c1"}}  # fmt: skip
LOOPBACK: dict[str, dict[str, Any]] = {
    "1.0": {"cniVersion": "1.0.0", "interfaces": [ALSO["lo"]], "ips": [{"address": "127.0.0.1/8", "interface": 0}]},
    "0.4": {
        "cniVersion": "0.4.0",
        "interfaces": [ALSO["lo"]],
        "ips": [{"version": "4", "address": "127.0.0.1/8", "interface": 0},
                {"version": "6", "address": "::1/128", "interface": 0}],
        "dns": {},
    },
    "before 0.8": {"cniVersion": "0.2.0", "dns": {}},
    "0.2": {"cniVersion": "0.2.0", "ip4": {"ip": "127.0.0.1/8"}, "ip6": {"ip": "::1/128"}},
}  # fmt: skip
"""What a loopback plugin in front of ours answers."""


@pytest.mark.parametrize("previous", LOOPBACK.values(), ids=LOOPBACK.keys())
@pytest.mark.quick("1.0", "0.2")
def test_behind_loopback_the_interface_is_ours(side: Side, previous: dict[str, Any]) -> None:
    """A list that begins with loopback, as Nomad's: with addresses, and as a network without."""
    side.container("c1")
    config = {"cniVersion": "0.4.0", "name": "net", "bridge": "br-net", "prevResult": previous}
    shapes: tuple[dict[str, Any], ...] = ({}, {"ipam": {}}, {"ipam": {"type": "host-local", "subnet": "10.90.0.0/24"}})
    for keys in shapes:
        _comes_and_goes(side, {**config, **keys}, addresses=bool(keys.get("ipam")))


def _comes_and_goes(side: Side, config: dict[str, Any], *, addresses: bool) -> None:
    result = side.add(config).ok().json
    assert [link["name"] for link in result["interfaces"] if link.get("sandbox")] == ["eth0"]
    assert "eth0" in side.node.links("/run/netns/c1")
    assert bool(side.node.addresses("eth0", netns="/run/netns/c1")) == addresses
    side.check({key: config[key] for key in config if key != "prevResult"}, result).ok()
    side.delete(config).ok()
    assert side.node.links("/run/netns/c1") == {"lo"}


def test_behind_another_interface_only(side: Side) -> None:
    """Neither chained nor ours to guess: refused, naming prevResult."""
    side.container("c1")
    previous = {"cniVersion": "1.0.0", "interfaces": [ALSO["other"]], "ips": []}
    config = {"cniVersion": "1.0.0", "name": "net", "bridge": "br-net", "prevResult": previous}
    refused = side.add(config)
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert "prevResult" in refused.json["msg"]


ADDRESSES_ONLY = {
    "0.3": {"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.32.0.5/12"}]},
    "1.0": {"cniVersion": "1.0.0", "interfaces": [], "ips": [{"address": "10.32.0.5/12"}]},
    "0.2": {"cniVersion": "0.2.0", "ip4": {"ip": "10.32.0.5/12"}},
}


@pytest.mark.parametrize("previous", ADDRESSES_ONLY.values(), ids=ADDRESSES_ONLY.keys())
def test_a_result_without_interfaces_makes_no_network(side: Side, previous: dict[str, Any]) -> None:
    """Weave's: there is an interface, and nothing says which. Refused with the key, and nothing is made."""
    side.container("c1")
    side.node.run("ip", "link", "add", "vethwepl1", "type", "veth", "peer", "name", "eth0", "netns", "c1").ok()
    refused = side.add({"cniVersion": previous["cniVersion"], "name": "weave", "prevResult": previous})
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert "prevResult" in refused.json["msg"]
    assert side.node.links() == {"lo", "vethwepl1"}


ENTRIES: dict[str, dict[str, Any]] = {
    "portmap": {"capabilities": {"portMappings": True}, "snat": True},
    "tuning": {"sysctl": {}},
    "bandwidth": {"capabilities": {"bandwidth": True}},
    "with an ipam": {"bridge": "br-net", "ipam": {"type": "host-local", "subnet": "10.90.0.0/24"}},
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
@pytest.mark.quick("portmap", "with an ipam")
def test_a_list_in_which_every_entry_is_ours(side: Side, entry: dict[str, Any]) -> None:
    """Every `type` was changed: refused with the sentence that says how to write it; DEL of all leaves nothing."""
    side.container("c1")
    first = network()
    second = {"cniVersion": "1.0.0", "name": "net", **entry}
    result = side.add(first).ok().json
    refused = side.add({**second, "prevResult": result})
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert "cni-cnm" in refused.json["msg"]
    assert "portmap" in refused.json["msg"]
    for config in (second, first):
        side.delete(config).ok()
    assert side.node.links("/run/netns/c1") == {"lo"}
    assert not side.node.files("/run/cni-cnm/endpoints")


# CHECK ----------------------------------------------------------------------


def changed_by_later_plugins(side: Side, result: dict[str, Any]) -> dict[str, Any]:
    """A list's final result: its later plugins gave another MAC, one address and one route more."""
    inside = "/run/netns/c1"
    side.node.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99", netns=inside).ok()
    side.node.run("ip", "addr", "add", "10.99.0.9/24", "dev", "eth0", netns=inside).ok()
    side.node.run("ip", "route", "add", "10.98.0.0/16", "via", "10.90.0.1", netns=inside).ok()
    links = [{**link, "mac": "02:00:00:00:00:99"} if link["name"] == "eth0" else link for link in result["interfaces"]]
    index = next(n for n, link in enumerate(links) if link["name"] == "eth0")
    more = {"address": "10.99.0.9/24", "interface": index}
    routes = [*result.get("routes", []), {"dst": "10.98.0.0/16", "gw": "10.90.0.1"}]
    return {**result, "interfaces": links, "ips": [*result["ips"], more], "routes": routes}


def test_check_allows_what_later_plugins_changed(side: Side) -> None:
    """It judges by prevResult: MAC, added address and added route."""
    side.container("c1")
    config = network(isDefaultGateway=True)
    result = side.add(config).ok().json
    final = changed_by_later_plugins(side, result)
    side.check(config, final).ok()


AGAIN = {
    "mac": ("ip link set eth0 address 02:00:00:00:00:98", "MAC"),
    "added address": ("ip addr del 10.99.0.9/24 dev eth0", "10.99.0.9"),
    "added route": ("ip route del 10.98.0.0/16", "10.98.0.0/16"),
    "own address": ("ip addr del 10.90.0.2/24 dev eth0", "10.90.0.2"),
    "own route": ("ip -6 route del default", "::/0"),
}


@pytest.mark.parametrize(("command", "sentence"), AGAIN.values(), ids=AGAIN.keys())
@pytest.mark.quick("mac", "own route", "added address")
def test_check_finds_what_prevresult_promises(side: Side, command: str, sentence: str) -> None:
    """What the list's result says and the container does not have is named, also of other plugins."""
    side.container("c1")
    config = network(isDefaultGateway=True)
    final = changed_by_later_plugins(side, side.add(config).ok().json)
    side.node.run(*command.split(), netns="/run/netns/c1").ok()
    failed = side.check(config, final)
    assert failed.code == 1
    assert sentence in failed.json["msg"]


def test_check_allows_what_later_plugins_took_away(side: Side) -> None:
    """A route and an address that the final result does not list any more."""
    side.container("c1")
    config = network(isDefaultGateway=True)
    result = side.add(config).ok().json
    inside = "/run/netns/c1"
    side.node.run("ip", "route", "del", "default", netns=inside).ok()
    side.node.run("ip", "addr", "del", "fd00:90::2/64", "dev", "eth0", netns=inside).ok()
    final = {
        **result,
        "ips": [ip for ip in result["ips"] if "fd00" not in ip["address"]],
        "routes": [route for route in result["routes"] if route["dst"] not in ("0.0.0.0/0", "::/0")],
    }
    side.check(config, final).ok()
    assert side.check(config, result).code == 1


def test_check_behind_the_references_tuning(side: Side) -> None:
    """A real list: ours, then the reference tuning plugin, which changes the MAC."""
    if not (REFERENCE / "tuning").exists():
        pytest.skip("needs the reference plugins")
    side.container("c1")
    config = network()
    tuning = {"cniVersion": "1.0.0", "name": "net", "type": "tuning", "mac": "02:00:00:00:00:77"}
    result = side.add(config).ok().json
    final = side.add({**tuning, "prevResult": result}, executable=REFERENCE / "tuning").ok().json
    assert "02:00:00:00:00:77" in str(final)
    side.check(config, final).ok()
