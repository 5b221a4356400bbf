"""A network's keys in effect, and the shortest configuration, make the same network again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cni import environ, request
from cni_cnm.cnm.network import configured_network, network_description
from cni_cnm.cnm.network.configured_network import ConfiguredNetwork
from cni_cnm.cnm.records import NetworkRecord
from cni_cnm.conflists import effective
from cni_cnm.fields import Fields
from tests.program import ROOT

CALL = environ.Call("ADD", "", "", "", "", "", False, {})
SUBNET = {"ipam": {"type": "host-local", "subnet": "10.5.0.0/24", "rangeStart": "10.5.0.9"}}
LABEL = "com.docker.network"
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "cnm": SUBNET,
    "cnm, all": {
        **SUBNET,
        "mtu": 1400,
        "profile": "cnm",
        "hairpinMode": False,
        "vlan": 7,
        "vlanTrunk": [{"minID": 10, "maxID": 12}],
        "macspoofchk": True,
        "enabledad": True,
        "portIsolation": True,
        "masqueradeExcept": ["10.0.0.0/8"],
        "labels": {"team": "a"},
        "firewall": {"ingressPolicy": "isolated", "firewalldZone": "dmz", "iptablesAdminChainName": "ADMIN"},
        "options": {
            f"{LABEL}.bridge.name": "br7",
            f"{LABEL}.bridge.enable_ip_masquerade": "false",
            f"{LABEL}.bridge.inhibit_ipv4": "true",
            f"{LABEL}.host_ipv4": "192.0.2.1",
            f"{LABEL}.host_ipv6": "2001:db8::1",
            f"{LABEL}.bridge.trusted_host_interfaces": "eth0:eth1",
        },
    },
    "cnm, icc": {**SUBNET, "options": {f"{LABEL}.bridge.enable_icc": "false", f"{LABEL}.driver.mtu": "1300"}},
    "cnm, routed": {**SUBNET, "options": {f"{LABEL}.bridge.gateway_mode_ipv4": "routed"}},
    "cnm, isolated gateway": {
        **SUBNET, "internal": True, "options": {f"{LABEL}.bridge.gateway_mode_ipv4": "isolated"},
    },
    "cnm, without addresses": {"ipam": {"type": "none"}},
    "reference": {**SUBNET, "bridge": "cni0"},
    "reference, said": {**SUBNET, "profile": "reference"},
    "reference, all": {
        **SUBNET, "bridge": "cni7", "isDefaultGateway": True, "ipMasq": True, "forceAddress": True, "promiscMode": True,
        "mtu": 1400, "preserveDefaultVlan": True,
    },
    "layer 2": {"bridge": "br-wire", "disableContainerInterface": True},
    "macvlan": {**SUBNET, "driver": "macvlan", "options": {"parent": "eth0.7", "macvlan_mode": "private"}},
    "macvlan, internal": {**SUBNET, "driver": "macvlan", "internal": True},
    "macvlan, reference": {**SUBNET, "driver": "macvlan", "master": "eth0", "mode": "vepa", "bcqueuelen": 9},
    "ipvlan": {**SUBNET, "driver": "ipvlan", "options": {"ipvlan_mode": "l3", "ipvlan_flag": "vepa"}},
    "ipvlan, reference": {**SUBNET, "driver": "ipvlan", "master": "eth0", "linkInContainer": True},
    "ptp": {**SUBNET, "driver": "ptp", "mtu": 1400, "masqueradeExcept": ["10.0.0.0/8"]},
    "ptp, reference": {**SUBNET, "driver": "ptp", "ipMasq": True},
    "null": {"driver": "null"},
    "overlay": {"driver": "overlay", "ipam": {"ranges": [[{"subnet": "10.40.0.0/16"}], [{"subnet": "fd40::/48"}]]}},
    "overlay, all": {
        "driver": "overlay", "ipam": {"ranges": [[{"subnet": "10.40.0.0/16"}]]}, "mtu": 1400, "hairpinMode": False,
        "macspoofchk": True, "masqueradeExcept": ["10.0.0.0/8"], "firewall": {"ingressPolicy": "routed"},
        "options": {"block": 26, "vni": 5000, "port": 4800, "direct": "never", f"{LABEL}.bridge.name": "br9"},
    },
}  # fmt: skip


def configured(given: dict[str, Any]) -> ConfiguredNetwork:
    document = {"cniVersion": "1.0.0", "name": "net", **given}
    return configured_network.read(request.network_of(document, Fields(document), CALL))


def recorded(network: ConfiguredNetwork, *, earlier: bool) -> NetworkRecord:
    record = network_description.describe(network, dict(network.spec.ipam.config), earlier=earlier)
    stored = json.loads(json.dumps(record._replace(published_only=not earlier).to_json()))
    return NetworkRecord.from_json(stored)


@pytest.mark.parametrize("earlier", [False, True], ids=["", "of 0.1.0"])
@pytest.mark.parametrize("given", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_the_same_network_again(given: dict[str, Any], earlier: bool) -> None:
    """Both ways of writing it are current for the record."""
    record = recorded(configured(given), earlier=earlier)
    shortest, whole = effective.shortest(record), effective.configuration(record)
    if record.driver != "overlay":  # its record has blocks, which the store gives
        assert network_description.is_current(record, configured(shortest)), shortest
    for given_again in (shortest, {key: value for key, value in whole.items() if value != ""}):
        again = configured(given_again)
        assert again.driver.settled(again.options, earlier=earlier) == record.options
    assert len(json.dumps(shortest)) <= len(json.dumps(whole))


@pytest.mark.parametrize(
    ("given", "shortest"),
    [
        ({}, {"ipam": {}}),
        ({"profile": "reference", "ipam": {}}, {"profile": "reference"}),
        ({"hairpinMode": False, "profile": "cnm"}, {"hairpinMode": False, "profile": "cnm"}),
        ({"bridge": "br1"}, {"bridge": "br1"}),
        ({"internal": True}, {"internal": True}),
    ],
)
def test_what_is_usual_is_left_out(given: dict[str, Any], shortest: dict[str, Any]) -> None:
    found = effective.shortest(recorded(configured(given), earlier=False))
    assert {key: value for key, value in found.items() if value} == {k: v for k, v in shortest.items() if v}


def test_the_examples_declare_what_their_networks_serve() -> None:
    """The capabilities of conf/ are those that `network create --conflist` writes."""
    for path in sorted((ROOT / "conf" / "cni-1.0.0").glob("*.conflist")):
        if path.stem in ("docker-plugin", "macvlan", "l2"):  # a plugin that is not here; macvlan publishes no ports
            continue
        [given] = json.loads(Path(path).read_text(encoding="utf-8"))["plugins"]
        record = recorded(configured({k: v for k, v in given.items() if k != "type"}), earlier=False)
        assert sorted(effective.capabilities(record)) == sorted(given["capabilities"]), path.name
