"""`conf check` and an ADD agree: a file has an error if and only if the ADD of its first pod fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cni_cnm.cni.plugin import handle
from cni_cnm.cnm.controller import Controller
from cni_cnm.conflists import check as checks
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.unit.cni.engine import ENV
from tests.unit.conflists.files import put
from tests.unit.conflists.test_effective import CONFIGURATIONS

WORDS = st.sampled_from([
    "", "br0", "eth0", "a/b", "10.5.0.0/24", "10.5.0.1", "10.5.0.0", "10.5.0.1/24", "fd00:5::/64", "127.0.0.0/8",
    "true", "static", "host-local", "none", "isolated", "routed", "macvlan", "ptp", "null", "reference", "cnm",
])  # fmt: skip
VALUES = st.one_of(
    WORDS,
    st.booleans(),
    st.sampled_from([0, 1, 68, 1400, 5000, 70000, -1, 1.5, None]),
    st.lists(WORDS, max_size=2),
    st.dictionaries(st.sampled_from(["subnet", "id", "mtu", "ingressRate", "ingressBurst"]), WORDS, max_size=2),
)
KEYS = st.sampled_from([
    "profile", "driver", "bridge", "mtu", "vlan", "internal", "ipMasq", "isDefaultGateway", "hairpinMode",
    "promiscMode", "masqueradeExcept", "mac", "enableIPv6", "dns", "labels", "options", "owner", "allowOverlap",
    "disableContainerInterface", "portIsolation", "vlanTrunk", "enabledad", "bandwidth", "tuning", "firewall",
    "portmap", "ipMasqBackend", "macspoofchk", "preserveDefaultVlan", "forceAddress", "args", "runtimeConfig", "master",
    "mode",
])  # fmt: skip
IPAM = st.dictionaries(
    st.sampled_from(["type", "subnet", "gateway", "rangeStart", "rangeEnd", "ranges", "routes", "addresses"]),
    VALUES,
    max_size=3,
)


def agree(folder: Path, entry: dict[str, Any]) -> None:
    """Each on a host of its own."""
    path = put(folder, "10-net.conflist", "net", {"type": "cni-cnm", **entry})
    found = checks.check(path, memory_host(folder / "checked"), folder=str(folder), bin_folders=["/nowhere"])
    namespaces = MemoryNamespaces(vlan_filtering=True)
    namespaces.create(ENV["CNI_NETNS"])
    host = memory_host(folder / "added", namespaces)
    config = json.dumps({"cniVersion": "1.0.0", "name": "net", "type": "cni-cnm", **entry}).encode()
    reply = handle({**ENV, "CNI_PATH": "/nowhere"}, lambda: config, lambda: Controller(host), "cni-cnm", lambda: "test")
    errors = [one for one in found.findings if one.severity == checks.ERROR or "for this container" in one.message]
    assert bool(errors) == bool(reply.code), (errors, reply.out)
    if errors:
        answer = json.loads(reply.out)["msg"]
        assert any(one.message in answer or answer in one.message for one in errors), (errors, answer)


VALID = {
    name: entry
    for name, entry in CONFIGURATIONS.items()
    if entry.get("driver") != "overlay" and not entry.get("linkInContainer")
}
"""This host belongs to no cluster, and which links a container has is not known before."""


@pytest.mark.parametrize("entry", VALID.values(), ids=VALID)
def test_valid_ones(tmp_path: Path, entry: dict[str, Any]) -> None:
    agree(tmp_path, entry)


@given(entry=st.dictionaries(KEYS, VALUES, max_size=3), ipam=st.none() | IPAM)
@settings(max_examples=100, deadline=None)
def test_any(tmp_path_factory: pytest.TempPathFactory, entry: dict[str, Any], ipam: dict[str, Any] | None) -> None:
    agree(tmp_path_factory.mktemp("any"), entry if ipam is None else {**entry, "ipam": ipam})
