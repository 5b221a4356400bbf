"""Blocks of addresses over hosts with a real etcd: a second one, and what an operator does with networks and hosts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.waiting import until

if TYPE_CHECKING:
    from tests.overlay.conftest import Trio

TINY = ("tiny", "--subnet", "10.36.0.0/26", "-o", "block=29", "-o", "direct=never")


def test_a_second_block_is_reached_from_other_hosts(trio: Trio) -> None:
    """Of a block of eight addresses five are given. The sixth container is in a further block."""
    trio.one.create(TINY)
    away = trio.two.pod("tiny")
    pods = [trio.one.pod("tiny") for _ in range(6)]
    shown = json.loads(trio.one.cnm("network", "inspect", "tiny").ok().out)[0]
    assert len(shown["cluster"]["blocks"]) == 2
    assert {name: len(host["blocks"]) for name, host in shown["cluster"]["hosts"].items()} == {"node1": 2, "node2": 1}
    for host in trio.hosts[:2]:
        host.wait_ready("tiny")
    for pod in (pods[0], pods[5]):
        until(lambda pod=pod: pod.reaches(away) and away.reaches(pod), f"{pod.address} and the other host", 20)  # type: ignore[misc]
    assert pods[0].reaches(pods[5]), "containers of two blocks of one host"
    for pod in pods:
        pod.check().ok()
        pod.delete().ok()
    said = trio.one.cnm("network", "rm", "--cluster", "tiny")
    assert said.code == 1
    assert "the network tiny has blocks on node2" in said.err
    away.delete().ok()
    trio.two.cnm("network", "rm", "tiny").ok()
    trio.one.cnm("network", "rm", "--cluster", "tiny").ok()
    assert not [key for key in trio.lab.etcd.stored() if "/tiny" in key]
    assert "no overlay network tiny" in trio.one.cnm("network", "rm", "--cluster", "tiny").err


def test_another_value_is_refused_and_named(trio: Trio) -> None:
    said = trio.one.cnm("network", "create", "--driver", "overlay", "-o", "block=26", "web")
    assert said.code == 1
    trio.two.pod("web")
    config = {"cniVersion": "1.1.0", "name": "web", "driver": "overlay", "options": {"block": 26}}
    status = trio.two.side.call("STATUS", config)
    assert (status.code, status.json["code"]) == (1, 50)
    assert "block 26" in status.json["msg"]
    assert "24" in status.json["msg"]


def test_hosts(trio: Trio) -> None:
    """Listed with their state; one that shows life is not removed by mistake, and one that is gone frees its blocks."""
    gone = trio.lab.host("gone")
    pod = gone.pod("web")
    until(lambda: "gone" in trio.one.cnm("node", "ls").ok().out, "the host is announced", 20)
    lines = trio.one.cnm("node", "ls").ok().out.splitlines()
    assert lines[0].split() == ["NODE", "STATE", "ADDRESSES", "BLOCKS", "INSTANCE"]
    assert any(line.startswith("node1 *") and "alive" in line and "192.0.2.11" in line for line in lines)
    found = json.loads(trio.one.cnm("node", "inspect", "gone").ok().out)[0]
    block = pod.address.rsplit(".", 1)[0]
    assert found["blocks"]["web"][0].startswith(f"{block}.0/24 ")
    refused = trio.one.cnm("node", "rm", "gone")
    assert refused.code == 1
    assert "gone" in refused.err
    assert "--force" in refused.err
    assert "there is no host 'absent'" in trio.one.cnm("node", "inspect", "absent").err
    gone.power_off()
    removed = trio.one.cnm("node", "rm", "--force", "gone").ok()
    assert removed.out == "gone\n"
    assert f"{block}.0/24" in removed.err
    assert "gone" not in trio.one.cnm("node", "ls").ok().out
