"""scripts/demo, as a stranger sees it: everything it shows holds, and it ends well."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from tests.program import ROOT
from tests.system.dockerd import EVERY_RELEASE, Release, missing

pytestmark = pytest.mark.usefixtures("require_root", "bundle")


def run(scene: str, *arguments: str) -> str:
    """What it prints, to a pipe; it must end with 0."""
    command = [sys.executable, "-m", f"tests.system.{scene}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "\033" not in done.stdout
    return done.stdout


def test_two_pods() -> None:
    shown = run("demo")
    assert shown.count("  ok  ") > 10
    assert "red reaches blue" in shown


@pytest.mark.parametrize("release", EVERY_RELEASE)
def test_a_container_of_dockers_and_a_pod_on_one_network(release: Release) -> None:
    """The commands as they are typed, each with what it said: both ways answered, nothing left."""
    if why := missing(release):
        pytest.skip(why)
    shown = run("demo_docker", release)
    commands = re.findall(r"^  \w+# (.*)", shown, re.MULTILINE)
    for typed in ("network create --driver cni-cnm", "network ls", "run --detach", "network inspect mynet"):
        assert any(command.startswith(f"docker {typed}") for command in commands), typed
    assert shown.count("2 packets transmitted, 2 packets received") == 2
    assert re.search(r"^  [0-9a-f]{12}\s+mynet\s+cni-cnm\s+local$", shown, re.MULTILINE)
    assert "no link, lease, record or result is left\n" in shown


def test_what_it_does_not_know_is_refused() -> None:
    done = subprocess.run([ROOT / "scripts" / "demo", "--rkt"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "demo: unknown argument --rkt (see scripts/demo --help)\n"


@pytest.mark.long
def test_a_kubernetes_cluster() -> None:
    """The manifests on two nodes: pods reach each other through a kill, an update and the removal of a node."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    shown = run("demo_kubernetes")
    assert shown.count("  ok  ") > 15
    assert "stand-in for the Kubernetes API server" in shown
    assert "red still reaches blue" in shown
    assert "node1 has no link, file or record of it\n" in shown


@pytest.mark.long
def test_three_hosts() -> None:
    """Pods and a container over VXLAN and plain routes, without etcd, and on a host that was replaced."""
    if why := missing():
        pytest.skip(why)
    if shutil.which("etcd") is None:
        pytest.skip("needs etcd")
    shown = run("demo_hosts")
    assert shown.count("  ok  ") > 15
    assert "red reaches blue (" in shown
    assert "by VXLAN" in shown
    assert "by a plain route" in shown
