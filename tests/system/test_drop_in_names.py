"""Called by the names of the reference plugins: a list of them becomes one endpoint with one record."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.names import Chain, behind, drop_in
from tests.program import program
from tests.side import Side

BRIDGE: dict[str, Any] = {
    "type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
}  # fmt: skip
PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}
FIREWALL = {"type": "firewall", "ingressPolicy": "same-bridge"}
TUNING = {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400}
PLUGINS = (BRIDGE, PORTMAP, FIREWALL, TUNING)
PORTS = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""}]}


@pytest.fixture
def links(tmp_path: Path) -> Path:
    return drop_in(tmp_path, ("bridge", "portmap", "firewall", "tuning", "bandwidth", "host-local", "static"))


@pytest.fixture
def side(tmp_path: Path, links: Path) -> Iterator[Side]:
    if os.geteuid():
        pytest.skip("network namespaces need root")
    made = Side(program(tmp_path), "cni-cnm")
    behind(made, links)
    yield made
    made.close()


@pytest.fixture
def chain(side: Side, links: Path) -> Chain:
    return Chain(side, PLUGINS, links)


def records(side: Side) -> list[Any]:
    folder = side.node.path("/run/cni-cnm/endpoints")
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))] if folder.exists() else []


def ruleset(side: Side) -> str:
    return side.node.run("nft", "list", "ruleset").ok().out


def nothing_left(side: Side, network: str = "net") -> None:
    assert records(side) == []
    assert side.node.files("/run/cni-cnm/sandboxes") == set()
    assert {name for name in side.leases(network) if not name.startswith("last_reserved")} == set()
    assert f"{network}/c" not in ruleset(side)
    assert [name for name in side.node.links() if name.startswith(("veth", "bwp"))] == []


def test_a_list_is_one_endpoint(chain: Chain, side: Side) -> None:
    """ADD, CHECK and DEL of nerdctl's list: one record with all parts, one published port, and nothing after DEL."""
    answer = chain.add(runtime=PORTS).ok()
    (record,) = records(side)
    assert record["parts"] == ["portmap", "firewall", "tuning"]
    assert [link["name"] for link in answer.json["interfaces"]][::2] == ["cni0", "eth0"]
    assert "8080" in ruleset(side)
    chain.check(runtime=PORTS)
    chain.delete(runtime=PORTS)
    nothing_left(side)
