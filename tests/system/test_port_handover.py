"""A pod that is made again at once gets its host port from the one that it replaces, whose DEL is on its way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.program import program
from tests.side import Answer, Side
from tests.system.test_ports import ask, conf, port, serve
from tests.waiting import until

CONFIG = conf(port(8080, 80), port(8080, 80, "udp"))
SETTINGS = "/etc/cni-cnm/config.toml"


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    made = Side(program(tmp_path), "cni-cnm")
    for name in ("old", "new"):
        made.container(name)
    yield made
    made.close()


def pod(uid: str, name: str = "web-0", namespace: str = "shop") -> str:
    return f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={uid}"


def records(side: Side) -> dict[str, dict[str, Any]]:
    """By container."""
    paths = side.node.files("/run/cni-cnm/endpoints")
    found = [json.loads(side.node.path(path).read_text(encoding="utf-8")) for path in paths]
    return {record["container_id"]: record for record in found}


def add_while_the_old_one_leaves(side: Side, args: str) -> Answer:
    """The ADD of the new pod begins first. It has its interface and waits for the port when the DEL is called."""
    with ThreadPoolExecutor() as threads:
        added = threads.submit(side.add, CONFIG, "new", args=args)
        until(lambda: "eth0" in side.node.links("/run/netns/new") or added.done(), "the new pod's interface")
        assert not added.done(), added.result()
        side.delete(CONFIG, "old", args=pod("1")).ok()
        return added.result()


@pytest.mark.parametrize("uid", ["2", "1"])
def test_the_same_pod_made_again(side: Side, uid: str) -> None:
    """By a pod of that name, whatever still runs in the old one. One of the same uid has to have ended."""
    side.node.write(SETTINGS, "port_wait = 30")
    side.add(CONFIG, "old", args=pod("1")).ok()
    if uid == "2":
        serve(side, "old", "tcp", 80)
    add_while_the_old_one_leaves(side, pod(uid)).ok()
    assert records(side)["new"]["pod"] == ["web-0", "shop", uid]
    serve(side, "new", "tcp", 80)
    assert ask(side, "tcp", "127.0.0.1", 8080) == "10.60.0.1"


def test_another_pod_after_one_that_has_ended(side: Side) -> None:
    """Nothing runs in the old pod any more, so its DEL is to be expected."""
    side.node.write(SETTINGS, "port_wait = 30")
    side.add(CONFIG, "old", args=pod("1")).ok()
    add_while_the_old_one_leaves(side, pod("2", "web-5d9c")).ok()


def test_a_namespace_that_is_gone(side: Side) -> None:
    """The same for a sandbox that the runtime has removed before the DEL."""
    side.node.write(SETTINGS, "port_wait = 30")
    side.add(CONFIG, "old", args=pod("1")).ok()
    side.node.run("ip", "netns", "del", "old").ok()
    add_while_the_old_one_leaves(side, pod("2", "web-5d9c")).ok()


def test_a_pod_that_stays_is_not_waited_for(side: Side) -> None:
    """Another pod's port: refused with its name. The limit of a wait is never reached."""
    side.node.write(SETTINGS, "port_wait = 30")
    side.add(CONFIG, "old", args=pod("1")).ok()
    serve(side, "old", "tcp", 80)
    for args in (pod("2", "other"), pod("2", namespace="garden"), pod("1"), ""):
        refused = side.add(CONFIG, "new", args=args)
        assert (refused.code, refused.json["code"]) == (1, 100)
        assert "net/old/eth0" in refused.json["msg"]
    assert side.node.links("/run/netns/new") == {"lo"}


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_wait_ends(side: Side, seconds: int) -> None:
    """If no DEL comes within `port_wait`: the same refusal, and nothing is left of the new pod."""
    side.node.write(SETTINGS, f"port_wait = {seconds}")
    side.add(CONFIG, "old", args=pod("1")).ok()
    refused = side.add(CONFIG, "new", args=pod("2"))
    assert (refused.code, refused.json["code"]) == (1, 100)
    assert list(records(side)) == ["old"]
    assert side.node.links("/run/netns/new") == {"lo"}
