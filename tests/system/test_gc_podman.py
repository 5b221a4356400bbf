"""`cni-cnm gc` beside a real podman: a container that was stopped is not lost, one that podman has forgotten is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.busybox import root_file_system
from tests.system.node import BIN, Done, Node

PODNET = {"cniVersion": "1.0.0", "name": "podnet", "plugins": [{"type": "cni-cnm"}]}
FILES = {
    "/etc/containers/containers.conf": """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
""",
    "/etc/containers/storage.conf": """\
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
""",
    "/etc/containers/policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}',
    "/etc/cni/net.d/87-podnet.conflist": json.dumps(PODNET),
}
RECORDS = "/run/cni-cnm/endpoints"


class Podman:
    def __init__(self, node: Node) -> None:
        self.node = node
        node.run("sh", "-c", f"mkdir -p /opt/cni/bin && ln -sf {BIN}/* /opt/cni/bin").ok()
        node.run("sh", "-c", "mkdir -p /var/lib/containers && mount -t tmpfs node /var/lib/containers").ok()
        for path, text in FILES.items():
            node.write(path, text)
        node.path("/run/image.tar").write_bytes(root_file_system())
        self("import", "--change", 'CMD ["sleep", "100000"]', "/run/image.tar", "box").ok()

    def __call__(self, *words: str) -> Done:
        return self.node.run("podman", *words)

    def start(self, name: str) -> str:
        """A container's id."""
        options = ("--network", "podnet", "--security-opt", "seccomp=unconfined")
        return self("run", "--detach", "--name", name, *options, "box").ok().out.strip()

    def gc(self, *words: str) -> str:
        return self.node.run(str(BIN / "cni-cnm"), "gc", *words, timeout=120).ok().out

    def endpoints(self) -> set[str]:
        """Containers that have one."""
        return {
            str(json.loads(self.node.path(path).read_text("utf-8"))["container_id"])
            for path in self.node.files(RECORDS)
        }


@pytest.fixture
def podman(require_root: None, bundle: Path, node: Node) -> Iterator[Podman]:
    for program in ("podman", "runc", "conmon", "busybox"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    made = Podman(node)
    yield made
    made("rm", "--all", "--force", "--time", "0")


@pytest.mark.long
def test_what_podman_has_forgotten_is_removed_and_nothing_else(podman: Podman) -> None:
    """Its store is replaced by an empty one: what lives stays all the same. A podman that fails removes nothing."""
    node = podman.node
    living, lost = podman.start("living"), podman.start("lost")
    assert podman.endpoints() == {living, lost}
    node.run("sh", "-c", f"touch -d '1 hour ago' {RECORDS}/*.json").ok()
    assert podman.gc() == ""
    node.run("mount", "-t", "tmpfs", "empty", "/var/lib/containers").ok()
    assert podman("ps", "--all", "--quiet").ok().out == ""
    assert podman.gc("--yes") == ""
    [pid] = {
        pid
        for path in node.files(RECORDS)
        if lost in node.path(path).read_text("utf-8")
        for pid in node.run(
            "ip", "netns", "pids", json.loads(node.path(path).read_text("utf-8"))["netns"][11:]
        ).out.split()
    }
    node.run("kill", "-9", pid).ok()
    assert "eth0 (lost): podman does not have its container" in podman.gc()
    node.write("/etc/containers/storage.conf", "[storage]\ndriver = 3\n")
    assert podman.gc("--yes") == ""
    node.write("/etc/containers/storage.conf", FILES["/etc/containers/storage.conf"])
    assert "podman does not have its container; it was removed" in podman.gc("--yes")
    assert podman.endpoints() == {living}
    node.run("umount", "/var/lib/containers").ok()
    podman("rm", "--force", "--time", "0", living).ok()
    assert podman.endpoints() == set()
