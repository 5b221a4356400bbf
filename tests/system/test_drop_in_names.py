"""Called by the names of the reference plugins: a list of them becomes one endpoint with one record."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.names import Chain, behind, drop_in
from tests.program import program
from tests.side import REFERENCE, Side, require_reference

BRIDGE: dict[str, Any] = {
    "type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
}  # fmt: skip
PORTMAP: dict[str, Any] = {"type": "portmap", "capabilities": {"portMappings": True}}
FIREWALL: dict[str, Any] = {"type": "firewall", "ingressPolicy": "same-bridge"}
TUNING: dict[str, Any] = {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400}
PLUGINS = (BRIDGE, PORTMAP, FIREWALL, TUNING)
PORTS = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""}]}


@pytest.fixture
def links(tmp_path: Path) -> Path:
    return drop_in(tmp_path, ("bridge", "portmap", "firewall", "tuning", "bandwidth", "host-local", "static"))


@pytest.fixture
def side(tmp_path: Path, links: Path) -> Iterator[Side]:
    if os.geteuid():
        pytest.skip("network namespaces need root")
    require_reference()
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


def test_a_port_that_two_networks_of_a_container_request(chain: Chain, side: Side) -> None:
    """nerdctl sends the ports to all networks side by side. The one that joined first may publish last."""
    side.container("c1")
    joined = chain.call("ADD", 0).ok()
    other = {
        "cniVersion": "1.0.0", "name": "other", "ipam": {"ranges": [[{"subnet": "10.89.0.0/24"}]]},
        "capabilities": {"portMappings": True}, "runtimeConfig": PORTS,
    }  # fmt: skip
    side.call("ADD", other, ifname="eth1").ok()
    chain.call("ADD", 1, previous=joined.json, runtime=PORTS).ok()
    assert sorted(bool(record.get("ports")) for record in records(side)) == [False, True]
    side.call("DEL", other, ifname="eth1").ok()
    (record,) = records(side)
    assert record.get("ports")
    assert "8080" in ruleset(side)


def test_killed_between_two_plugins(chain: Chain, side: Side) -> None:
    """A runtime that is killed there has no result. Its DEL leaves nothing, and the next ADD works."""
    for until in (1, 2, 3):
        chain.add(runtime=PORTS, until=until).ok()
        chain.delete(netns="" if until == 2 else None)
        nothing_left(side)
    chain.add(runtime=PORTS).ok()
    chain.check(runtime=PORTS)
    chain.results.clear()
    chain.delete(order=(0, 1, 3, 2, 0), netns="")
    nothing_left(side)


@pytest.mark.long
def test_killed_at_any_moment(chain: Chain, side: Side) -> None:
    """200 kills, each of one plugin of the list at a random moment."""
    chosen = random.Random(18)
    side.container("c1")
    times = [0.5] * len(PLUGINS)
    for number in range(200):
        target, previous = chosen.randrange(len(PLUGINS)), None
        for index in range(target):
            previous = chain.call("ADD", index, previous=previous, runtime=PORTS).ok().json
        config = {**chain.config(target, **PORTS), **({"prevResult": previous} if previous else {})}
        command = side.node.command(str(chain.folder / PLUGINS[target]["type"]))
        environ = {
            **os.environ, "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1",
            "CNI_IFNAME": "eth0", "CNI_PATH": side.path,
        }  # fmt: skip
        began = time.monotonic()
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, start_new_session=True
        ) as child:
            assert child.stdin is not None
            child.stdin.write(json.dumps(config).encode())
            child.stdin.close()
            try:
                child.wait(chosen.uniform(0, times[target]))
                times[target] = time.monotonic() - began
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
        chain.delete(netns="" if number % 5 == 0 else None)
        nothing_left(side)


# beside the originals ---------------------------------------------------------


def test_a_list_of_the_originals_is_taken_down(chain: Chain, side: Side) -> None:
    """Made before the names were installed: CHECK is theirs, and DEL runs them. Nothing of theirs is left."""
    chain.version = "0.4.0"
    chain.add(runtime=PORTS, folder=REFERENCE).ok()
    assert "8080" in side.node.run("iptables-save").ok().out
    assert records(side) == []
    for index in range(4):  # Debian's portmap finds no chain for IPv6 and says so
        theirs = chain.call("CHECK", index, previous=chain.results["c1"], runtime=PORTS, folder=REFERENCE)
        assert chain.call("CHECK", index, previous=chain.results["c1"], runtime=PORTS).code == theirs.code
    chain.delete(runtime=PORTS)
    nothing_left(side)
    assert "8080" not in side.node.run("iptables-save").ok().out
    assert "10.88.0.2" not in side.node.run("iptables-save").ok().out


def test_a_list_of_both_is_taken_down_from_both(chain: Chain, side: Side) -> None:
    """`bridge` and `portmap` are the originals', the rest is ours: an endpoint on record beside their interface."""
    side.container("c1")
    answer = chain.call("ADD", 0, folder=REFERENCE).ok()
    for index, folder in ((1, REFERENCE), (2, chain.folder), (3, chain.folder)):
        answer = chain.call("ADD", index, previous=answer.json, runtime=PORTS, folder=folder).ok()
    (record,) = records(side)
    assert (record["driver"], record["parts"]) == ("chained", ["firewall", "tuning"])
    chain.results["c1"] = answer.json
    for index in (0, 2, 3):
        chain.call("CHECK", index, previous=answer.json).ok()
    chain.delete(runtime=PORTS)
    nothing_left(side)
    assert "8080" not in side.node.run("iptables-save").ok().out


def test_a_second_del_that_an_original_refuses(chain: Chain, side: Side) -> None:
    """Debian's `firewall` 1.1.1 fails on `isolated`, which ours serves. It has left nothing, so DEL ends."""
    chain.plugins = (BRIDGE, PORTMAP, {"type": "firewall", "ingressPolicy": "isolated"})
    chain.add(runtime=PORTS).ok()
    original = chain.call("DEL", 2, previous=chain.results["c1"], folder=REFERENCE)
    for _ in range(2):
        chain.delete(runtime=PORTS)
    nothing_left(side)
    assert original.json["code"] == 999


def test_addresses_for_an_original(chain: Chain, side: Side) -> None:
    """The original `bridge` with our `host-local`: a lease without a record, which stays until its DEL."""
    side.container("c1")
    conf = chain.config(0)
    made = side.call("ADD", conf, executable=REFERENCE / "bridge").ok()
    assert made.json["ips"][0]["address"] == "10.88.0.2/24"
    assert records(side) == []
    assert side.leases("net")["10.88.0.2"].split() == ["c1", "eth0"]
    side.call("CHECK", {**conf, "prevResult": made.json}, executable=REFERENCE / "bridge").ok()
    for _ in range(2):
        side.call("DEL", conf, executable=REFERENCE / "bridge").ok()
    assert not [name for name in side.leases("net") if name.startswith("10.")]


@pytest.mark.parametrize("pods", [24, pytest.param(1000, marks=pytest.mark.long)])
def test_one_store_with_the_original(chain: Chain, side: Side, pods: int) -> None:
    """Both `host-local` lease from one range at once: no address twice, none lost, and each releases the other's."""
    side.container("c1")
    ipam = {"type": "host-local", "subnet": "10.88.0.0/21"}
    conf = {"cniVersion": "1.0.0", "name": "net", "type": "any", "ipam": ipam}

    def call(verb: str, number: int, *, swapped: bool = False) -> Any:
        folder = (chain.folder, REFERENCE)[(number + swapped) % 2]
        answer = side.call(verb, conf, f"p{number}", netns="/run/netns/c1", executable=folder / "host-local").ok()
        return answer.json

    with ThreadPoolExecutor(8) as pool:
        given = [answer["ips"][0]["address"] for answer in pool.map(lambda n: call("ADD", n), range(pods))]
        assert len(set(given)) == pods
        assert len([name for name in side.leases("net") if name.startswith("10.")]) == pods
        list(pool.map(lambda n: call("DEL", n, swapped=True), range(pods)))
    assert not [name for name in side.leases("net") if name.startswith("10.")]
