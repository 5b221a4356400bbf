"""The records that releases have left, as they are kept beside this file: read and written again they are the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cni_cnm.cnm.network import configured_network, network_description
from cni_cnm.cnm.records import EndpointRecord, NetworkRecord, PoolRecord, SandboxRecord
from cni_cnm.drivers.bridge_options import BridgeOptions
from cni_cnm.model import IpamSpec, NetworkSpec
from tests.upgrade.frozen import FOLDER, records
from tests.upgrade.versions import RELEASES

KINDS: dict[str, Any] = {
    "networks": NetworkRecord,
    "pools": PoolRecord,
    "endpoints": EndpointRecord,
    "sandboxes": SandboxRecord,
}
NEW: dict[str, set[str]] = {
    "networks": {"published_only"},
    "pools": {"requested"},
    "endpoints": {"docker_since", "netns_cookie", "parts", "pod", "published_only", "requested_ifname"},
    "sandboxes": set(),
}
"""Keys that this version writes and a release before it did not: what is listed here, a release must not need."""

DEFAULTS: dict[str, Any] = {
    "container_id": "", "ifname": "", "netns": "", "netns_inode": 0, "request_id": "", "host_ifname": "", "mac": "",
    "ipam_type": "", "ipam": {}, "lease": None, "device": None, "default_routes": [], "priority": 0, "aliases": [],
    "ports": [], "portmap": [True, False, [], []], "bandwidth": None, "tuning": None, "before": None, "guest": "",
    "wanted": [],
}  # fmt: skip
"""What every release takes for a key that an endpoint's record does not have."""
OPTIONS: dict[str, dict[str, Any]] = {
    "bridge": {
        "profile": "reference", "is_gateway": False, "default_gateway": False, "force_address": False,
        "masquerade": False, "mtu": 0, "hairpin": False, "promisc": False, "vlan": 0, "keep_default_vlan": False,
        "guard_mac": False, "dad": False, "container_up": True, "isolated_port": False, "internal": False,
        "ingress": "open", "zone": "", "admin_chain": "",
    },
    "macvlan": {
        "parent": "", "private": "", "vlan": False, "mode": "", "flag": "", "mtu": 0, "in_container": False,
        "default_route": False, "connected": False, "internal": False, "dad": False, "bc_queue": 0,
    },
    "chained": {
        "filters": False, "ingress": "open", "internal": False, "zone": "", "admin_chain": "", "bridge": "",
        "alone": False,
    },
}  # fmt: skip
"""The same of the options of drivers."""
LATER: dict[str, Any] = {
    "gateway_modes": ("routed", "nat"), "masquerade_except": ("10.244.0.0/16",), "addressless": (4,),
    "sources": ("192.0.2.1",), "trusted": ("up0",), "outside": "cnm-vx4096", "ip_hooks": True,
    "metric": 100, "unmanaged": True,
}  # fmt: skip
"""Options of a bridge that are new in this version, with values that are not their defaults."""
NUMBERS = {"mtu": None, "advmss": None, "priority": None, "table": None, "scope": None}
"""The same of a route."""

FROZEN = [
    pytest.param(kind, raw, id=f"{release}-{kind}-{name[:24]}")
    for release in RELEASES
    for kind in KINDS
    for name, raw in records(release, kind).items()
]


@pytest.mark.parametrize(("kind", "raw"), FROZEN)
def test_a_record_is_written_as_it_was_read(kind: str, raw: Any) -> None:
    """Every key with its value, so that the release understands what this version has changed.

    An endpoint's record leaves out what the release takes for given.
    """
    written = json.loads(json.dumps(KINDS[kind].from_json(raw).to_json()))
    written = {key: value for key, value in written.items() if key not in NEW[kind]}
    assert KINDS[kind].from_json(written) == KINDS[kind].from_json(raw)
    if kind == "endpoints":
        options = {**OPTIONS.get(raw["driver"], {}), **written["options"]}
        written = {**DEFAULTS, **written, "options": {key: options[key] for key in raw["options"]}}
        written["default_routes"] = [{**NUMBERS, **route} for route in written["default_routes"]]
        if written["lease"]:
            written["lease"]["routes"] = [{**NUMBERS, **route} for route in written["lease"]["routes"]]
    assert written == raw


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("kind", ["networks", "endpoints"])
def test_options_that_a_release_does_not_know(release: str, kind: str) -> None:
    """They are under a key of their own: among the others, the release would fail on the record after a downgrade."""
    raw = next(one for one in records(release, kind).values() if one["driver"] == "bridge")
    assert LATER.keys() == set(BridgeOptions._fields) - raw["options"].keys()
    record = KINDS[kind].from_json(raw)
    record = record._replace(options=record.options._replace(**LATER))
    written = json.loads(json.dumps(record.to_json()))
    assert written["options"].keys() <= raw["options"].keys()
    assert KINDS[kind].from_json(written) == record


@pytest.mark.parametrize("release", RELEASES)
def test_bridge_ports_of_a_release_have_no_hairpin(release: str) -> None:
    """Where nothing is configured, its networks go on as they are, and a new one has it."""
    found = [NetworkRecord.from_json(raw) for raw in records(release, "networks").values()]
    ours = [one for one in found if isinstance(one.options, BridgeOptions) and one.options.profile == "cnm"]
    assert ours
    for record in ours:
        spec = NetworkSpec(record.name, "bridge", {"profile": "cnm"}, IpamSpec(record.ipam_type, record.ipam))
        network = configured_network.read(spec)
        assert network_description.describe_again(network, record).options.to_json()["hairpin"] is False
        assert network_description.describe(network, record.ipam).options.to_json()["hairpin"] is True
        asked = configured_network.read(spec._replace(options={**spec.options, "hairpinmode": True}))
        assert network_description.describe_again(asked, record).options.to_json()["hairpin"] is True


@pytest.mark.parametrize("release", RELEASES)
def test_other_hosts_reach_networks_of_a_release_as_before(release: str) -> None:
    """Published ports only: that holds for networks of this version, and for endpoints on these."""
    for kind in ("networks", "endpoints"):
        for raw in records(release, kind).values():
            record = KINDS[kind].from_json(raw)
            assert record.policy.published_only == ()
            if raw["driver"] == "bridge" and raw["options"]["profile"] == "cnm":
                assert record._replace(published_only=True).policy.published_only == (4, 6)


@pytest.mark.parametrize("release", RELEASES)
def test_the_records_are_of_all_frontends(release: str) -> None:
    """Nothing of what the scene makes was left out when they were frozen."""
    endpoints = records(release, "endpoints").values()
    assert {raw["driver"] for raw in endpoints} == {"bridge", "chained", "macvlan"}
    assert {raw["owner"].partition("/")[0] for raw in endpoints} == {"cni", "docker", "library"}
    assert {raw["state"] for raw in endpoints} == {"ready", "created"}
    for key in ("ports", "bandwidth", "tuning", "before", "guest", "lease", "device", "default_routes"):
        assert any(raw[key] for raw in endpoints), key
    assert (FOLDER / release / "ruleset.nft").read_text(encoding="utf-8").startswith("table inet cni_cnm")
