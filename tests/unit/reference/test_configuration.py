"""What a cached list asks of each plugin, and lists that are not understood."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cni_cnm.model import EndpointKey, PortMapping
from cni_cnm.reference import configuration
from cni_cnm.reference.cache import Cached
from cni_cnm.reference.configuration import Bandwidth, Bridge, Configuration, Firewall, Portmap, Tuning

KEY = EndpointKey("net", "c1", "eth0")
IPAM = {"type": "host-local", "subnet": "10.0.0.0/24"}
BRIDGE: dict[str, Any] = {"type": "bridge", "ipMasq": True, "ipam": IPAM}
NO_PORT = {"hostPort": 1, "protocol": "tcp"}
PORTMAP: dict[str, Any] = {"type": "portmap", "capabilities": {"portMappings": True}}


def parsed(*plugins: dict[str, Any], args: tuple[tuple[str, str], ...] = (), **capabilities: Any) -> Configuration:
    config = json.dumps({"cniVersion": "1.0.0", "name": "net", "plugins": plugins}).encode()
    return configuration.parse(Cached(KEY, config, "/run/netns/c1", args, capabilities))


def test_every_plugin() -> None:
    """With the keys of go-cni, which has its own capitals."""
    ports = [{"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": ""}]
    found = parsed(
        BRIDGE,
        PORTMAP,
        {"type": "firewall", "ingressPolicy": "open"},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        {"type": "tuning", "mtu": 1400},
        portMappings=ports,
        bandwidth={"IngressRate": 8, "IngressBurst": 9},
    )
    assert found.not_understood == ()
    assert found.bridge == Bridge("cni0", True, ipam="host-local")
    assert found.portmap == Portmap((PortMapping("tcp", 8080, 80),))
    assert found.firewall == Firewall()
    assert found.bandwidth == Bandwidth(8, 9)
    assert found.tuning == Tuning(saves=True)


def test_what_is_handed_over() -> None:
    """Each plugin gets the list's name and version, and only the capabilities that it asks for."""
    found = parsed(BRIDGE, PORTMAP, portMappings=[], bandwidth={})
    common = {"cniVersion": "1.0.0", "name": "net"}
    assert found.plugins == ({**BRIDGE, **common}, {**PORTMAP, **common, "runtimeConfig": {"portMappings": []}})


def test_a_single_plugin() -> None:
    config = json.dumps({"cniVersion": "1.0.0", "name": "net", **BRIDGE}).encode()
    assert configuration.parse(Cached(KEY, config)).bridge == Bridge("cni0", True, ipam="host-local")


@pytest.mark.parametrize(
    ("tuning", "args", "saves"),
    [
        ({}, (), False),
        ({"sysctl": {"net.core.somaxconn": "5"}}, (), False),
        ({"promisc": False, "mtu": 0, "mac": ""}, (), False),
        ({"allmulti": False}, (), True),
        ({"txQLen": 0}, (), True),
        ({"args": {"cni": {"mac": "02:00:00:00:00:01"}}}, (), True),
        ({}, (("MAC", "02:00:00:00:00:01"),), True),
    ],
)
def test_tuning_saves_what_it_changes(tuning: dict[str, Any], args: tuple[tuple[str, str], ...], saves: bool) -> None:
    found = parsed(BRIDGE, {"type": "tuning", **tuning}, args=args).tuning
    assert found is not None
    assert found.saves is saves


@pytest.mark.parametrize(
    ("plugins", "reason"),
    [
        ([BRIDGE, {"type": "dnsname"}], "dnsname of its list is not one of bridge"),
        ([{"type": "ptp", "ipam": IPAM}], "ptp"),
        ([], "no plugin bridge"),
        ([PORTMAP, BRIDGE], "not the first"),
        ([BRIDGE, PORTMAP, PORTMAP], "portmap twice"),
        ([{**BRIDGE, "ipam": {"type": "dhcp"}}], "from the IPAM dhcp"),
        ([BRIDGE, {"type": "firewall", "ingressPolicy": "closed"}], "ingressPolicy"),
        (
            [BRIDGE, {**PORTMAP, "runtimeConfig": {"portMappings": [NO_PORT]}}],
            "containerPort",
        ),
        ([BRIDGE, {**PORTMAP, "markMasqBit": 32}], "markMasqBit"),
    ],
)
def test_lists_that_are_not_understood(plugins: list[dict[str, Any]], reason: str) -> None:
    assert reason in "; ".join(parsed(*plugins).not_understood)


@pytest.mark.parametrize("config", [b"", b"[]", b"{", b'{"plugins": 5}', b'{"plugins": [5]}', b"\xff"])
def test_a_configuration_that_is_none(config: bytes) -> None:
    assert configuration.parse(Cached(KEY, config)).not_understood
