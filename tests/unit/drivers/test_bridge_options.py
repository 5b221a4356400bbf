"""Options of the bridge driver in both profiles, and every refusal."""

from __future__ import annotations

from typing import Any

import pytest

from cni_cnm.drivers import firewall_options
from cni_cnm.drivers.bridge_options import BridgeOptions, bridge_name, parse
from cni_cnm.drivers.bridge_vlan import wanted
from cni_cnm.errors import InvalidConfig
from cni_cnm.kernel import Vlan
from cni_cnm.model import IpamSpec, IPNetwork, NetworkSpec


def parsed(
    ipam: str = "host-local", *, internal: bool = False, profile: str = "reference", **keys: Any
) -> BridgeOptions:
    options = {key.lower(): value for key, value in keys.items()}
    return parse(NetworkSpec("net", options={"profile": profile, **options}, ipam=IpamSpec(ipam), internal=internal))


def test_reference_defaults() -> None:
    """Without keys: the reference's defaults."""
    assert parsed() == BridgeOptions("cni0")


def test_default_gateway_implies_gateway() -> None:
    """isDefaultGateway implies isGateway."""
    options = parsed(isDefaultGateway=True)
    assert (options.is_gateway, options.default_gateway) == (True, True)


def test_cnm_defaults_are_docker_s() -> None:
    """A network of one line: its own bridge, gateway, default route, masquerade."""
    options = parsed(profile="cnm")
    assert options.bridge == bridge_name("net") == "br-" + options.bridge[3:]
    assert len(options.bridge) == 15
    assert (options.is_gateway, options.default_gateway, options.masquerade) == (True, True, True)


def test_cnm_labels() -> None:
    """libnetwork's labels, whose values are text."""
    labels = {
        "com.docker.network.bridge.name": "docker9",
        "com.docker.network.bridge.enable_ip_masquerade": "false",
        "com.docker.network.driver.mtu": "1400",
    }
    options = parsed(profile="cnm", labels=labels)
    assert (options.bridge, options.masquerade, options.mtu) == ("docker9", False, 1400)


@pytest.mark.parametrize("profile", ["cnm", "reference"])
def test_internal_has_no_way_out(profile: str) -> None:
    """internal: no default route and no masquerade, whatever else is said."""
    keys: dict[str, Any] = {"isDefaultGateway": True, "ipMasq": True} if profile == "reference" else {}
    options = parsed(profile=profile, internal=True, **keys)
    assert (options.default_gateway, options.masquerade) == (False, False)


def test_json_round_trip() -> None:
    """The record's JSON gives the same options back."""
    options = parsed(vlanTrunk=[{"minID": 5, "maxID": 7}, {"id": 6}], mtu=1400)
    assert BridgeOptions.from_json(options.to_json()) == options
    assert options.trunk == (5, 6, 7)


@pytest.mark.parametrize("profile", ["cnm", "reference"])
def test_destinations_that_are_not_masqueraded(profile: str) -> None:
    """In both profiles, each once, without those that another one holds; nothing is recorded where there are none."""
    given = ["10.244.1.0/24", "fd00:1::/32", "10.244.0.0/16", "10.244.0.0/16", "192.0.2.1/32"]
    options = parsed(profile=profile, masqueradeExcept=given)
    assert options.masquerade_except == ("fd00:1::/32", "10.244.0.0/16", "192.0.2.1/32")
    assert BridgeOptions.from_json(options.to_json()) == options
    assert "masquerade_except" not in parsed(profile=profile).to_json()


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"hairpinMode": True, "promiscMode": True}, "hairpinMode and promiscMode cannot both be set"),
        ({"disableContainerInterface": True}, "disableContainerInterface"),
        ({"bridge": "a/b"}, "an interface name"),
        ({"bridge": "x" * 16}, "an interface name"),
        ({"bridge": ".."}, "an interface name"),
        ({"bridge": "br%d"}, "an interface name"),
        ({"bridge": "all"}, "an interface name"),
        ({"bridge": 7}, "must be a string"),
        ({"isGateway": "perhaps"}, "must be true or false"),
        ({"masqueradeExcept": "10.0.0.0/8"}, 'masqueradeExcept is "10.0.0.0/8", it must be a list'),
        ({"masqueradeExcept": ["10.0.0.1/8"]}, 'masqueradeExcept is "10.0.0.1/8", it must be a network'),
        ({"mtu": 20}, "mtu is 20"),
        ({"mtu": -1}, "mtu is -1"),
        ({"mtu": 1.5}, "whole number"),
        ({"mtu": True}, "whole number"),
        ({"vlan": 4095}, "between 0 and 4094"),
        ({"vlan": -1}, "between 0 and 4094"),
        ({"vlanTrunk": {"id": 1}}, "vlanTrunk is an object, it must be a list"),
        ({"vlanTrunk": [7]}, r"vlanTrunk\[0\] is 7, it must be an object"),
        ({"vlanTrunk": [{}]}, r"vlanTrunk\[0\].id is missing"),
        ({"vlanTrunk": [{"id": 4095}]}, "between 1 and 4094"),
        ({"vlanTrunk": [{"id": 0}]}, "between 1 and 4094"),
        ({"vlanTrunk": [{"minID": 5}]}, "maxID must be given together"),
        ({"vlanTrunk": [{"maxID": 5}]}, "maxID must be given together"),
        ({"vlanTrunk": [{"minID": 9, "maxID": 5}]}, "minID is 9, it must be at most maxID"),
        ({"labels": {"com.docker.network.driver.mtu": "1400"}}, "options are given beside keys of the reference"),
        ({"ipMasqBackend": "pf"}, "must be 'iptables' or 'nftables'"),
        ({"profile": "cnm", "bridge": "cni0"}, "bridge is a key of the reference bridge plugin"),
        ({"profile": "cnm", "ipMasq": False}, "ipMasq is a key of the reference bridge plugin"),
        ({"profile": "cnm", "labels": {"com.docker.network.bridge.nope": "1"}}, "does not know the option"),
    ],
)
def test_refusals(keys: dict[str, Any], sentence: str) -> None:
    """Wrong values are refused in one sentence that names the key."""
    with pytest.raises(InvalidConfig, match=sentence):
        parsed(**keys)


@pytest.mark.parametrize(
    ("keys", "vlans"),
    [
        ({"vlan": 100}, [Vlan(100, True, True)]),
        ({"vlan": 100, "preserveDefaultVlan": True}, [Vlan(100, True, True), Vlan(1, False, True)]),
        ({"vlanTrunk": [{"id": 101}]}, [Vlan(1, True, True), Vlan(101)]),
        ({"vlan": 100, "vlanTrunk": [{"id": 101}]}, [Vlan(100, True, True), Vlan(101)]),
    ],
)
def test_vlans_of_a_port(keys: dict[str, Any], vlans: list[Vlan]) -> None:
    """Which VLANs an endpoint's port carries, as the reference sets them."""
    assert wanted(parsed(**keys)) == vlans


def test_thousands_of_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is compared with one that may hold it, not with all others."""
    compared: list[object] = []
    holds = firewall_options._holds

    def count(outer: IPNetwork, inner: IPNetwork) -> bool:
        compared.append(inner)
        return holds(outer, inner)

    monkeypatch.setattr(firewall_options, "_holds", count)
    each = [f"11.{number >> 8}.{number & 255}.0/24" for number in range(3000)]
    assert len(parsed(profile="cnm", masqueradeExcept=each).masquerade_except) == 3000
    assert len(parsed(profile="cnm", masqueradeExcept=["11.0.0.0/8", *each, "fd00::/8"]).masquerade_except) == 2
    assert len(compared) < 3 * 3000
