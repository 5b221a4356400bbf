"""`cni-cnm gc`: two looks at the runtimes' lists, on a kernel in memory."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from cni_cnm.cli import gc
from cni_cnm.cnm.reconcile.difference import Outcome
from cni_cnm.cnm.records import endpoint_records
from cni_cnm.errors import DriverFailed
from cni_cnm.model import EndpointSpec, IpamSpec, NetworkSpec, Pod
from cni_cnm.runtimes import unlisted
from cni_cnm.runtimes.runtime import Runtime
from cni_cnm.state.store import ENDPOINTS
from tests.unit.drivers.world import World

NET = NetworkSpec(
    "net",
    "bridge",
    {"profile": "cnm", "labels": {"com.docker.network.bridge.name": "br9"}},
    IpamSpec("host-local", {"subnet": "10.9.0.0/24"}),
)


class Gc:
    """A host with the pods a and b of containerd, which answers each question with the next of `lists`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lists: list[frozenset[str]] = []
        self.pauses: list[float] = []
        for name in "ab":
            pod = Pod(name, "shop", f"uid-{name}")
            world.controller.attach(NET, EndpointSpec(name, "eth0", f"/netns/{name}", "cni/containerd", pod=pod))
        for name in world.engine.store.names(ENDPOINTS):
            os.utime(world.engine.store.place(ENDPOINTS, name), (0, 0))

    def run(self, *lists: str, yes: bool = True) -> int:
        self.lists = [frozenset(one) for one in lists]
        return gc.collect(Namespace(yes=yes))

    def left(self) -> list[str]:
        return sorted(record.container_id for record in endpoint_records(self.world.engine.store))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gc:
    host = Gc(World(tmp_path))
    runtime = Runtime("containerd", frozenset(("cni/containerd",)), lambda: host.lists.pop(0))
    monkeypatch.setattr(gc, "ALL", (runtime,))
    monkeypatch.setattr(gc, "open_controller", lambda: host.world.controller)
    monkeypatch.setattr("time.sleep", host.pauses.append)
    return host


def test_what_is_missing_twice_is_removed(host: Gc, capsys: pytest.CaptureFixture[str]) -> None:
    assert host.run("b", "b") == 0
    assert host.pauses == [60]
    assert host.left() == ["b"]
    assert capsys.readouterr().out.splitlines() == [
        "the endpoint net/a/eth0 (shop/a): containerd does not have its container",
        "the endpoint net/a/eth0 (shop/a): containerd does not have its container; it was removed",
    ]


def test_what_comes_back_or_goes_later_stays(host: Gc, capsys: pytest.CaptureFixture[str]) -> None:
    """containerd, started again, may list some of its containers only a moment later."""
    assert host.run("b", "ab") == 0
    assert "net/a/eth0 (shop/a): containerd does not have its container; it is kept" in capsys.readouterr().err
    assert host.run("b", "a") == 0
    assert host.left() == ["a", "b"]


def test_a_process_that_comes_meanwhile(
    host: Gc, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Just before the removal."""
    monkeypatch.setattr(unlisted, "remove", lambda *_: False)
    assert host.run("b", "b") == 0
    assert "it is kept: it has changed, or a process has come" in capsys.readouterr().err
    assert host.left() == ["a", "b"]


def test_without_yes_nothing_is_removed(host: Gc, capsys: pytest.CaptureFixture[str]) -> None:
    assert host.run("b", yes=False) == 0
    assert host.left() == ["a", "b"]
    assert "nothing was removed" in capsys.readouterr().err


def test_what_cannot_be_removed_is_said(
    host: Gc, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> bool:
        raise DriverFailed("the plugin does not answer")

    monkeypatch.setattr(unlisted, "remove", fails)
    assert host.run("b", "b") == 1
    assert "it was not removed: the plugin does not answer" in capsys.readouterr().err
    assert host.left() == ["a", "b"]


def test_one_that_cannot_be_taken_down_does_not_keep_the_others(host: Gc, monkeypatch: pytest.MonkeyPatch) -> None:
    """The namespace of a is gone, and its address cannot be released; the runtime does not have b."""
    host.world.namespaces.remove("/netns/a")

    def fails(*_: object) -> Iterator[Outcome]:
        yield Outcome("a: it was not taken down", "failed")

    monkeypatch.setattr("cni_cnm.cnm.reconcile.gone_namespaces.collect", fails)
    assert host.run("", "") == 1
    assert host.left() == ["a"]


def test_namespaces_that_are_gone_need_no_list(host: Gc) -> None:
    host.world.namespaces.remove("/netns/a")
    assert host.run("b") == 0
    assert (host.left(), host.pauses) == (["b"], [])
