"""A list of reference plugins becomes one entry that configures the same network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cni_cnm.adopt import fused
from cni_cnm.conflists import new_conflist
from cni_cnm.conflists.conflist import Conflist, parse
from cni_cnm.errors import UnsupportedField

BRIDGE: dict[str, Any] = {
    "type": "bridge",
    "bridge": "cni0",
    "isDefaultGateway": True,
    "ipMasq": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]]},
}
PODMAN = [
    {**BRIDGE, "hairpinMode": True},
    {"type": "portmap", "capabilities": {"portMappings": True}},
    {"type": "firewall", "backend": ""},
    {"type": "tuning"},
]


def listed(*plugins: dict[str, Any]) -> Conflist:
    document = {"cniVersion": "0.4.0", "name": "web", "disableCheck": True, "plugins": plugins}
    return parse("/etc/cni/net.d/web.conflist", json.dumps(document).encode())


def test_podmans_list() -> None:
    """What other plugins have no key for is not in the entry; capabilities are those of all plugins."""
    given = listed(*PODMAN)
    entry = fused.entry(given)
    own = {key: value for key, value in PODMAN[0].items() if key != "type"}
    assert entry == {"type": "cni-cnm", "capabilities": {"portMappings": True}, "profile": "reference", **own}
    written = parse(given.path, fused.text(given, entry))
    assert written.document == {"cniVersion": "0.4.0", "name": "web", "disableCheck": True, "plugins": [entry]}
    network = new_conflist.network_of(written, written.entries[0])
    assert network.driver.role(network.options).default_route
    assert fused.is_ours(fused.text(given, entry))
    assert not fused.is_ours(json.dumps(given.document).encode())


def test_keys_that_the_bridge_ignores_stay_without_effect() -> None:
    """They would mean something to this program."""
    ignored = {"driver": "macvlan", "profile": "cnm", "internal": True, "dnsEnabled": True, "labels": {"a": "b"},
               "Owner": "x", "portmap": {"snat": False}, "unmanaged": True}  # fmt: skip
    assert fused.entry(listed({**BRIDGE, **ignored}, *PODMAN[1:])) == fused.entry(listed(BRIDGE, *PODMAN[1:]))


def test_blocks_have_the_keys_of_their_plugins() -> None:
    """Keys that only say how the reference does it are left out."""
    portmap = {"type": "portmap", "backend": "iptables", "markMasqBit": 4, "snat": False}
    firewall = {"type": "firewall", "backend": "iptables", "ingressPolicy": "isolated"}
    tuning = {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}, "dataDir": "/run/x"}
    entry = fused.entry(listed({**BRIDGE, "ipMasqBackend": "nftables"}, portmap, firewall, tuning))
    assert entry["portmap"] == {"snat": False}
    assert entry["firewall"] == {"ingressPolicy": "isolated"}
    assert entry["tuning"] == {"sysctl": {"net.core.somaxconn": "500"}}
    assert "ipMasqBackend" not in entry


def test_a_single_plugin_stays_a_single_plugin() -> None:
    """A file that is no list of plugins has the keys of the entry itself."""
    given = parse("/etc/cni/net.d/web.conf", json.dumps({"cniVersion": "1.0.0", "name": "web", **BRIDGE}).encode())
    written = json.loads(fused.text(given, fused.entry(given)))
    assert written["type"] == "cni-cnm"
    assert (written["cniVersion"], written["name"], written["bridge"]) == ("1.0.0", "web", "cni0")


@pytest.mark.parametrize(
    ("plugins", "said"),
    [
        ([BRIDGE, {"type": "sbr"}], "plugins[1], the plugin sbr, is not understood"),
        ([BRIDGE, {"type": "tuning", "mtu": 1400}, {"type": "tuning"}], "plugins[2], the plugin tuning, is twice"),
        ([{**BRIDGE, "ipam": {"type": "dhcp"}}], "plugins[0] has the ipam dhcp"),
        ([{**BRIDGE, "vlan": 7}], "plugins[0] has vlan: VLANs of bridges are not taken over"),
        ([BRIDGE, {"type": "firewall", "backend": "firewalld"}], "plugins[1] has the backend firewalld"),
        ([BRIDGE, {"type": "bandwidth", "shapedSubnets": ["10.0.0.0/8"]}], "plugins[1] has shapedsubnets"),
    ],
)
def test_what_is_not_understood_is_named(plugins: list[dict[str, Any]], said: str) -> None:
    """The whole network is left alone then."""
    with pytest.raises(UnsupportedField) as error:
        fused.entry(listed(*plugins))
    assert said in error.value.msg
