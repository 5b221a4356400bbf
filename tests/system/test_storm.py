"""Many at once: no address twice, and nothing left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.program import program
from tests.side import Side


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    made = Side(program(tmp_path), "cni-cnm")
    yield made
    made.close()


def config(number: int) -> dict[str, Any]:
    """Four networks: two of Docker's kind, one of them choosing its subnet, and two as the reference bridge."""
    kinds: list[dict[str, Any]] = [
        {"name": "chosen"},
        {"name": "cnm", "ipam": {"subnet": "10.61.0.0/16"}},
        {"name": "dual", "bridge": "dual0", "isDefaultGateway": True,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.62.0.0/24"}], [{"subnet": "fd00:62::/64"}]]}},
        {"name": "masq", "bridge": "masq0", "isGateway": True, "ipMasq": True, "macspoofchk": True,
         "ipam": {"type": "host-local", "subnet": "10.63.0.0/24"}},
    ]  # fmt: skip
    return {"cniVersion": "1.0.0", **kinds[number % 4]}


@pytest.mark.parametrize("pods", [pytest.param(100, id="100")])
def test_hundred_pods_on_four_networks(side: Side, pods: int) -> None:
    """A hundred ADDs 16 at a time, and the mirror DELs, the first of them making their networks together."""
    for number in range(pods):
        side.container(f"c{number}")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: side.add(config(n), f"c{n}").ok().json, range(pods)))
    given = [ip["address"] for answer in answers for ip in answer["ips"]]
    assert len(given) == len(set(given)) == pods + pods // 4
    endpoints = json.loads(side.node.run("ip", "-j", "link", "show", "type", "veth").out)
    assert len(endpoints) == pods
    with ThreadPoolExecutor(16) as pool:
        for answer in pool.map(lambda n: side.delete(config(n), f"c{n}"), range(pods)):
            answer.ok()
    assert json.loads(side.node.run("ip", "-j", "link", "show", "type", "veth").out or "[]") == []
    for network in ("chosen", "cnm", "dual", "masq"):
        assert {name for name in side.leases(network) if not name.startswith("last")} == set()
    assert side.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()


def test_one_container_from_all_sides(side: Side) -> None:
    """ADD and DEL of one container at the same time, again and again: whatever wins, the last DEL leaves nothing."""
    side.container("c1")
    with ThreadPoolExecutor(8) as pool:
        verbs = ["ADD", "DEL"] * 16
        answers = list(pool.map(lambda verb: side.call(verb, config(3)), verbs))
    assert all(a.code == 0 or a.json["code"] in (11, 104) for a in answers), [a.json for a in answers if a.code]
    side.delete(config(3)).ok()
    assert {name for name in side.leases("masq") if not name.startswith("last")} == set()
    assert side.state()["c1"]["links"].keys() == {"lo"}


def test_two_networks_choose_different_subnets_at_once(side: Side) -> None:
    """Twelve networks without a subnet, made at the same time: twelve subnets that do not overlap."""
    for number in range(12):
        side.container(f"c{number}")
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda n: side.add({"cniVersion": "1.0.0", "name": f"n{n}"}, f"c{n}").ok().json, range(12))
        )
    gateways = {answer["ips"][0]["gateway"] for answer in answers}
    assert len(gateways) == 12
