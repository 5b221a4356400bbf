"""A real dockerd in a Node, with its own containerd and an image made of busybox. Nothing is shared with the machine.

    with Dockerd(node) as dockerd:              or the fixture `dockerd`, one a module
        dockerd("network", "create", "red")     `docker …`, Done.ok() or an AssertionError
        dockerd.start("one", "--net=red")       a container of IMAGE that sleeps, by name
        dockerd.execute("one", "ping", "-c1", "two")

There are two releases: Debian's docker.io 20.10, and 29 where `scripts/reference docker` has built it.

The node's /run is its own, so /run/docker/plugins is, too. Containers have their cgroups below one of their own, which
goes with `close`; everything else ends with the node's first process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.program import ROOT
from tests.system.busybox import root_file_system
from tests.system.daemon import Daemon
from tests.system.node import Done

if TYPE_CHECKING:
    from tests.system.node import Node

IMAGE = "box"
Release = Literal["20.10", "29"]
EVERY_RELEASE = ("20.10", pytest.param("29", marks=pytest.mark.long))
"""Parameters of the fixtures: the newer release only in a long run. A few tests have both in every run."""
PROGRAMS = ("dockerd", "docker", "containerd", "runc", "busybox", "iptables")
DEBIAN = Path("/usr/bin")
_SOCKET = "unix:///run/docker.sock"
_CGROUPS = Path("/sys/fs/cgroup")


@cache
def _built() -> tuple[str, str]:
    """The folder of the newer release's programs, or "" and why there is none."""
    command = [str(ROOT / "scripts/reference"), "--built", "docker"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.strip(), "") if done.returncode == 0 else ("", done.stderr.strip())


def missing(release: Release = "20.10") -> str:
    """Why no dockerd of that release can run here; "" if one can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"needs {', '.join(absent)}"
    return _built()[1] if release == "29" else ""


class Dockerd:
    """One dockerd; `restart` starts it again over the same state. `options` are dockerd's own."""

    def __init__(self, node: Node, *options: str, release: Release = "20.10", limit: float = 60) -> None:
        self.node = node
        self.release = release
        self._programs = Path(_built()[0]) if release == "29" else DEBIAN
        # The newer release keeps its images in containerd, and is built without seccomp.
        self._options = options if release == "29" else ("--storage-driver", "overlay2", *options)
        self._limit = limit
        self._cgroup = f"cni-cnm-test-{node.pid}"
        node.write("/etc/docker/daemon.json", '{"seccomp-profile": "unconfined"}' if release == "29" else "{}")
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
            *self._options, log="/run/dockerd.log", env={"PATH": f"{self._programs}:{os.environ['PATH']}"},
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
        return self.node.run(str(self._programs / "docker"), "--host", _SOCKET, *argv, timeout=timeout)

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
