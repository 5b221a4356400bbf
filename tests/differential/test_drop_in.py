"""Lists of plugins called by their names, beside the originals: each plugin's answer to the same configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.names import Chain, behind, drop_in
from tests.side import REFERENCE, Side, normal

RANGES = [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]]
BRIDGE: dict[str, Any] = {
    "type": "bridge", "bridge": "cni0", "isDefaultGateway": True, "ipMasq": True,
    "ipam": {"type": "host-local", "ranges": RANGES},
}  # fmt: skip
LIST: tuple[dict[str, Any], ...] = (
    BRIDGE,
    {"type": "portmap", "capabilities": {"portMappings": True}},
    {"type": "firewall", "ingressPolicy": "same-bridge"},
    {"type": "bandwidth", "ingressRate": 10**7, "ingressBurst": 10**6, "egressRate": 10**7, "egressBurst": 10**6},
    {"type": "tuning", "mtu": 1400, "mac": "02:42:0a:58:00:07", "sysctl": {"net.core.somaxconn": "500"}},
)
PORTS = {"portMappings": [{"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": ""}]}
WRONG: tuple[dict[str, Any], ...] = (
    {"type": "bridge", "vlan": 5000},
    {"type": "bridge", "hairpinMode": True, "promiscMode": True},
    {"type": "bridge", "ipam": {"type": "host-local"}},
    {"type": "host-local"},
    {"type": "host-local", "ipam": {"type": "host-local", "subnet": "10.88.0.0/32"}},
    {"type": "static", "ipam": {"type": "static", "addresses": [{"address": "10.88.0.5"}]}},
    {"type": "portmap", "runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "tcp"}]}},
    {"type": "firewall"},
    {"type": "firewall", "cniVersion": "0.3.1"},
    {"type": "bandwidth", "ingressRate": 1000},
    {"type": "tuning"},
    {"type": "tuning", "cniVersion": "9.9.9"},
    {"type": "bridge", "name": ""},
    {"type": "portmap", "name": "a/b"},
)
"""Configurations of an ADD without a result before it."""


@pytest.fixture
def both(ours: Side, reference: Side, tmp_path: Path) -> tuple[Side, Side, Path]:
    links = drop_in(tmp_path, [*{plugin["type"] for plugin in (*LIST, *WRONG)}])
    behind(ours, links)
    for side in (ours, reference):
        side.container("c1")
    return ours, reference, links


@pytest.mark.quick("cni-cnm-1.0.0")
@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_results(both: tuple[Side, Side, Path], version: str) -> None:
    """Of each plugin of the list; and what the container and the host have after it, and after DEL."""
    ours, reference, links = both
    chains = Chain(ours, LIST, links), Chain(reference, LIST, REFERENCE)
    results: list[Any] = [None, None]
    for index in range(len(LIST)):
        for number, chain in enumerate(chains):
            chain.version = version
            results[number] = chain.call("ADD", index, previous=results[number], runtime=PORTS).ok().json
            chain.results["c1"] = results[number]
        mine, theirs = (normal(result) for result in results)
        for result in (mine, theirs):
            result["interfaces"] = [{**one, "name": one["name"][:3]} for one in result["interfaces"]]
        assert mine == theirs, LIST[index]["type"]
    assert results[0]["interfaces"][2]["mac"] == "02:42:0a:58:00:07"
    chains[0].check(runtime=PORTS)
    for chain in chains:
        chain.delete(runtime=PORTS)
    mine, theirs = (side.state() for side in (ours, reference))
    assert mine["c1"]["links"] == theirs["c1"]["links"]
    assert mine["host"]["links"].keys() == theirs["host"]["links"].keys()


def test_refusals(both: tuple[Side, Side, Path], newest: Path) -> None:
    """The code of the error is the newest reference's, and so is success."""
    ours, reference, links = both
    different = []
    for wrong in WRONG:
        conf = {"cniVersion": "1.0.0", "name": "net", **wrong}
        mine = ours.call("ADD", conf, executable=links / wrong["type"])
        theirs = reference.call("ADD", conf, executable=newest / wrong["type"])
        if (mine.code, (mine.json or {}).get("code")) != (theirs.code, (theirs.json or {}).get("code")):
            different.append((wrong, mine.json, theirs.json))
    assert different == []
