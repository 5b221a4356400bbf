"""A real nerdctl in a Node, with containerd 2 and an image made of busybox. Nothing is shared with the machine.

    with Nerdctl(node, cni_path="/opt/cni/drop-in") as nerdctl:
        nerdctl("network", "create", "red")         `nerdctl …`: what it printed, or an AssertionError
        nerdctl.start("one", "--net=red")           a container of IMAGE that sleeps, by name
        nerdctl.execute("one", "ping", "-c1", "two")

`scripts/reference docker` builds containerd, its shim and runc, `scripts/reference nerdctl` nerdctl.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.runtimes.built import built
from tests.system.containerd import IMAGE, image_archive
from tests.system.daemon import Daemon

if TYPE_CHECKING:
    from tests.system.node import Done, Node

_ADDRESS = "/run/containerd/containerd.sock"
CONFIG = f"""\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images",
                    "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "{_ADDRESS}"
"""
SETTINGS = f"""\
address = "{_ADDRESS}"
namespace = "default"
snapshotter = "native"
cni_netconfpath = "/etc/cni/net.d"
cgroup_manager = "cgroupfs"
"""


def missing() -> str:
    """Why no nerdctl can run here; "" if one can."""
    absent = [program for program in ("busybox", "iptables") if shutil.which(program) is None]
    if absent:
        return f"needs {', '.join(absent)}"
    return built("docker")[1] or built("nerdctl")[1]


class Nerdctl:
    """One containerd with the command line for it. Without a `cni_path` its settings do not have that key."""

    def __init__(self, node: Node, *, cni_path: str = "/opt/cni/drop-in") -> None:
        self.node = node
        self.path = f"{built('docker')[0]}:{built('nerdctl')[0]}:{os.environ['PATH']}"
        self._programs = Path(built("nerdctl")[0])
        node.write("/etc/containerd/config.toml", CONFIG)
        node.write("/etc/nerdctl/nerdctl.toml", SETTINGS + (f'cni_path = "{cni_path}"\n' if cni_path else ""))
        node.write("/etc/hosts", "127.0.0.1 localhost\n")
        node.write("/etc/resolv.conf", "nameserver 192.0.2.53\n")
        node.run("sh", "-c", "mkdir -p /var/lib/nerdctl && mount -t tmpfs -o mode=0711 node /var/lib/nerdctl").ok()
        self._daemon: Daemon
        self.start_daemon()
        node.path("/run/image.tar").write_bytes(image_archive())
        self("load", "--input", "/run/image.tar")

    def __enter__(self) -> Nerdctl:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start_daemon(self) -> None:
        self._daemon = Daemon(
            self.node, "containerd", "--config", "/etc/containerd/config.toml",
            log="/run/containerd.log", env={"PATH": self.path},
        )  # fmt: skip
        self._daemon.wait(lambda: self.try_("version").code == 0)

    def close(self) -> None:
        containers = self.try_("ps", "-aq").out.split()
        if containers:
            self.try_("rm", "-f", *containers)
        self._daemon.stop()

    def log(self) -> str:
        return self._daemon.log()

    def try_(self, *argv: str, timeout: float = 60) -> Done:
        """`nerdctl argv…`, whatever comes of it."""
        return self.node.run(str(self._programs / "nerdctl"), *argv, env={"PATH": self.path}, timeout=timeout)

    def __call__(self, *argv: str) -> str:
        """Its output, trimmed; AssertionError with what it said if it fails."""
        return self.try_(*argv).ok().out.strip()

    def start(self, name: str, *options: str, command: tuple[str, ...] = ()) -> None:
        self(
            "run",
            "--detach",
            "--name",
            name,
            "--pull=never",
            "--security-opt=seccomp=unconfined",
            *options,
            IMAGE,
            *command,
        )

    def execute(self, name: str, *command: str) -> Done:
        return self.try_("exec", name, *command)

    def inspect(self, name: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self("container", "inspect", name))
        return found[0]
