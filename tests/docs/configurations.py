"""Network configurations as the documentation shows them, given to the plugin as a runtime does."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cluster.underlay import DEVICE_PREFIX
from cni_cnm.cluster.values import FIRST_VNI, VXLAN_PORT, OverlayNetwork
from cni_cnm.cni import plugin
from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.host import Host
from cni_cnm.errors import InvalidConfig
from cni_cnm.kernel import RouteEntry
from cni_cnm.kernel.contract.overlay_stack import Vxlan
from tests.cluster.hosts import MemoryMembership
from tests.cluster.memory_directory import MemoryStore
from tests.docs.hosts import host
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.stack import MemoryStack

NETNS = "/run/netns/c1"
PLUGIN = "my-plugin"
"""The Docker plugin of the examples."""


CAPABILITIES = ("portMappings", "bandwidth", "ips", "mac", "dns", "aliases")


def declared(document: Mapping[str, Any]) -> None:
    """Our entry of the list declares every capability that it serves, and those that it refuses.

    A published port and a limit are never ignored, unless a plugin behind serves them.
    """
    (ours,) = (part for part in document["plugins"] if part["type"] == "cni-cnm")
    elsewhere = {key for part in document["plugins"] if part is not ours for key in part.get("capabilities", ())}
    missing = {
        "ips": not addresses(ours),
        "mac": ours.get("driver") == "null",
        "bandwidth": ours.get("driver") == PLUGIN,
    }
    if ours is not document["plugins"][0]:
        missing |= dict.fromkeys(("ips", "dns"), True)
    if ours.get("driver") == "null":
        missing |= dict.fromkeys(("dns", "bandwidth"), True)
    wanted = {key for key in CAPABILITIES if key not in elsewhere and not missing.get(key)}
    assert set(ours.get("capabilities", ())) - {"ipRanges"} == wanted


def addresses(conf: Mapping[str, Any]) -> bool:
    """Whether endpoints of the network have addresses."""
    return conf.get("driver") != "null" and ("ipam" in conf or "bridge" not in conf)


def refused(conf: Mapping[str, Any]) -> tuple[str, ...]:
    """The declared capabilities that the network refuses."""
    if conf.get("driver") in ("macvlan", "host-device"):
        return ("portMappings", "bandwidth")
    return () if addresses(conf) else ("portMappings",)


def wish(capability: str, result: Mapping[str, Any]) -> Any:
    """A value that a runtime sends for it, to a container whose ADD had this result."""
    first = ip_interface(result["ips"][0]["address"]) if result.get("ips") else None
    return {
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {"ingressRate": 8_000_000, "ingressBurst": 800_000},
        "ips": [f"{first.ip + 1}/{first.network.prefixlen}" if first else ""],
        "mac": "02:42:0a:01:02:03",
        "dns": {"servers": ["192.0.2.53"], "searches": ["example.org"], "options": []},
        "aliases": ["web"],
        "ipRanges": [],
    }[capability]


def attached(text: str, folder: Path) -> None:
    """ADD, CHECK and DEL by each configuration of ours in the list: no error, no warning, and no record is left.

    On a kernel in memory. A network of a Docker plugin is made in real namespaces, beside a plugin of that name.
    """
    document = json.loads(text)
    declared(document)
    ours = [part for part in document["plugins"] if part["type"] == "cni-cnm"]
    assert ours
    for part in ours:
        conf = {**part, "cniVersion": document["cniVersion"], "name": document["name"]}
        if part.get("driver") == PLUGIN:
            _beside_the_plugin(conf)
        else:
            _in_memory(conf, folder, chained=part is not document["plugins"][0])


def _beside_the_plugin(conf: dict[str, Any]) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: the plugin makes its interface in real namespaces")
    with host("plugin") as made:
        container = made.words["CONTAINER"]
        result = made.cni("ADD", conf, container, "eth1").ok()
        made.cni("CHECK", {**conf, "prevResult": json.loads(result.out)}, container, "eth1").ok()
        done = made.cni("DEL", conf, container, "eth1").ok()
        assert (result.err, done.err) == ("", "")


def _in_memory(conf: dict[str, Any], folder: Path, *, chained: bool) -> None:
    namespaces = MemoryNamespaces()
    uplink = namespaces.host()
    container = namespaces.create(NETNS)
    engine = memory_host(folder, namespaces)
    if conf.get("driver") == "overlay":
        _join_cluster(engine, namespaces, "" if "ipam" in conf else conf["name"])
    controller = Controller(engine)
    _veth(uplink, "eth0", uplink, "far0")
    _veth(uplink, "eth1", uplink, "far1")
    uplink.add_route(RouteEntry(ip_network("0.0.0.0/0"), link=_index(uplink, "eth0")))
    if chained:
        _veth(container, "eth0", uplink, "vethfront")
        front = [{"name": "vethfront"}, {"name": "eth0", "sandbox": NETNS}]
        held = [{"address": "10.66.0.5/24", "interface": 1}]
        conf = {**conf, "prevResult": {"cniVersion": conf["cniVersion"], "interfaces": front, "ips": held}}

    def environ(verb: str) -> dict[str, str]:
        return {"CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_NETNS": NETNS, "CNI_IFNAME": "eth0",
                "CNI_PATH": str(folder), "CNI_CNM_OWNER": "test"}  # fmt: skip

    def call(verb: str, conf: Mapping[str, Any]) -> bytes:
        reply = plugin.handle(environ(verb), lambda: json.dumps(conf).encode(), lambda: controller)
        assert (reply.code, reply.err) == (0, ""), (verb, reply.out, reply.err)
        return reply.out

    result = json.loads(call("ADD", conf))
    call("CHECK", {**conf, "prevResult": result})
    call("DEL", conf)
    for capability in conf.get("capabilities", ()):
        if capability not in refused(conf):
            call("ADD", {**conf, "runtimeConfig": {capability: wish(capability, result)}})
            call("DEL", conf)
            continue
        asked = {**conf, "runtimeConfig": {capability: wish(capability, result)}}
        reply = plugin.handle(environ("ADD"), partial(json.dumps(asked).encode), lambda: controller)
        assert json.loads(reply.out)["code"] == InvalidConfig.code, (capability, reply.out)
    assert list((folder / "run" / "endpoints").glob("*.json")) == []


def _veth(stack: MemoryStack, name: str, far: MemoryStack, peer: str) -> None:
    stack.add_veth(name, peer=peer, peer_stack=far)
    stack.set_link(_index(stack, name), up=True)
    far.set_link(_index(far, peer), up=True)


def _index(stack: MemoryStack, name: str) -> int:
    link = stack.link(name)
    assert link is not None
    return link.ifindex


def _join_cluster(engine: Host, namespaces: MemoryNamespaces, network: str) -> None:
    """A cluster in memory that has the network, unless it is "". Its device stands, as the agent makes it."""
    store = MemoryStore()
    subnets = (ip_network("10.32.0.0/16"),)
    if network:
        store.directory().create_network(OverlayNetwork(network, "a" * 32, subnets, (24,), FIRST_VNI))
    engine.cluster = MemoryMembership(store, "node1")
    with closing(namespaces.overlay()) as stack:
        name = f"{DEVICE_PREFIX}{FIRST_VNI}"
        stack.add_vxlan(name, Vxlan(FIRST_VNI, VXLAN_PORT, ip_address("192.0.2.11")))
        stack.set_link(_index(stack, name), up=True)
