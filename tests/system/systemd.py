"""systemd as the first process of namespaces of its own, with the units of conf/ and the built program in /opt/cni.

    with Systemd() as systemd:
        systemd.control("start", "cni-cnm.socket")      `systemctl …`
        systemd.run("ls", "/run/cni-cnm")               any command beside it
        systemd.shown("cni-cnm.service", "MainPID")     a property of a unit

No unit of the machine is known to it. Its cgroups are below one of their own, in the hierarchy named systemd.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

from tests.program import ROOT, built
from tests.system.node import Done
from tests.waiting import until

SYSTEMD = "/lib/systemd/systemd"
_HIERARCHY = Path("/sys/fs/cgroup/systemd")
_UNITS = "/run/units"
_TARGETS = ("sysinit", "basic", "sockets", "shutdown", "multi-user", "default")
_ENTER = r"""
import os, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as file:
    file.write("0")
os.execvp("unshare", ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--net", "--uts", "--ipc", "--cgroup",
                      "--propagation", "private", "sh", "-ec", *sys.argv[2:]])
"""
_START = r"""
mount -t proc proc /proc
mount -t tmpfs -o mode=0755 tests /run
umount -R /sys/fs/cgroup
mount -t tmpfs -o mode=0755 tests /sys/fs/cgroup
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
for folder in /opt /var/lib/cni /var/lib/cni-cnm /etc/cni /etc/cni-cnm; do
    [ ! -d $folder ] || mount -t tmpfs -o mode=0755 tests $folder
done
mkdir /opt/cni
mount --bind "$0" /opt/cni
ip link set lo up
mkdir "$1"
cp "$2"/cni-cnm*.service "$2"/cni-cnm*.socket "$1"
for target in $3; do
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' $target >"$1/$target.target"
done
export container=tests SYSTEMD_UNIT_PATH="$1"
exec "$4" --system --log-target=null --unit=basic.target
"""


def missing() -> str:
    """Why no systemd can run here; "" if one can."""
    absent = [program for program in (SYSTEMD, "systemctl") if shutil.which(program) is None]
    if absent:
        return f"needs {', '.join(absent)}"
    return "" if (_HIERARCHY / "cgroup.procs").exists() else "needs the cgroup hierarchy named systemd"


class Systemd:
    def __init__(self) -> None:
        self._cgroup = _HIERARCHY / f"cni-cnm-test-{os.getpid()}"
        self._cgroup.mkdir()
        self._units = [_UNITS, str(ROOT / "conf"), " ".join(_TARGETS), SYSTEMD]
        dist = str(built().parent)
        self._outer = subprocess.Popen(
            ["python3", "-Ic", _ENTER, str(self._cgroup), _START, dist, *self._units],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.pid = 0
        try:
            until(self._is_up, "systemd answers", 30)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._outer.kill()
        self._outer.wait()
        until(lambda: not self._processes(), "its processes have ended", 30)
        for folder in sorted((path for path in self._cgroup.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()
        self._cgroup.rmdir()

    def _processes(self) -> list[str]:
        return [text for path in self._cgroup.rglob("cgroup.procs") if (text := path.read_text(encoding="ascii"))]

    def _is_up(self) -> bool:
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text(encoding="ascii").split()
        self.pid = int(children[0]) if children else 0
        return bool(self.pid) and self.run("systemctl", "is-active", "basic.target").code == 0

    def run(self, *argv: str, timeout: float = 120) -> Done:
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--ipc", "--cgroup", "--"]
        done = subprocess.run([*enter, *argv], capture_output=True, text=True, timeout=timeout, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    def control(self, *argv: str) -> str:
        return self.run("systemctl", *argv).ok().out.strip()

    def shown(self, unit: str, name: str) -> str:
        return self.control("show", "--value", f"--property={name}", unit)

    def path(self, inside: str) -> Path:
        return Path(f"/proc/{self.pid}/root{inside}")
