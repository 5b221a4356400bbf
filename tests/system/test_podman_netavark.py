"""podman 5.4 with netavark 1.14, in a tree of Debian 13: installed as docs/podman.md says. Networks of our driver."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.program import ROOT
from tests.system.node import Node
from tests.system.packages import tree
from tests.system.podman import IMAGE, Podman

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.long


@pytest.fixture
def podman(bundle: Path, require_root: None) -> Iterator[Podman]:
    node = Node(tree=tree("trixie-podman"))
    groups = ("mount", "--rbind", "/sys/fs/cgroup", "/run/node/root/sys/fs/cgroup")  # from outside of the tree
    subprocess.run(["nsenter", "--target", str(node.pid), "--mount", "--", *groups], check=True)
    for folder in ("dist", "conf", "docs", "scripts"):
        shutil.copytree(ROOT / folder, node.path(f"/root/{folder}"), symlinks=True)
    made = Podman(node)
    yield made
    made.close()
    node.close()


def commands(podman: Podman) -> str:
    """Those of the page (mkdir, ln, podman), with the image of the tests."""
    page = (ROOT / "docs/podman.md").read_text(encoding="utf-8")
    (block,) = [one for one in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "/netavark/cni-cnm" in one]
    return str(block.replace("nginx", IMAGE))


def endpoints(podman: Podman) -> set[tuple[str, str]]:
    shown = podman.node.run("cni-cnm", "endpoint", "ls", "--json").ok().out
    return {(one["network"], one["ifname"]) for one in json.loads(shown)}


def test_the_life_of_a_container(podman: Podman) -> None:
    """Two networks with options, ports, static address and MAC, connect, restart, reload; nothing is left."""
    podman.node.run("sh", "-ec", f"cd /root\nscripts/install\n{commands(podman)}").ok()
    assert endpoints(podman) == {("web", "eth0")}
    made = ("-o", "isolate=true", "-o", "metric=300", "--route", "10.55.0.0/16,10.7.0.9")
    podman("network", "create", "-d", "cni-cnm", "--subnet", "10.7.0.0/24", *made, "back")
    podman("network", "connect", "back", "shop")
    routes = podman("exec", "shop", "ip", "route")
    assert "default via 10.7.0.1 dev eth1 metric 300" in routes.replace("  ", " ")
    assert "10.55.0.0/16 via 10.7.0.9 dev eth1" in routes
    podman.run("two", "--network", "back:ip=10.7.0.77,mac=02:00:00:00:00:77")
    assert podman.addresses("two") == {"back": "10.7.0.77"}
    assert "02:00:00:00:00:77" in podman("exec", "two", "ip", "link", "show", "eth0")
    podman("network", "disconnect", "back", "shop")
    podman("restart", "-t", "0", "shop", "two")
    podman("network", "reload", "--all")
    assert endpoints(podman) == {("web", "eth0"), ("back", "eth0")}
    assert podman.addresses("two") == {"back": "10.7.0.77"}
    refused = podman.try_("network", "create", "-d", "cni-cnm", "-o", "vrf=red", "other")
    assert "the network option vrf is not supported" in refused.err
    podman("rm", "-f", "-t", "0", "shop", "two")
    assert endpoints(podman) == set()
    podman("network", "rm", "web", "back")
    assert podman.node.links() == {"lo"}
    assert podman.node.run("cni-cnm", "network", "ls", "-q").ok().out == ""
