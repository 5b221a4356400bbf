"""What scripts/demo --docker shows: a container of Docker's and a pod of containerd's on one network of ours.

A prompt says where a command runs: `host#`, or inside a pod. What it prints is what it said here and now; the first
that fails, and the first line that is not as it should be, end the demo with exit code 1.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.program import ROOT
from tests.system.containerd import IMAGE as PAUSE
from tests.system.containerd import Containerd
from tests.system.demo import head, paint, present, remains, show
from tests.system.dockerd import Dockerd
from tests.system.node import PLUGIN, Node

if TYPE_CHECKING:
    from collections.abc import Callable

CONFLIST = "/etc/cni/net.d/10-podnet.conflist"
SHARED = ("-o", "cni-cnm.network=podnet", "--ipam-opt", "cni-cnm.network=podnet")


class Prompt:
    """Types a command, runs it, prints what it said."""

    def __init__(self, place: str, run: Callable[..., tuple[int, str]]) -> None:
        self._place = place
        self._run = run

    def __call__(self, *argv: str) -> str:
        print(paint("head", f"\n  {self._place}# {_broken(argv)}"), flush=True)
        code, said = self._run(*argv)
        print("".join(f"  {line.rstrip()}\n" for line in said.splitlines() if line.strip()), end="", flush=True)
        if code:
            show(f"it ended with {code}", holds=False)
        return said.strip()


def _broken(argv: tuple[str, ...]) -> str:
    """The command line; a long one goes on behind a backslash."""
    lines = [""]
    for word in map(shlex.quote, argv):
        if lines[-1] and len(lines[-1]) + len(word) > 100 and word.startswith("-"):
            lines.append("     ")
        lines[-1] += f" {word}"
    return " \\\n".join(line if number else line[1:] for number, line in enumerate(lines))


def demo(node: Node) -> None:
    head("A machine of its own: containerd, dockerd, and the service for both")
    node.write(CONFLIST, (ROOT / "conf" / "cni-1.0.0" / "podnet.conflist").read_text(encoding="utf-8"))
    service = _serve(node)
    # Before containerd: a dockerd that finds one running uses that one, and its runc.
    dockerd = Dockerd(node, release="29" if sys.argv[1:] == ["29"] else "20.10")
    containerd = Containerd(node)
    try:
        _scenes(node, containerd, dockerd)
    finally:
        dockerd.close()
        containerd.close()
        service.kill()
        service.wait()


def _serve(node: Node) -> subprocess.Popen[bytes]:
    service = subprocess.Popen(node.command(str(PLUGIN), "serve", "--docker"), stderr=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while not node.path("/run/docker/plugins/cni-cnm.sock").exists():
        if time.monotonic() > end:
            raise RuntimeError("the service did not come up in 30 s")
        time.sleep(0.02)
    return service


def _scenes(node: Node, containerd: Containerd, dockerd: Dockerd) -> None:
    def on_host(program: str, *argv: str) -> tuple[int, str]:
        installed = str(PLUGIN) if program == "cni-cnm" else program
        done = dockerd.try_(*argv) if program == "docker" else node.run(installed, *argv)
        return done.code, done.out + done.err

    host = Prompt("host", on_host)
    show(f"dockerd {dockerd('version', '--format', '{{.Server.Version}}')} runs, nothing is configured in it")
    containerd.wait_ready()
    version = node.run("containerd", "--version").out.split()[2]
    show(f"containerd {version} has this configuration of a network, no more")
    host("cat", CONFLIST)

    head("\nDocker makes a network by this plugin, the one that pods will call podnet")
    host("docker", "network", "create", "--driver", "cni-cnm", "--ipam-driver", "cni-cnm", "--subnet", "10.88.0.0/16",
         *SHARED, "mynet")  # fmt: skip
    host("docker", "network", "ls")

    head("\nA container on it")
    host("docker", "run", "--detach", "--name", "web", "--network", "mynet", "--publish", "8080:80", "box",
         "httpd", "-f", "-h", "/etc")  # fmt: skip
    web = dockerd.address("web", "mynet")
    host("docker", "exec", "web", "ip", "route")

    head("\nA pod on it, started by containerd through the CRI")
    cri = containerd.cri
    pod = cri.run_pod("red")
    shell = cri.run_container(pod, PAUSE, ["sleep", "1000"])
    red = pod.addresses[0]
    show(f"pod red has {red}", red != web)
    inside = Prompt("red", lambda *argv: cri.execute(shell, list(argv)))
    inside("ip", "route")

    head("\nThey reach each other")
    host("docker", "exec", "web", "ping", "-c", "2", "-W", "3", red)
    inside("ping", "-c", "2", "-W", "3", web)
    host("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/hostname")

    head("\nWhat Docker says of it, and what the plugin says")
    attached = json.loads(host("docker", "network", "inspect", "mynet"))[0]["Containers"].values()
    known = [one["IPv4Address"].partition("/")[0] for one in attached]
    show(f"Docker knows its container at {web}, with the address that it has", known == [web])
    host("cni-cnm", "network", "ls")
    host("cni-cnm", "endpoint", "ls")

    head("\nDocker goes, the pod stays")
    host("docker", "rm", "--force", "web")
    host("docker", "network", "rm", "mynet")
    gateway = node.ip("route", "show", "default", netns=pod.netns)[0]["gateway"]
    inside("ping", "-c", "1", "-W", "3", gateway)
    cri.stop(pod.id)
    cri.remove(pod.id)
    host("cni-cnm", "network", "rm", "podnet")
    left = [*remains(node), *(link for link in node.links() if link.startswith("br-"))]
    show(f"no link, lease, record or result is left{': ' + ', '.join(left) if left else ''}", not left)


if __name__ == "__main__":
    present(demo)
