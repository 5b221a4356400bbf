"""A real dockerd in a Node: Debian's docker.io with its own containerd, an image made of busybox, nothing shared.

    with Dockerd(node) as dockerd:              or the fixture `dockerd`, one a module
        dockerd("network", "create", "red")     `docker …`, Done.ok() or an AssertionError
        dockerd.start("one", "--net=red")       a container of IMAGE that sleeps, by name
        dockerd.execute("one", "ping", "-c1", "two")

The node's /run is its own, so /run/docker/plugins is, too. Containers have their cgroups below one of their own, which
goes with `close`; everything else ends with the node's first process.
"""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.system.busybox import root_file_system
from tests.system.daemon import Daemon
from tests.system.node import Done

if TYPE_CHECKING:
    from tests.system.node import Node

IMAGE = "box"
PROGRAMS = ("dockerd", "docker", "containerd", "runc", "busybox", "iptables")
CLI = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
_SOCKET = "unix:///run/docker.sock"
_CGROUPS = Path("/sys/fs/cgroup")


def missing() -> str:
    """Why no dockerd can run here; "" if one can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"needs {', '.join(absent)}" if absent else ""


class Dockerd:
    """One dockerd; `restart` starts it again over the same state. `options` are dockerd's own."""

    def __init__(self, node: Node, *options: str, limit: float = 60) -> None:
        self.node = node
        self._options = options
        self._limit = limit
        self._cgroup = f"cni-cnm-test-{node.pid}"
        node.write("/etc/docker/daemon.json", "{}")
        node.write("/etc/resolv.conf", "nameserver 192.0.2.53\n")
        node.run("sh", "-c", "mkdir -p /var/lib/docker && mount -t tmpfs -o mode=0711 node /var/lib/docker").ok()
        self._daemon: Daemon
        self.start_daemon()
        node.path("/run/image.tar").write_bytes(root_file_system())
        self("import", "--change", 'CMD ["sleep", "1000000"]', "/run/image.tar", IMAGE)

    def __enter__(self) -> Dockerd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # the daemon ---------------------------------------------------------------

    def start_daemon(self) -> None:
        """Start dockerd and wait until it answers."""
        self._daemon = Daemon(
            self.node,
            "dockerd", "--host", _SOCKET, "--data-root", "/var/lib/docker", "--exec-root", "/run/docker",
            "--pidfile", "/run/docker.pid", "--cgroup-parent", f"/{self._cgroup}", "--debug",
            "--storage-driver", "overlay2", *self._options, log="/run/dockerd.log",
        )  # fmt: skip
        self._daemon.wait(lambda: self.try_("version").code == 0, self._limit)

    def stop_daemon(self, sig: int = signal.SIGTERM) -> None:
        """SIGTERM ends the containers, too, unless `--live-restore` is among the options; SIGKILL never does."""
        self._daemon.stop(sig, self._limit)

    def restart(self, sig: int = signal.SIGTERM) -> None:
        self.stop_daemon(sig)
        self.start_daemon()

    def log(self) -> str:
        return self._daemon.log()

    def close(self) -> None:
        """Containers and dockerd end; the node is its maker's."""
        if self._daemon.running:
            containers = self.try_("ps", "-aq").out.split()
            if containers:
                self.try_("rm", "-f", *containers)
            self.stop_daemon()
        for controller in _CGROUPS.glob("*"):
            for folder in (*(controller / self._cgroup).glob("*"), controller / self._cgroup):
                if folder.is_dir():
                    try:
                        folder.rmdir()
                    except OSError:
                        pass  # a container that a test lost: its cgroup stays until its processes end with the node

    # the command line -----------------------------------------------------------

    def try_(self, *argv: str, timeout: float = 120) -> Done:
        """`docker argv…`, whatever comes of it."""
        return self.node.run(CLI, "--host", _SOCKET, *argv, timeout=timeout)

    def __call__(self, *argv: str, timeout: float = 120) -> str:
        """Its output, trimmed; AssertionError with what it said if it fails."""
        return self.try_(*argv, timeout=timeout).ok().out.strip()

    def refused(self, *argv: str) -> str:
        """The error of a command that must fail."""
        done = self.try_(*argv)
        assert done.code != 0, f"docker {' '.join(argv)} succeeded: {done.out}"
        return done.err.strip()

    def start(self, name: str, *options: str, command: tuple[str, ...] = ()) -> str:
        """`docker run -d --name NAME OPTIONS box COMMAND`: its id. Told to end, it has a second."""
        return self("run", "-d", "--name", name, "--stop-timeout", "1", *options, IMAGE, *command)

    def remove(self, *names: str) -> None:
        self("rm", "-f", *names)

    def execute(self, name: str, *argv: str) -> Done:
        """A command in a container."""
        return self.try_("exec", name, *argv)

    def inspect(self, *argv: str) -> Any:
        """`docker inspect` (or `docker network inspect` with `network` before the name), the one object of its list."""
        noun = argv[:-1]
        return json.loads(self(*noun, "inspect", argv[-1]))[0]

    def address(self, container: str, network: str, *, family: int = 4) -> str:
        """The container's address on a network as Docker knows it, without prefix."""
        settings = self.inspect(container)["NetworkSettings"]["Networks"][network]
        return str(settings["IPAddress" if family == 4 else "GlobalIPv6Address"])

    def netns(self, container: str) -> str:
        """The path of a running container's network namespace, inside the node."""
        return str(self.inspect(container)["NetworkSettings"]["SandboxKey"])

    def ping(self, container: str, address: str, *, wait: int = 2) -> bool:
        return self.execute(container, "ping", "-c1", f"-W{wait}", address).code == 0
