"""The tests' own dockerd is a whole one: containers reach each other, it restarts, and it leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.dockerd import EVERY_RELEASE, Dockerd, missing
from tests.system.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.dockerd import Release


@pytest.fixture(scope="module", params=EVERY_RELEASE)
def live(request: pytest.FixtureRequest) -> Iterator[Dockerd]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network and mount namespaces")
    if why := missing(request.param):
        pytest.skip(why)
    node = Node()
    try:
        with Dockerd(node, "--live-restore", release=request.param) as dockerd:
            yield dockerd
    finally:
        node.close()


def test_containers_on_dockers_own_bridge_reach_each_other(dockerd: Dockerd) -> None:
    dockerd("network", "create", "red")
    dockerd.start("one", "--net=red")
    dockerd.start("two", "--net=red")
    assert dockerd.ping("one", dockerd.address("two", "red"))
    assert dockerd.ping("two", "one")
    assert dockerd.node.links(netns=dockerd.netns("one")) == {"lo", "eth0"}
    dockerd.remove("one", "two")
    dockerd("network", "rm", "red")


def test_a_failing_command_says_why(dockerd: Dockerd) -> None:
    assert "nothing" in dockerd.refused("network", "inspect", "nothing")


def test_with_live_restore_containers_outlive_the_daemon(live: Dockerd) -> None:
    live.start("survivor")
    before = live.inspect("survivor")["State"]["Pid"]
    live.restart()
    assert live.inspect("survivor")["State"]["Pid"] == before
    live.remove("survivor")


@pytest.mark.parametrize("release", EVERY_RELEASE)
def test_no_cgroup_is_left(require_root: None, release: Release) -> None:
    if why := missing(release):
        pytest.skip(why)
    node = Node()
    try:
        with Dockerd(node, release=release) as dockerd:
            dockerd.start("one")
            cgroups = list(Path("/sys/fs/cgroup").rglob(f"cni-cnm-test-{node.pid}"))
    finally:
        node.close()
    assert cgroups
    assert not [folder for folder in cgroups if folder.exists()]
