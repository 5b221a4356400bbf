"""podman of Debian in a node: 4.3 with its CNI backend, or 5.4 with netavark. Its storage may outlive the node.

podman = Podman(node, "/opt/cni/bin")     folders of CNI plugins, the first one first; none: netavark
podman("network", "create", "web")        stdout; AssertionError if the command fails
podman.run("c1", "--network", "web")      a container that sleeps
podman.close()                            containers end, their control groups are removed

crun refuses hybrid control groups, so containers have runc. `default_ulimits` keeps podman from raising
limits beyond those of the tests.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.system.busybox import root_file_system
from tests.system.node import Done, Node

IMAGE = "busybox"
_CGROUPS = Path("/sys/fs/cgroup")
_OF_TESTS = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
_NETWORK = '[network]\nnetwork_backend = "cni"\ncni_plugin_dirs = [{folders}]\n'
_STORAGE = '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "{folder}"\n'
_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'


def missing() -> str:
    """Why there is no podman to test with; "" if there is."""
    lacking = [program for program in ("podman", "conmon", "runc", "busybox") if shutil.which(program) is None]
    return f"needs {', '.join(lacking)}" if lacking else ""


class Podman:
    def __init__(self, node: Node, *folders: str, storage: str = "/run/containers/graph") -> None:
        self.node = node
        self._cgroup = f"cni-cnm-test-{node.pid}"
        listed = ", ".join(json.dumps(folder) for folder in folders)
        node.write("/etc/containers/containers.conf.d/tests.conf", _OF_TESTS)
        node.write("/etc/containers/containers.conf", _NETWORK.format(folders=listed) if folders else "")
        node.write("/etc/containers/storage.conf", _STORAGE.format(folder=storage))
        node.write("/etc/containers/policy.json", _POLICY)
        node.write("/etc/resolv.conf", "nameserver 192.0.2.53\n")
        if not self("images", "-q"):
            node.path("/run/image.tar").write_bytes(root_file_system())
            self("import", "--change", 'CMD ["sleep", "1000000"]', "/run/image.tar", IMAGE)

    def try_(self, *argv: str, timeout: float = 120) -> Done:
        """`podman argv…`, whatever comes of it."""
        environ = {"PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
        here = ("sh", "-c", 'cd / && exec podman "$@"', "podman")  # conmon needs a folder that is in the tree, too
        return self.node.run(*here, *argv, timeout=timeout, env=environ)

    def __call__(self, *argv: str, timeout: float = 120) -> str:
        return self.try_(*argv, timeout=timeout).ok().out.strip()

    def run(self, name: str, *options: str) -> str:
        """Start a container that sleeps; its id."""
        group = ("--cgroup-parent", f"/{self._cgroup}")
        return self("run", "-d", "--name", name, "--stop-timeout", "0", *group, *options, IMAGE)

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("inspect", name))[0]
        return found

    def addresses(self, name: str) -> dict[str, str]:
        """Of each network by its name, as podman shows it."""
        networks = self.inspect(name)["NetworkSettings"]["Networks"]
        return {network: shown["IPAddress"] for network, shown in networks.items()}

    def netns(self, name: str) -> str:
        return str(self.inspect(name)["NetworkSettings"]["SandboxKey"])

    def close(self) -> None:
        self.try_("rm", "--all", "--force", "--time", "0")
        # A container that is started without a group has it below podman's own.
        for root in (group / name for group in _CGROUPS.glob("*") for name in (self._cgroup, "libpod_parent")):
            for folder in sorted((root, *root.rglob("*")), key=lambda path: -len(path.parts)):
                if folder.is_dir():
                    try:
                        folder.rmdir()
                    except OSError:
                        pass  # a process of a container that a test lost: it ends with the node
