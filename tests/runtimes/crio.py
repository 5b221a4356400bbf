"""A real CRI-O in a Node, with an image made of busybox. Nothing is shared with the machine.

`scripts/reference crio` builds it and crictl, `scripts/reference docker` its runc. conmon is Debian's. The image is put
into its store by Debian's podman, which has the same store.
"""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

from tests.runtimes.built import built
from tests.system.containerd import IMAGE, PAUSE, image_archive
from tests.system.cri import Cri, CriError
from tests.system.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.system.node import Node

SOCKET = "/run/crio/crio.sock"
CONFIG = """\
[crio]
root = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
storage_driver = "vfs"
log_dir = "/var/log/crio/pods"
version_file = "/run/crio/version"
[crio.api]
listen = "{socket}"
[crio.runtime]
conmon = "/usr/bin/conmon"
conmon_cgroup = "pod"
cgroup_manager = "cgroupfs"
default_runtime = "runc"
seccomp_profile = "unconfined"
apparmor_profile = "unconfined"
pinns_path = "{crio}/pinns"
[crio.runtime.runtimes.runc]
runtime_path = "/run/runc-without-oom-score"
runtime_root = "/run/runc"
[crio.image]
pause_image = "{image}"
pause_command = ""
[crio.network]
network_dir = "/etc/cni/net.d"
plugin_dirs = ["{plugin_dir}"]
"""
STORE = """\
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
"""
RUNC = """\
#!/usr/bin/python3 -I
# Runs runc without a pod's OOM score, which a machine without CAP_SYS_RESOURCE cannot lower.
import json, os, sys
arguments = sys.argv[1:]
for option, value in zip(arguments, arguments[1:]):
    if option in ("-b", "--bundle"):
        path = os.path.join(value, "config.json")
        with open(path) as file:
            config = json.load(file)
        config["process"].pop("oomScoreAdj", None)
        with open(path, "w") as file:
            json.dump(config, file)
os.execv("{runc}", ["runc", *arguments])
"""


def missing() -> str:
    """Why no CRI-O can run here; "" if one can."""
    absent = [program for program in ("conmon", "podman", "busybox") if shutil.which(program) is None]
    if absent:
        return f"needs {', '.join(absent)}"
    return built("docker")[1] or built("crio")[1]


class Crio:
    """One CRI-O and its CRI client; `restart` starts it again over the same state."""

    def __init__(self, node: Node, *, plugin_dir: str = "/opt/cni/bin") -> None:
        self.node = node
        self._programs = built("crio")[0]
        node.run(
            "sh", "-c", "mkdir -p /var/lib/containers /var/log/crio && mount -t tmpfs node /var/lib/containers"
        ).ok()
        paths = {"socket": SOCKET, "crio": self._programs, "image": IMAGE, "plugin_dir": plugin_dir}
        node.write("/etc/crio/crio.conf", CONFIG.format(**paths))
        node.write("/etc/containers/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')
        node.write("/etc/containers/storage.conf", STORE)
        node.write("/run/runc-without-oom-score", RUNC.replace("{runc}", f"{built('docker')[0]}/runc"))
        node.path("/run/runc-without-oom-score").chmod(0o755)
        node.write("/etc/hosts", "127.0.0.1 localhost\n")
        node.write("/etc/resolv.conf", "nameserver 192.0.2.53\n")
        node.path("/run/image.tar").write_bytes(image_archive(PAUSE))
        node.run("podman", "load", "--input", "/run/image.tar").ok()
        self.cri: Cri
        self._start()

    def _start(self) -> None:
        self._daemon = Daemon(
            self.node, f"{self._programs}/crio", "--config", "/etc/crio/crio.conf", "--config-dir", "/run/none",
            log="/run/crio.log", env={"PATH": f"{self._programs}:{os.environ['PATH']}"},
        )  # fmt: skip
        self.cri = Cri(str(self.node.path(SOCKET)))
        self._wait(lambda: bool(self.cri.images()))

    def _wait(self, ready: Callable[[], bool], limit: float = 60) -> None:
        def answered() -> bool:
            try:
                return ready()
            except CriError:
                return False

        self._daemon.wait(answered, limit)

    def wait_ready(self) -> None:
        """Until CRI-O has read a network configuration and reports NetworkReady."""
        self._wait(lambda: self.cri.network_ready()[0])

    def crictl(self, *argv: str) -> str:
        endpoint = f"unix://{SOCKET}"
        return self.node.run(f"{self._programs}/crictl", "--runtime-endpoint", endpoint, *argv).ok().out

    @property
    def path(self) -> str:
        """PATH with crictl, as an operator of CRI-O has it."""
        return f"{self._programs}:{os.environ['PATH']}"

    def log(self) -> str:
        return self._daemon.log()

    def stop(self, sig: int = signal.SIGTERM) -> None:
        """Pods live on."""
        self.cri.close()
        self._daemon.stop(sig)

    def restart(self, sig: int = signal.SIGTERM) -> None:
        self.stop(sig)
        self._start()

    close = stop
