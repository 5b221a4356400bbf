"""A machine of its own for a test or the demo: network, mount and process namespaces around one init.

    Node()      a first process holds the namespaces; ending it ends containerd, its shims and every pod. It ends with
                its maker, whatever ends that
    Node(tree=FOLDER)   the same with the root file system in that folder, which is not changed
    FRESH       folders that start empty (tmpfs), like /run
    COPIED      folders that start as the machine's, with every change kept in memory (overlay)

Nothing of the machine's own network or state is visible from inside, and nothing made inside is left behind.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.program import ROOT
from tests.system import cgroups

BIN = ROOT / "dist" / "bin"
PLUGIN = BIN / "cni-cnm"
COPIED = ("/etc", "/opt", "/usr/lib/cni", "/usr/local", "/var/lib")
FRESH = ("/var/lib/cni", "/var/lib/cni-cnm", "/var/lib/containerd", "/etc/cni", "/etc/cni-cnm")

UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
ENTER = ["--net", "--mount", "--pid", "--root", "--wd=/"]
"""With the node's root: in a chroot the namespace's own would be the machine's."""
INIT = r"""
import fcntl, os, signal, subprocess, sys
def mount(kind, options, folder):
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["mount", "-t", kind, "-o", options, "node", folder], check=True)
copied, fresh = (argument.split() for argument in sys.argv[1:3])
mount("tmpfs", "mode=0755", "/run")
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
if tree := sys.argv[3]:
    root = "/run/node/root"
    copied, fresh = [], []
    upper, work = "/run/node/upper", "/run/node/work"
    os.makedirs(upper), os.makedirs(work)
    mount("overlay", f"lowerdir={tree},upperdir={upper},workdir={work}", root)
    for kind, folder in (("proc", "proc"), ("sysfs", "sys"), ("tmpfs", "run")):
        mount(kind, "mode=0755" if kind == "tmpfs" else "rw", f"{root}/{folder}")
    subprocess.run(["mount", "--rbind", "/dev", f"{root}/dev"], check=True)
    os.chroot(root)
    os.chdir("/")
    os.makedirs(os.environ.get("TMPDIR", "/tmp"), exist_ok=True)
for folder in filter(os.path.isdir, copied):
    upper, work = "/run/node" + folder + "/upper", "/run/node" + folder + "/work"
    os.makedirs(upper), os.makedirs(work)
    mount("overlay", f"lowerdir={folder},upperdir={upper},workdir={work}", folder)
for folder in fresh:
    mount("tmpfs", "mode=0755", folder)
signals = {signal.SIGCHLD, signal.SIGIO}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
fcntl.fcntl(0, fcntl.F_SETFL, os.O_ASYNC)
os.write(1, b"ready\n")
os.close(1)
while signal.sigwait(signals) == signal.SIGCHLD:  # SIGIO: the maker has ended, and with it the other end of the pipe
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""


class Done(NamedTuple):
    """A finished command: its exit status and what it wrote."""

    code: int
    out: str
    err: str

    def ok(self) -> Done:
        assert self.code == 0, f"exit {self.code}\n{self.out}\n{self.err}"
        return self


class Node:
    """Namespaces held by one init process, with commands run in them."""

    def __init__(self, *, copied: tuple[str, ...] = COPIED, tree: Path | None = None) -> None:
        self.pid = 0
        """The node's first process, as seen from outside."""
        self._init = subprocess.Popen(
            [*UNSHARE, sys.executable, "-ISc", INIT, " ".join(copied), " ".join(FRESH), str(tree or "")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        stdout = self._init.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], 60)
        line = stdout.readline() if ready else b""
        stdout.close()
        if line != b"ready\n":
            self.close()
            raise RuntimeError("the node's namespaces could not be set up (root and CAP_SYS_ADMIN are needed)")
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text(encoding="ascii")
        self.pid = int(children.split()[0])

    def close(self) -> None:
        groups = set[str]()
        if self._init.poll() is None:
            groups = cgroups.of_processes(self.path("/proc")) if self.pid else groups
            self._init.kill()
        self._init.wait()
        if self._init.stdin is not None:
            self._init.stdin.close()
        cgroups.remove(groups)

    def command(self, *argv: str, netns: str = "") -> list[str]:
        """The command line that runs argv in the node, or in a network namespace of it given by path."""
        inside = ["nsenter", f"--net={netns}", "--", *argv] if netns else argv
        return ["nsenter", "--target", str(self.pid), *ENTER, "--", *inside]

    def run(
        self,
        *argv: str,
        netns: str = "",
        stdin: str = "",
        env: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> Done:
        done = subprocess.run(
            self.command(*argv, netns=netns),
            input=stdin, env=None if env is None else {**os.environ, **env},
            capture_output=True, encoding="utf-8", errors="surrogateescape", timeout=timeout, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def path(self, inside: str) -> Path:
        """A file of the node, as a path outside."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def write(self, inside: str, text: str) -> None:
        target = self.path(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # a link of the machine's (resolv.conf) would lead out of the node
        target.write_text(text, encoding="utf-8")

    def ip(self, *argv: str, netns: str = "") -> list[dict[str, Any]]:
        """`ip -j …`, decoded."""
        out = self.run("ip", "-j", *argv, netns=netns).ok().out
        decoded: list[dict[str, Any]] = json.loads(out) if out.strip() else []
        return decoded

    def links(self, netns: str = "") -> set[str]:
        return {str(link["ifname"]) for link in self.ip("link", "show", netns=netns)}

    def addresses(self, ifname: str, *, netns: str = "") -> set[str]:
        """Global addresses of a link as ADDRESS/PREFIX; link-local ones are left out."""
        links = self.ip("address", "show", "dev", ifname, netns=netns)
        return {
            f"{entry['local']}/{entry['prefixlen']}"
            for link in links
            for entry in link.get("addr_info", ())
            if entry.get("scope") == "global"
        }

    def add_netns(self, name: str) -> str:
        """A named network namespace, loopback down as a runtime makes it; its path inside the node."""
        self.run("ip", "netns", "add", name).ok()
        return f"/run/netns/{name}"

    def ping(self, address: str, *, netns: str = "", wait: int = 2) -> bool:
        return self.run("busybox", "ping", "-c1", f"-W{wait}", address, netns=netns).code == 0

    def files(self, *folders: str) -> set[str]:
        """Every file below the folders, as paths inside the node."""
        root = str(self.path(""))
        found = (path for folder in folders for path in self.path(folder).rglob("*") if path.is_file())
        return {str(path)[len(root) :] for path in found}

    def kill(self, pid: int, sig: int = signal.SIGKILL) -> None:
        os.kill(pid, sig)
