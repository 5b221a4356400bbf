"""Options of macvlan and ipvlan in both profiles, and every refusal."""

from __future__ import annotations

from typing import Any

import pytest

from cni_cnm.drivers import Role, drivers
from cni_cnm.drivers.parent_link_options import ParentLinkOptions, parse, split_vlan
from cni_cnm.errors import InvalidConfig
from cni_cnm.model import IpamSpec, NetworkSpec, digest

SUBNET = {"subnet": "192.0.2.0/24"}


def parsed(
    kind: str = "macvlan",
    *,
    internal: bool = False,
    profile: str = "cnm",
    ipam: dict[str, Any] | None = None,
    ipam_type: str = "host-local",
    **keys: Any,
) -> ParentLinkOptions:
    options = {"profile": profile, **{key.lower(): value for key, value in keys.items()}}
    return parse(kind, NetworkSpec("lan", kind, options, IpamSpec(ipam_type, ipam or {}), internal))


def labelled(kind: str = "macvlan", **labels: Any) -> ParentLinkOptions:
    return parsed(kind, ipam=SUBNET, labels=labels)


def test_docker_s_names() -> None:
    """parent, mode and MTU by Docker's option names; a default route by the subnet's gateway."""
    found = labelled(parent="eth0.50", macvlan_mode="private", **{"com.docker.network.driver.mtu": "1400"})
    assert found == ParentLinkOptions("eth0.50", vlan=True, mode="private", mtu=1400, default_route=True)
    found = labelled("ipvlan", parent="eth0", ipvlan_mode="l2", ipvlan_flag="vepa")
    assert found == ParentLinkOptions("eth0", vlan=True, mode="l2", flag="vepa", default_route=True)


def test_defaults() -> None:
    """Without options: mode bridge or l2 on the link of the default route."""
    assert labelled() == ParentLinkOptions(vlan=True, mode="bridge", default_route=True)
    assert labelled("ipvlan") == ParentLinkOptions(vlan=True, mode="l2", flag="bridge", default_route=True)


def test_reference_keys() -> None:
    """master, mode, mtu, linkInContainer and bcqueuelen; routes are for the IPAM, sub-interfaces for the host."""
    found = parsed(profile="reference", master="eth1", mode="vepa", mtu=1300, linkInContainer=True, bcqueuelen=2000)
    assert found == ParentLinkOptions("eth1", mode="vepa", mtu=1300, in_container=True, bc_queue=2000)
    assert parsed("ipvlan", profile="reference", mode="l3s") == ParentLinkOptions(mode="l3s", flag="bridge")


@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_routed_ipvlan_has_a_connected_default_route(mode: str) -> None:
    """No host answers for a gateway in l3: the route is the link, whatever the subnet; internal has none."""
    found = parsed("ipvlan", labels={"ipvlan_mode": mode})
    assert (found.default_route, found.connected) == (True, True)
    assert not parsed("ipvlan", labels={"ipvlan_mode": mode}, internal=True).default_route


@pytest.mark.parametrize(
    ("ipam_type", "ipam", "expected"),
    [
        ("host-local", {}, False),
        ("host-local", SUBNET, True),
        ("host-local", {"ranges": [[SUBNET]]}, True),
        ("static", {}, True),
        ("whereabouts", {}, True),
    ],
)
def test_a_subnet_from_the_pools_has_no_router(ipam_type: str, ipam: dict[str, Any], expected: bool) -> None:
    """A default route only where the configuration names the subnet, which the physical network then has."""
    assert parsed(ipam_type=ipam_type, ipam=ipam).default_route is expected


@pytest.mark.parametrize(("kind", "prefix"), [("macvlan", "dm"), ("ipvlan", "di")])
def test_internal_without_parent_has_one_of_its_own(kind: str, prefix: str) -> None:
    """Named as Docker names its dummy link; with a parent it stays that."""
    found = parsed(kind, internal=True, ipam=SUBNET)
    assert (found.private, found.default_route) == (f"{prefix}-{digest('lan')[:12]}", False)
    assert parsed(kind, internal=True, profile="reference").private
    found = parsed(kind, internal=True, labels={"parent": "eth0"})
    assert (found.private, found.parent, found.internal) == ("", "eth0", True)


@pytest.mark.parametrize(
    ("kind", "keys", "sentence"),
    [
        ("macvlan", {"labels": {"parent": "lo"}}, "lo cannot be"),
        ("macvlan", {"profile": "reference", "master": "lo"}, "lo cannot be"),
        ("macvlan", {"labels": {"parent": "a/b"}}, "it must be an interface name"),
        ("macvlan", {"labels": {"parent": "sixteen-letters-"}}, "it must be an interface name"),
        ("macvlan", {"labels": {"macvlan_mode": "l2"}}, "bridge, private, vepa, passthru"),
        ("macvlan", {"labels": {"macvlan_mode": 7}}, "must be a string"),
        ("macvlan", {"labels": {"ipvlan_mode": "l2"}}, "does not know the option ipvlan_mode"),
        ("macvlan", {"labels": {"com.docker.network.bridge.name": "b"}}, "does not know the option"),
        ("ipvlan", {"labels": {"ipvlan_mode": "bridge"}}, "l2, l3, l3s"),
        ("ipvlan", {"labels": {"ipvlan_flag": "l2"}}, "bridge, private, vepa"),
        ("ipvlan", {"labels": {"macvlan_mode": "bridge"}}, "does not know"),
        ("macvlan", {"profile": "reference", "mode": "l3"}, "mode is 'l3'"),
        ("macvlan", {"profile": "reference", "mtu": 67}, "mtu is 67"),
        ("macvlan", {"mtu": 65536}, "mtu is 65536"),
        ("macvlan", {"profile": "reference", "linkInContainer": "maybe"}, "linkInContainer"),
        ("macvlan", {"profile": "reference", "linkInContainer": True, "internal": True}, "master named"),
        ("macvlan", {"profile": "reference", "bcqueuelen": -1}, "bcqueuelen"),
        ("macvlan", {"profile": "reference", "labels": {"parent": "eth0"}}, "beside keys"),
        ("macvlan", {"master": "eth0"}, "the cnm profile does not read"),
        ("ipvlan", {"mode": "l2"}, "the cnm profile does not read"),
        ("macvlan", {"ingressPolicy": "isolated"}, "needs a bridge"),
    ],
)
def test_refusals(kind: str, keys: dict[str, Any], sentence: str) -> None:
    """Every wrong value is refused with its key."""
    with pytest.raises(InvalidConfig, match=sentence):
        parsed(kind, **keys)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("eth0.50", ("eth0", 50)),
        ("bond0.2.4094", ("bond0.2", 4094)),
        ("eth0", ("", 0)),
        ("eth0.0", ("", 0)),
        ("eth0.4095", ("", 0)),
        (".5", ("", 0)),
        ("eth0.x", ("", 0)),
        ("", ("", 0)),
    ],
)
def test_sub_interface_names(name: str, parts: tuple[str, int]) -> None:
    """LINK.VLAN with VLANs 1 to 4094."""
    assert split_vlan(name) == parts


def test_options_survive_the_record() -> None:
    """What the record keeps reads back the same."""
    found = labelled("ipvlan", parent="eth0.7", ipvlan_mode="l3")
    assert ParentLinkOptions.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("kind", "labels", "own_mac"),
    [("macvlan", {}, True), ("macvlan", {"macvlan_mode": "passthru"}, False), ("ipvlan", {}, False)],
)
def test_roles(kind: str, labels: dict[str, str], own_mac: bool) -> None:
    """Whose MAC an interface has; none of them has an end on the host."""
    driver = drivers.get(kind)
    role = driver.role(parsed(kind, ipam=SUBNET, labels=labels))
    assert role == Role(mac="derived" if own_mac else "inherited", outside="parent", default_route=True)
    assert not driver.policy(parsed(kind)).isolates
