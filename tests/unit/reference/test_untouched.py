"""What each plugin may have of a container, on a kernel in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cni_cnm.errors import NamespaceGone
from cni_cnm.fields import Fields
from cni_cnm.model import EndpointKey
from cni_cnm.reference import names
from cni_cnm.reference.untouched import INTERFACE, is_untouched
from tests.memory_kernel.namespaces import MemoryNamespaces

KEY = EndpointKey("net", "c1", "eth0")
NETNS = "/netns/c1"


@pytest.fixture
def namespaces() -> MemoryNamespaces:
    made = MemoryNamespaces()
    made.create(NETNS)
    return made


def untouched(namespaces: MemoryNamespaces, plugin: str, netns: str = NETNS, **config: Any) -> bool:
    return is_untouched(plugin, KEY, netns, Fields(config), namespaces)


@pytest.mark.parametrize("plugin", INTERFACE)
def test_interfaces(namespaces: MemoryNamespaces, plugin: str) -> None:
    assert untouched(namespaces, plugin)
    assert untouched(namespaces, plugin, "")
    with pytest.raises(NamespaceGone):
        untouched(namespaces, plugin, "/netns/gone")
    namespaces.host().add_veth("veth7", peer="eth0", peer_stack=namespaces.open(NETNS))
    assert not untouched(namespaces, plugin)


def test_rules_against_other_macs(namespaces: MemoryNamespaces) -> None:
    """They have the names of the container and its interface, and may be left without the interface."""
    assert not untouched(namespaces, "bridge", macspoofchk=True)


def test_what_dels_do_nothing_with(namespaces: MemoryNamespaces) -> None:
    assert untouched(namespaces, "portmap", runtimeConfig={"portMappings": []})
    assert not untouched(namespaces, "portmap", RuntimeConfig={"PortMappings": [{"HostPort": 80}]})
    assert untouched(namespaces, "firewall")
    assert not untouched(namespaces, "firewall", prevResult={"cniVersion": "1.0.0"})
    assert untouched(namespaces, "sbr", "")
    assert not untouched(namespaces, "sbr")
    assert not untouched(namespaces, "dhcp", "")


def test_parts_with_a_name(namespaces: MemoryNamespaces, tmp_path: Path) -> None:
    assert untouched(namespaces, "bandwidth")
    namespaces.host().add_ifb(names.ifb(KEY))
    assert not untouched(namespaces, "bandwidth")
    assert untouched(namespaces, "tuning", dataDir=str(tmp_path))
    (tmp_path / "c1_eth0.json").touch()
    assert not untouched(namespaces, "tuning", dataDir=str(tmp_path))
