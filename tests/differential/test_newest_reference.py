"""Beside the newest reference plugins: CNI 1.1.0, keys that are newer than Debian's version, and cnitool.

scripts/reference builds them. Without them these tests are skipped; the other tests of this folder run with them, too:
CNI_CNM_REFERENCE=$(scripts/reference) scripts/test tests/differential
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.differential.test_bridge import V4, V6, both_add, both_delete, bridge
from tests.program import program
from tests.side import Answer, Side, normal

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def reference(newest: Path, require_root: None) -> Iterator[Side]:
    side = Side(newest / "bridge", "bridge")
    yield side
    side.close()


@pytest.fixture
def mine(newest: Path, tmp_path: Path, require_root: None) -> Iterator[Side]:
    side = Side(program(tmp_path), "cni-cnm", (newest,))
    yield side
    side.close()


KEYS: dict[str, dict[str, Any]] = {
    "default gateway": {"isDefaultGateway": True},
    "dual": {"isDefaultGateway": True, "ipam": {"ranges": V4 + V6}},
    "masquerade in nftables": {"isDefaultGateway": True, "ipMasq": True, "ipMasqBackend": "nftables"},
    "isolated ports": {"isGateway": True, "portIsolation": True},
    "routes with mtu and metric": {
        "isGateway": True,
        "ipam": {"ranges": V4, "routes": [{"dst": "10.99.0.0/16", "mtu": 1400, "priority": 50}]},
    },
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
@pytest.mark.quick("1.1.0-dual", "1.0.0-masquerade in nftables", "1.1.0-isolated ports")
def test_bridge(mine: Side, reference: Side, version: str, keys: dict[str, Any]) -> None:
    """The same result, links, addresses, routes, sysctls and leases."""
    config = bridge(version, **keys)
    both_add(mine, reference, config)
    both_delete(mine, reference, config)


def test_an_interface_that_stays_down(mine: Side, reference: Side) -> None:
    """disableContainerInterface: no addresses, and the container's interface is down."""
    config = bridge("1.1.0", {}, disableContainerInterface=True)
    both_add(mine, reference, config)
    both_delete(mine, reference, config)


@pytest.mark.parametrize("verb", ["STATUS", "GC"])
def test_verbs_of_1_1(mine: Side, reference: Side, verb: str) -> None:
    """STATUS succeeds; GC with the container in the list keeps its interface and its lease."""
    config = bridge("1.1.0", isGateway=True)
    both_add(mine, reference, config)
    valid = {"cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]} if verb == "GC" else {}
    for side in (mine, reference):
        side.call(verb, {**config, **valid}).ok()
    assert mine.state() == reference.state()
    assert mine.leases("net") == reference.leases("net")


def cnitool(side: Side, newest: Path, verb: str) -> Answer:
    ports = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
    environment = {
        "CNI_PATH": side.path,
        "NETCONFPATH": "/etc/cni/net.d",
        "CAP_ARGS": json.dumps({"portMappings": ports}),
    }
    done = side.node.run(str(newest / "cnitool"), verb, "net", "/run/netns/c1", env=environment)
    return Answer(done.code, json.loads(done.out) if verb == "add" and not done.code else None, done.err + done.out)


def test_cnitool(mine: Side, reference: Side, newest: Path) -> None:
    """The newest libcni drives the whole chain, or our one plugin: add, check, status, del; nothing is left."""
    nftables = {"ipMasq": True, "ipMasqBackend": "nftables", "ipam": {"type": "host-local", "ranges": V4}}
    link: dict[str, Any] = {"type": "bridge", "bridge": "cni0", "isDefaultGateway": True, **nftables}
    ports: dict[str, Any] = {"capabilities": {"portMappings": True}}
    chain = [link, {"type": "portmap", "backend": "nftables", **ports}]
    single = {**link, **ports, "type": "cni-cnm", "portmap": {}}
    results = []
    for side, plugins in ((mine, [single]), (reference, chain)):
        side.container("c1")
        document = {"cniVersion": "1.1.0", "name": "net", "plugins": plugins}
        side.node.write("/etc/cni/net.d/10-net.conflist", json.dumps(document))
        results.append(normal(cnitool(side, newest, "add").ok().json))
        cnitool(side, newest, "check").ok()
        cnitool(side, newest, "status").ok()
    assert results[0] == results[1]
    assert mine.state()["c1"] == reference.state()["c1"]
    for side in (mine, reference):
        cnitool(side, newest, "del").ok()
        assert not [name for name in side.leases("net") if name[0].isdigit()]
    assert mine.state() == reference.state()
