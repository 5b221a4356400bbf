"""Networks of real runtimes, taken over and released while their containers live: containerd 1 and 2, podman 4."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.program import ROOT
from tests.side import REFERENCE, require_reference
from tests.system.adoption_host import BIN, CONFLIST, HERE, OUTSIDE, AdoptionHost
from tests.system.containerd import Containerd
from tests.system.podman import Podman
from tests.system.podman import missing as podman_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture
def host(require_root: None, tmp_path: Path) -> Iterator[AdoptionHost]:
    require_reference()
    made = AdoptionHost(tmp_path, REFERENCE, "iptables", Path("/nowhere"))
    yield made
    made.close()


@pytest.fixture(params=["1", "2"])
def containerd(request: pytest.FixtureRequest, host: AdoptionHost) -> Iterator[Containerd]:
    if shutil.which("containerd") is None or shutil.which("runc") is None:
        pytest.skip("needs containerd and runc")
    programs = None
    if request.param == "2":
        command = [str(ROOT / "scripts/reference"), "--built", "docker"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(done.stderr.strip())
        programs = Path(done.stdout.strip())
    made = Containerd(host.node, bin_dir=Path(BIN))
    if programs is not None:
        made.programs = programs
        made.restart()
    yield made
    made.close()


def plugins(host: AdoptionHost) -> list[str]:
    return [one["type"] for one in json.loads(host.node.path(CONFLIST).read_text())["plugins"]]


def test_pods_of_containerd(host: AdoptionHost, containerd: Containerd) -> None:
    """It reads the file again by itself: pods that it makes and removes after each step are of the side of then."""
    cri, node = containerd.cri, host.node
    containerd.wait_ready()
    first = cri.run_pod("first", ports=[{1: 0, 2: 80, 3: 8080}])
    second = cri.run_pod("second")
    host.serve(first.netns, 80)
    host.open("outside", HERE, 8080)
    host.open(first.netns, OUTSIDE, 7000)
    shown = host.command("adopt", "net")
    assert shown.count("ready") == 2, shown

    host.command("adopt", "net", "--yes")
    host.talk()
    owners = {one["owner"] for one in json.loads(host.command("endpoint", "ls", "--json"))}
    # Debian's ctr does not know the sandboxes of containerd 2, so its list is not complete.
    assert owners == {"cni/containerd" if containerd.programs is None else "cni/unknown"}
    cri.stop(second.id)
    cri.remove(second.id)
    assert len(json.loads(host.command("endpoint", "ls", "--json"))) == 1
    third = cri.run_pod("third", ports=[{1: 0, 2: 80, 3: 9090}])
    host.serve(third.netns, 80)
    host.open("outside", HERE, 9090)
    assert len(json.loads(host.command("endpoint", "ls", "--json"))) == 2
    containerd.restart()
    containerd.wait_ready()
    host.talk()

    host.command("release", "net", "--yes")
    host.talk()
    assert plugins(host)[0] == "bridge"
    fourth = containerd.cri.run_pod("fourth")
    assert json.loads(host.command("endpoint", "ls", "--json")) == []
    for pod in (fourth, third, first):
        containerd.cri.stop(pod.id)
        containerd.cri.remove(pod.id)
    assert not [line for line in host.rules() if "10.7.0." in line]
    assert not [name for name in node.links() if name.startswith(("veth", "bwp"))]
    assert not [path for path in node.files("/var/lib/cni/networks/net") if "10.7.0." in path]


@pytest.fixture
def podman(host: AdoptionHost) -> Iterator[Podman]:
    if why := podman_missing():
        pytest.skip(why)
    host.node.path(CONFLIST).unlink()
    made = Podman(host.node, BIN)
    yield made
    made.close()


def test_containers_of_podman(host: AdoptionHost, podman: Podman) -> None:
    """It reads its files at each command: `network` and `rm` work on both sides, with the containers of the other."""
    podman("network", "create", "--subnet", "10.7.0.0/24", "web")
    podman.run("c1", "--network", "web", "-p", "8080:80")
    podman.run("c2", "--network", "web")
    netns = podman.netns("c1")
    host.serve(netns, 80)
    host.open("outside", HERE, 8080)
    host.open(netns, OUTSIDE, 7000)
    addresses = podman.addresses("c1")
    shown = host.command("adopt", "web")
    assert shown.count(" ready ") == 2, shown

    host.command("adopt", "--all", "--yes")
    host.talk()
    assert {one["owner"] for one in json.loads(host.command("endpoint", "ls", "--json"))} == {"cni/podman"}
    assert podman.addresses("c1") == addresses
    assert "web" in podman("network", "ls")
    podman("rm", "--force", "--time", "0", "c2")
    podman.run("c3", "--network", "web", "-p", "9090:80")
    host.serve(podman.netns("c3"), 80)
    host.open("outside", HERE, 9090)
    assert len(json.loads(host.command("endpoint", "ls", "--json"))) == 2

    host.command("release", "web", "--yes")
    host.talk()
    assert json.loads(host.command("endpoint", "ls", "--json")) == []
    podman.run("c4", "--network", "web")
    podman("rm", "--all", "--force", "--time", "0")
    assert not [line for line in host.rules() if "10.7.0." in line]
    assert not [name for name in host.node.links() if name.startswith(("veth", "bwp"))]
