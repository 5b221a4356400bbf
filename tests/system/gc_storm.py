"""A storm of gc beside a real containerd: pods come and go while containerd is killed, replaced, and lies.

    storm = Storm(containerd, launcher)     pods by CRI in k8s.io, and containers by `ctr run --cni` in default
    storm.start(width)                      that many workers, `cni-cnm gc --yes` without a pause, and an observer
    storm.worker.lie("empty")               what ctr says to gc from now on; "" is the truth
    storm.finish()                          the workers end, containerd is whole again, and what is dead is collected

The program under test has short times (HURRIED): automatic gc after a second, two looks at the lists 0.3 s apart. The
15 minutes of a new endpoint stay. So what is known to live or to be dead gets an old record.

An endpoint lives if its pod was started and is not yet to be removed: its record must be there at every look.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, NamedTuple

from tests.program import ROOT
from tests.system.containerd import IMAGE, Containerd
from tests.system.cri import CriError
from tests.system.daemon import Daemon
from tests.system.node import BIN
from tests.system.test_containerd import configure
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

HURRIED = """#!{python} -I
import sys
sys.path.insert(0, {root!r})
from cni_cnm.cli import gc
from cni_cnm.cnm.reconcile import gone_namespaces
from cni_cnm.runtimes import asked
gc.APART_S, asked.LIMIT_S = 0.3, 2.0
gone_namespaces.GRACE_S, gone_namespaces.LOOK_S = 1.0, 0.3
from cni_cnm.__main__ import main
sys.exit(main())
"""
LIES = ("empty", "half", "other", "error", "hang")
LYING_CTR = """#!/bin/sh
real=$(cat /run/lies/real) lie=$(cat /run/lies/lie 2>/dev/null)
case "$lie $*" in
empty*" ls"*) ;;
half*" containers ls "*) "$real" "$@" | awk 'NR % 2' ;;
other*" namespaces ls "*) echo moby ;;
error*" ls"*) echo "ctr: rpc error: code = Unavailable" >&2; exit 1 ;;
hang*" ls"*) exec sleep 600 ;;
*) exec "$real" "$@" ;;
esac
"""
RECORDS = "/run/cni-cnm/endpoints"


class Living(NamedTuple):
    """A container that runs. `id` is that of its CNI calls."""

    id: str
    netns: str
    by_ctr: bool


class Storm:
    def __init__(self, containerd: Containerd, folder: Path, seed: int) -> None:
        self.containerd, self.node = containerd, containerd.node
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.refusals: list[str] = []
        self._seed = seed
        self._program = folder / "hurried"
        self._program.write_text(HURRIED.format(python=sys.executable, root=str(ROOT)), encoding="utf-8")
        self._program.chmod(0o755)
        self._lock = Lock()
        self._living: dict[str, Living] = {}
        self._end = Event()
        self._threads: list[Thread] = []
        self._number = 0
        self.node.write("/run/lies/ctr", LYING_CTR)
        self.node.path("/run/lies/ctr").chmod(0o755)
        self.use(None)
        self.node.run("sh", "-c", f"mkdir -p /opt/cni/bin && ln -sf {BIN}/* /opt/cni/bin").ok()  # where ctr looks
        self._take_image()
        self.node.write("/etc/cni-cnm/config.toml", 'log = "/run/cni-cnm.log"\n')
        self._service = Daemon(self.node, str(self._program), "serve", log="/run/service.log")
        self._service.wait(self.node.path("/run/cni-cnm/service.sock").exists)
        configure(containerd)

    # what happens to containerd -------------------------------------------------

    def lie(self, kind: str) -> None:
        """How ctr answers gc."""
        self.node.write("/run/lies/lie", kind)
        self.counts["lies"] += bool(kind)

    def use(self, programs: Path | None) -> None:
        """containerd's programs from the next start on; gc asks with the ctr of the same version."""
        self.containerd.programs = programs
        self.node.write("/run/lies/real", str((programs or Path("/usr/bin")) / "ctr"))

    def end_containerd(self, sig: int = signal.SIGKILL, *, store: str | None = None) -> None:
        """It ends, and starts again: over the same store, or over another one, which has nothing."""
        self.counts["ends of containerd"] += 1
        self.containerd.stop(sig)
        self.containerd.store = self.containerd.store if store is None else store
        time.sleep(0.5)
        self.containerd.restart()
        if store:
            self.containerd.take_image()
            self._take_image()
        self.containerd.wait_ready()

    def _take_image(self) -> None:
        """For ctr's namespace. The first import has it for pods."""
        words = ("images", "import", "--snapshotter", "native", "/run/image.tar")
        self.node.run("ctr", "--namespace", "default", *words).ok()

    def freeze_containerd(self, seconds: float) -> None:
        self.counts["ends of containerd"] += 1
        self.containerd.freeze(seconds)

    # workers ----------------------------------------------------------------------

    def start(self, width: int) -> None:
        works: list[Callable[[random.Random], None]] = [*[self._work] * width, self._collect, self._observe]
        for number, work in enumerate(works):
            thread = Thread(target=self._loop, args=(work, random.Random(self._seed + number)), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _loop(self, work: Callable[[random.Random], None], chance: random.Random) -> None:
        while not self._end.is_set():
            try:
                work(chance)
            except CriError as error:
                self.refusals.append(str(error))
                self.counts["calls that containerd did not answer"] += 1
                time.sleep(0.1)
            except ValueError:  # grpcio's, for a channel that was closed meanwhile
                time.sleep(0.1)
            except Exception as error:
                self.wrong.append(f"{type(error).__name__}: {error}")
                return

    def _work(self, chance: random.Random) -> None:
        one = self.taken(chance) if chance.random() < min(0.9, len(self._living) / 24) else None
        if one is None:
            self.run(by_ctr=chance.random() < 0.25)
        elif chance.random() < 0.3:
            self.lose(one)
        else:
            self.remove(one)

    def run(self, *, by_ctr: bool = False) -> None:
        with self._lock:
            self._number += 1
            name = f"storm-{self._number}"
        if by_ctr:
            done = self.node.run(
                "ctr", "--namespace", "default", "run", "--detach", "--cni", "--snapshotter", "native", "--with-ns",
                "cgroup:/proc/1/ns/cgroup", IMAGE, name,
            )  # fmt: skip
            if done.code:
                raise CriError(done.err)
            one = Living(f"default-{name}", self._records()[f"default-{name}"], by_ctr=True)
        else:
            pod = self.containerd.cri.run_pod(name)
            one = Living(pod.id, pod.netns, by_ctr=False)
        self.age(one)
        self.counts["containers" if by_ctr else "pods"] += 1
        with self._lock:
            self._living[one.id] = one

    def remove(self, one: Living) -> None:
        """As a runtime does it: ctr sends no DEL."""
        if one.by_ctr:
            self._end_processes_in(one.netns)
        else:
            self.containerd.cri.stop(one.id)
            self.containerd.cri.remove(one.id)
        self.counts["removed"] += 1

    def lose(self, one: Living) -> None:
        """All of its processes end, and so does its namespace, half of the time. containerd sends no DEL."""
        self._end_processes_in(one.netns)
        with self._lock:
            self.counts["lost"] += 1
            namespace_goes = self.counts["lost"] % 2
        if not one.by_ctr:
            if namespace_goes:
                self.node.run("ip", "netns", "del", one.netns.rpartition("/")[2])
            self.node.run("ctr", "--namespace", "k8s.io", "containers", "rm", one.id)
        self.age(one)

    def _end_processes_in(self, netns: str) -> None:
        """Of the node's processes. `netns` is a path below /run/netns or /proc."""
        script = 'for ns in /proc/[0-9]*/ns/net; do [ ! $ns -ef "$0" ] || echo $ns | cut -d / -f 3; done'
        pids = self.node.run("sh", "-c", script, netns).out.split()
        self.node.run("kill", "-9", *pids)

    def taken(self, chance: random.Random) -> Living | None:
        with self._lock:
            return self._living.pop(chance.choice(sorted(self._living))) if self._living else None

    # gc, and what it must not do ------------------------------------------------------

    def gc(self) -> list[str]:
        """What `cni-cnm gc --yes` has removed."""
        environ = {"PATH": f"/run/lies:{os.environ['PATH']}"}
        done = self.node.run(str(self._program), "gc", "--yes", env=environ, timeout=120)
        if done.code or "Traceback" in done.err:
            self.wrong.append(f"gc ended with {done.code}: {done.err[-2000:]}")
        removed = [line for line in done.out.splitlines() if line.endswith(("was removed", "was taken down"))]
        self.counts["runs of gc"] += 1
        self.counts["removed by gc"] += len(removed)
        return removed

    def _collect(self, _: random.Random) -> None:
        self.gc()

    def _observe(self, _: random.Random) -> None:
        with self._lock:
            before = set(self._living)
        found = self.on_record()
        with self._lock:
            gone = (before & set(self._living)) - found
        self.wrong.extend(f"{one} lives and has no endpoint" for one in gone)
        self.counts["looks"] += 1
        time.sleep(0.2)

    def on_record(self) -> set[str]:
        """Containers that have an endpoint."""
        return set(self._records())

    def _records(self) -> dict[str, str]:
        """The namespace of each container that has an endpoint."""
        found = {}
        for path in self.node.path(RECORDS).glob("*.json"):
            with suppress(FileNotFoundError):
                record = json.loads(path.read_text(encoding="utf-8"))
                found[str(record["container_id"])] = str(record["netns"])
        return found

    def age(self, one: Living) -> None:
        """Its record is an hour old."""
        self.node.run("sh", "-c", f"touch -c -d '1 hour ago' $(grep -l '\"{one.id}\"' {RECORDS}/*.json)")

    # the end ------------------------------------------------------------------------

    def finish(self) -> None:
        """AssertionError if something that lives was removed, or something that is dead stays."""
        self._end.set()
        for thread in self._threads:
            thread.join(180)
            assert not thread.is_alive(), "a worker does not end"
        self.lie("")
        assert not self.wrong, "\n".join(self.wrong[:5])
        for pod in self.containerd.cri.pods():  # what was half started or half stopped when containerd ended
            if pod not in self._living:
                with suppress(CriError):
                    self.containerd.cri.stop(pod)
                    self.containerd.cri.remove(pod)
        for container, netns in self._records().items():  # lost in the middle of a start or a stop
            if container not in self._living:
                self.counts["dead at the end"] += 1
                self._end_processes_in(netns)
        self.node.run("sh", "-c", f"touch -d '1 hour ago' {RECORDS}/*.json")
        until(lambda: self.gc() is not None and self.on_record() <= set(self._living), "what is dead is gone", 120,
              lambda: self.node.run(str(self._program), "gc"))  # fmt: skip
        assert not self.wrong, "\n".join(self.wrong[:5])
        assert self.on_record() == set(self._living)
        for one in self._living.values():
            [gateway] = {route["gateway"] for route in self.node.ip("route", "show", "default", netns=one.netns)}
            assert self.node.ping(gateway, netns=one.netns), one
        leases = [path for path in self.node.files("/var/lib/cni/networks") if path.rpartition("/")[2][:1].isdigit()]
        assert len(leases) == len(self._living)
        veths = {name for name in self.node.links() if name.startswith("veth")}
        assert len(veths) == len(self._living)
        said = self.node.path("/run/cni-cnm.log").read_text(encoding="utf-8")
        self.counts["taken down by itself"] = said.count("; it was taken down")
        self.counts["alive at the end"] = len(self._living)

    def close(self) -> None:
        self._end.set()
        self._service.stop()

    def figures(self) -> str:
        return "\n".join(f"{count:6} {name}" for name, count in self.counts.items())


def newer_containerd() -> Path | None:
    """The folder of containerd 2 and its ctr; None where it was not built."""
    command = [str(ROOT / "scripts/reference"), "--built", "containerd"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Path(done.stdout.strip()) if done.returncode == 0 else None
