"""Each hint that an operator meets first, followed literally: the error is gone.

A scene makes the error, the hint has to be in the answer, and each alternative that the hint names is tried.
tests/unit/test_hints.py checks what all hints name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.side import Answer, Side

FOUR, SIX = "10.60.0.0/24", "fd00:60::/64"
Conf = dict[str, Any]


def net(*subnets: str, name: str = "web", **keys: Any) -> Conf:
    ranges = [[{"subnet": subnet}] for subnet in subnets]
    return {"cniVersion": "1.1.0", "name": name, "ipam": {"type": "host-local", "ranges": ranges}, **keys}


def reference(*subnets: str, name: str = "web", **keys: Any) -> Conf:
    return net(*subnets, name=name, **{"bridge": "cni0", "isDefaultGateway": True, **keys})


def hinted(answer: Answer, code: int, *words: str) -> str:
    """The hint of a refused call; it has these words."""
    assert answer.code == 1, answer.json
    assert answer.json["code"] == code, answer.json
    text = json.dumps(answer.json, ensure_ascii=False).replace('\\"', '"')
    for word in words:
        assert word in text, answer.json
    return text


def tool(side: Side, *words: str) -> Answer:
    """The command line; its error is one sentence on stderr."""
    done = side.node.run(str(side.executable), *words)
    return Answer(done.code, done.out, done.err)


def port(host_port: int) -> Conf:
    mapping = {"hostPort": host_port, "containerPort": 80, "protocol": "tcp"}
    return {"capabilities": {"portMappings": True}, "runtimeConfig": {"portMappings": [mapping]}}


@pytest.mark.parametrize(
    "followed",
    [net("10.61.0.0/24", name="second"), net(FOUR, name="second", allowOverlap=True)],
    ids=["other", "allow"],
)
def test_a_subnet_that_has_an_owner(side: Side, followed: Conf) -> None:
    """Another subnet, or `allowOverlap`."""
    side.add(net(FOUR, name="first")).ok()
    hinted(side.add(net(FOUR, name="second"), "c2"), 104, "choose another subnet", '"allowOverlap": true')
    side.add(followed, "c2").ok()


def test_a_subnet_that_has_an_owner_on_the_command_line(side: Side) -> None:
    """The hint has the option of the command line."""
    side.add(net(FOUR, name="first")).ok()
    create = ["network", "create", "second", "--subnet", FOUR]
    refused = tool(side, *create)
    assert refused.code == 1
    assert "--allow-overlap" in refused.err
    tool(side, *create, "--allow-overlap").ok()


@pytest.mark.parametrize("profile", [net, reference], ids=["cnm", "reference"])
@pytest.mark.parametrize("follow", ["remove", "widen"])
@pytest.mark.quick("remove-cnm", "widen-reference")
def test_exhausted_addresses(side: Side, profile: Callable[..., Conf], follow: str) -> None:
    """A container less, or a wider range; the command of the hint shows who has the address."""
    config = profile("10.60.0.0/30")
    side.add(config).ok()
    text = hinted(side.add(config, "c2"), 101, "remove containers or widen the range", "`cni-cnm ipam show web`")
    command = text.partition("`")[2].partition("`")[0].split()
    assert "10.60.0.2" in tool(side, *command[1:]).ok().json
    if follow == "remove":
        side.delete(config).ok()
        side.add(config, "c2").ok()
    else:
        side.add(profile("10.60.0.0/24"), "c2").ok()


@pytest.mark.parametrize("follow", ["keep", "remove"])
def test_a_subnet_that_no_longer_holds_a_container(side: Side, follow: str) -> None:
    """A subnet that holds it, or without that container."""
    wide = net("10.60.0.0/16")
    first = {**wide, "runtimeConfig": {"ips": ["10.60.9.9"]}}
    side.add(first).ok()
    hinted(side.add(net(FOUR), "c2"), 7, "keep a subnet that holds it, or remove that container first")
    if follow == "keep":
        side.add(net("10.60.0.0/17"), "c2").ok()
    else:
        side.delete(first).ok()
        side.add(net(FOUR), "c2").ok()


EDITS = [
    (reference(FOUR), reference("10.61.0.0/24", bridge="cni1")),
    (reference(FOUR), reference(FOUR, bridge="cni1")),
    (net(FOUR), net(FOUR, driver="ptp")),
    (net(FOUR), net(FOUR, internal=True)),
    (net(FOUR), reference(FOUR)),
    (net(FOUR), net(FOUR, "fd00:61::/64", options={"com.docker.network.bridge.name": "other0"})),
]


@pytest.mark.parametrize("follow", ["remove", "name"])
@pytest.mark.parametrize(("before", "after"), EDITS)
@pytest.mark.quick("before0-after0-name", "before3-after3-remove", "before5-after5-remove")
def test_an_edit_of_a_network_in_use(side: Side, before: Conf, after: Conf, follow: str) -> None:
    """Every alternative of the hint, for every edit that is refused."""
    side.add(before).ok()
    hint = "remove the network's containers first, or give the edited configuration another name, bridge and subnet"
    hinted(side.add(after, "c2"), 7, hint)
    if follow == "remove":
        side.delete(before).ok()
        side.add(after, "c2").ok()
        return
    other: Conf = {**after, **net("10.62.0.0/24"), "name": "web2"}
    other |= {"bridge": "cni2"} if "bridge" in other else {}
    other |= {"options": {"com.docker.network.bridge.name": "other2"}} if "options" in other else {}
    side.add(other, "c2").ok()


@pytest.mark.parametrize("follow", ["other", "stop"])
@pytest.mark.quick("other")
def test_a_published_port_that_is_taken(side: Side, follow: str) -> None:
    """Another host port, or without the container that has it."""
    side.add(net(FOUR, **port(8080))).ok()
    hinted(side.add(net(FOUR, **port(8080)), "c2"), 100, "choose another host port, or stop that container first")
    if follow == "stop":
        side.delete(net(FOUR)).ok()
    side.add(net(FOUR, **port(8080 if follow == "stop" else 8081)), "c2").ok()


@pytest.mark.parametrize("follow", ["ifname", "remove"])
def test_an_interface_that_exists(side: Side, follow: str) -> None:
    """Another CNI_IFNAME, or without the interface of the other plugin."""
    side.node.run("ip", "link", "add", "eth0", "type", "veth", "peer", "other", netns="/run/netns/c1").ok()
    hinted(side.add(net(FOUR)), 104, "use another CNI_IFNAME, or DEL with that plugin")
    if follow == "remove":
        side.node.run("ip", "link", "del", "eth0", netns="/run/netns/c1").ok()
    side.add(net(FOUR), ifname="eth0" if follow == "remove" else "eth1").ok()


def test_a_second_add(side: Side) -> None:
    """DEL before the next ADD."""
    side.add(net(FOUR)).ok()
    hinted(side.add(net(FOUR)), 104, "DEL it before the next ADD")
    side.delete(net(FOUR)).ok()
    side.add(net(FOUR)).ok()


def test_a_missing_network(side: Side) -> None:
    """A near name is in the hint, or the command that lists the networks by the name that inspect takes."""
    side.add(net(FOUR)).ok()
    assert "did you mean web?" in tool(side, "network", "inspect", "wbe").err
    refused = tool(side, "network", "inspect", "elsewhere")
    assert "`cni-cnm network ls` lists them" in refused.err
    assert "web" in tool(side, "network", "ls").ok().json
    tool(side, "network", "inspect", "web").ok()


def test_a_network_with_containers(side: Side) -> None:
    """`network rm` after the containers are gone."""
    side.add(net(FOUR)).ok()
    refused = tool(side, "network", "rm", "web")
    assert "remove their containers first; `cni-cnm endpoint ls --network web` lists them" in refused.err
    assert "c1" in tool(side, "endpoint", "ls", "--network", "web").ok().json
    side.delete(net(FOUR)).ok()
    tool(side, "network", "rm", "web").ok()


@pytest.mark.parametrize("follow", ["name", "remove"])
def test_a_bridge_that_is_another_kind_of_link(side: Side, follow: str) -> None:
    """Another bridge in the configuration, or without that link."""
    side.node.run("ip", "link", "add", "cni0", "type", "veth", "peer", "other").ok()
    hinted(side.add(reference(FOUR)), 104, "name another bridge in the configuration, or remove that link")
    if follow == "remove":
        side.node.run("ip", "link", "del", "cni0").ok()
    side.add(reference(FOUR, bridge="cni0" if follow == "remove" else "cni7")).ok()


def test_an_alternative_name_of_a_bridge(side: Side) -> None:
    """The name that the hint says."""
    side.node.run("ip", "link", "add", "real0", "type", "bridge").ok()
    side.node.run("ip", "link", "property", "add", "dev", "real0", "altname", "cni0").ok()
    hinted(side.add(reference(FOUR)), 7, "name the bridge real0 in the configuration")
    side.add(reference(FOUR, bridge="real0")).ok()


@pytest.mark.parametrize("followed", [{"forceAddress": True}, {"bridge": "cni7"}], ids=["force", "own"])
def test_a_bridge_with_another_gateway(side: Side, followed: Conf) -> None:
    """`forceAddress`, or a bridge of its own."""
    side.node.run("ip", "link", "add", "cni0", "up", "type", "bridge").ok()
    side.node.run("ip", "address", "add", "10.60.0.9/24", "dev", "cni0").ok()
    hinted(side.add(reference(FOUR)), 104, "set forceAddress to replace it, or give this network a bridge of its own")
    if "bridge" in followed:  # two links with one subnet would be the next error
        side.node.run("ip", "address", "del", "10.60.0.9/24", "dev", "cni0").ok()
        side.node.run("ip", "address", "add", "10.61.0.9/24", "dev", "cni0").ok()
        hinted(side.add(reference(FOUR)), 104, "give this network a bridge of its own")
    side.add(reference(FOUR, **followed)).ok()


def test_a_bridge_with_another_gateway_in_the_cnm_profile(side: Side) -> None:
    """A key of the reference profile would change the profile: the hint names none."""
    side.node.run("ip", "link", "add", "own0", "up", "type", "bridge").ok()
    side.node.run("ip", "address", "add", "10.61.0.9/24", "dev", "own0").ok()
    label = "com.docker.network.bridge.name"
    text = hinted(side.add(net(FOUR, options={label: "own0"})), 104, "give this network a bridge of its own")
    assert "forceAddress" not in text
    side.add(net(FOUR, options={label: "own1"})).ok()


@pytest.mark.parametrize("profile", [net, reference], ids=["cnm", "reference"])
@pytest.mark.parametrize("follow", ["mtu", "subnet"])
@pytest.mark.quick("mtu-cnm", "subnet-reference")
def test_an_mtu_too_small_for_ipv6(side: Side, profile: Callable[..., Conf], follow: str) -> None:
    """A greater mtu, or no IPv6 subnet."""
    hinted(side.add(profile(FOUR, SIX, mtu=1279)), 7, "set mtu to 1280 or more, or leave out the IPv6 subnet")
    side.add(profile(FOUR, SIX, mtu=1280) if follow == "mtu" else profile(FOUR, mtu=1279)).ok()


@pytest.mark.parametrize("follow", ["address", "reference"])
def test_a_gateway_outside_its_subnet(side: Side, follow: str) -> None:
    """An address of the subnet, or the reference profile."""
    config = net(FOUR)
    config["ipam"]["ranges"][0][0]["gateway"] = "10.61.0.1"
    hinted(side.add(config), 7, 'choose an address of the subnet, or use "profile": "reference", which accepts this')
    if follow == "address":
        config["ipam"]["ranges"][0][0]["gateway"] = "10.60.0.7"
    else:
        config["profile"] = "reference"
    side.add(config).ok()


@pytest.mark.parametrize("subnet", ["0.0.0.0/0", "127.1.0.0/24"])
@pytest.mark.parametrize("followed", ["10.200.0.0/16", "fd00:200::/64"])
@pytest.mark.quick("10.200.0.0/16-127.1.0.0/24")
def test_a_special_subnet(side: Side, subnet: str, followed: str) -> None:
    """Each subnet that the hint proposes."""
    hinted(side.add(net(subnet)), 7, followed)
    side.add(net(followed)).ok()


@pytest.mark.parametrize(("profile", "longest"), [(net, 31), (reference, 30)], ids=["cnm", "reference"])
def test_a_subnet_that_is_too_small(side: Side, profile: Any, longest: int) -> None:
    """The prefix that the hint says."""
    hinted(side.add(profile(f"10.60.0.0/{longest + 1}")), 7, "too small", f"use /{longest} or shorter")
    side.add(profile(f"10.60.0.0/{longest}")).ok()


@pytest.mark.parametrize(
    "followed",
    [
        {"name": "web", "bridge": "cni0", "isGateway": True},
        {"name": "web", "profile": "cnm", "options": {"com.docker.network.bridge.name": "cni0"}},
    ],
    ids=["keys", "options"],
)
def test_keys_of_both_profiles(side: Side, followed: Conf) -> None:
    """Either the keys of the reference, or options with the CNM profile."""
    both = {**net(FOUR), "bridge": "cni0", "options": {"com.docker.network.bridge.name": "cni0"}}
    hinted(side.add(both), 7, 'use either those keys, or options with "profile": "cnm"')
    side.add({**net(FOUR), **followed}).ok()


def test_a_network_name_that_is_taken(side: Side) -> None:
    """Another name."""
    side.add(net(FOUR)).ok()
    assert "network names are unique on a host" in tool(side, "network", "create", "web").err
    tool(side, "network", "create", "web2").ok()


def test_an_unknown_version(side: Side) -> None:
    """One of the versions that the message names."""
    hinted(side.call("ADD", {**net(FOUR), "cniVersion": "9.9.9"}), 1, "set cniVersion to one of them")
    side.add({**net(FOUR), "cniVersion": "1.0.0"}).ok()
