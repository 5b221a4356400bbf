"""Processes of the service are killed at random while pods come and go, and each of them is counted over many calls."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import built
from tests.side import Side
from tests.system.daemon import Daemon
from tests.waiting import until

CONF = {
    "cniVersion": "1.0.0", "name": "podnet", "bridge": "br0", "isGateway": True, "ipMasq": True,
    "ipam": {"type": "host-local", "subnet": "10.88.0.0/16"},
}  # fmt: skip
PODS = 4
HEAP_BYTES = 64 << 20
"""HEAP_MAX_SIZE of glibc: where an arena begins, except the first one."""
NFT_SOCKET = "(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER)"
"""As libnftables makes it. Ours are closed on exec."""
ROLES = 6
"""Two workers, the watch, the process for name servers, the process for metrics, the link deleter."""


class Served:
    """A node with a service of two workers, and pods that come and go."""

    def __init__(self) -> None:
        self.side = Side(built() / "cni-cnm", "cni-cnm")
        for number in range(PODS):
            self.side.container(f"c{number}")
        program = built().parent / "lib/cni-cnm/current/cni-cnm"
        self.service = Daemon(self.side.node, str(program), "serve", "--workers", "2", log="/run/service.log")
        self.service.wait(lambda: self.service.pid and len(self.children()) == ROLES)

    def children(self) -> list[int]:
        """The pids of the service's processes, as seen from outside, without the supervisor."""
        pid = self.service.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return [int(child) for child in found if _runs(int(child))]

    def listens(self, pid: int) -> bool:
        """True if the process has the service's socket, on which relays are waited for."""
        rows = Path(f"/proc/{pid}/net/unix").read_text(encoding="ascii").splitlines()
        inodes = {f"socket:[{row.split()[6]}]" for row in rows if row.endswith("/service.sock")}
        return any(held in inodes for held in _descriptors(pid))

    def come_and_go(self, container: str, times: int) -> None:
        """ADD and DEL, each with the right answer."""
        for _ in range(times):
            (given,) = self.side.add(CONF, container).ok().json["ips"]
            assert self.side.node.addresses("eth0", netns=f"/run/netns/{container}") == {given["address"]}
            self.side.delete(CONF, container).ok()
            assert self.side.node.links(netns=f"/run/netns/{container}") == {"lo"}

    def left(self) -> set[str]:
        leases = {name for name in self.side.leases("podnet") if name.startswith("10.")}
        return leases | self.side.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes")

    def close(self) -> None:
        self.side.close()
        self.service.stop(signal.SIGKILL)


def _descriptors(pid: int) -> Iterator[str]:
    """What a process's descriptors refer to; it opens and closes some meanwhile."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(descriptor)


def _runs(pid: int) -> bool:
    """False for one that was killed and is not waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def served(require_root: None) -> Iterator[Served]:
    made = Served()
    yield made
    made.close()


def killed_at_random(served: Served, times: int) -> None:
    """Pods come and go on threads; meanwhile children are killed. Each answer is right, and nothing is left."""
    failed: list[BaseException] = []
    done = threading.Event()

    def pods(container: str) -> None:
        try:
            while not done.is_set():
                served.come_and_go(container, 1)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=pods, args=(f"c{number}",)) for number in range(PODS)]
    for thread in threads:
        thread.start()
    chance = random.Random(times)
    killed = 0
    while killed < times and not failed:
        done.wait(chance.uniform(0.05, 0.3))
        if children := served.children():
            os.kill(chance.choice(children), signal.SIGKILL)
            killed += 1
    done.set()
    for thread in threads:
        thread.join(timeout=120)
    assert failed == []
    assert served.left() == set()
    until(lambda: len(served.children()) == ROLES, "every process is started again", 30)
    assert served.service.log().count("was ended by SIGKILL; it is started again") == times
    served.come_and_go("c0", 3)


def test_killed_at_random_no_answer_is_lost(served: Served) -> None:
    killed_at_random(served, 10)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_at_random_often(served: Served) -> None:
    killed_at_random(served, 200)


def test_a_socket_is_held_by_those_alone_that_accept_from_it(served: Served) -> None:
    """The supervisor is killed while the other processes take their time: a call does not wait for them."""
    *workers, watch, names, metrics, deleter = served.children()
    others = (watch, names, metrics, deleter)
    until(lambda: not any(served.listens(pid) for pid in others), "they have closed the socket")
    for pid in (metrics, deleter):  # the others may have a lock that an ADD waits for
        os.kill(pid, signal.SIGSTOP)
    os.kill(served.service.pid, signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers end")
    served.side.call("ADD", CONF, "c0", env={"CNI_CNM_TIMEOUT": "3"}).ok()


@contextlib.contextmanager
def sockets(served: Served, *options: str) -> Iterator[Path]:
    """Strace at the calls of socket(2) in each worker, and the file that it writes."""
    workers, output = served.children()[:2], served.side.node.path("/run/sockets")
    attached = [part for pid in workers for part in ("-p", str(pid))]
    tracer = subprocess.Popen(["strace", "-f", "-qqq", "-o", str(output), "-e", "trace=socket", *options, *attached])
    try:
        until(lambda: all(_traced(pid) for pid in workers), "strace has attached")
        yield output
    finally:
        tracer.terminate()
        tracer.wait()


def _traced(pid: int) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")


def test_libnftables_ends_only_a_worker(served: Served) -> None:
    """It calls exit(3) if it cannot have its socket. The pod is attached all the same, and the worker starts again."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    with sockets(served) as output:
        served.side.add(CONF, "c0").ok()
    calls = output.read_text(encoding="ascii").splitlines()
    thread = next(line.split()[0] for line in calls if NFT_SOCKET in line)
    own = [NFT_SOCKET in line for line in calls if line.split()[0] == thread]
    with contextlib.closing(Served()) as fresh:
        with sockets(fresh, "-e", f"inject=socket:error=EMFILE:when={own.index(True) + 1}"):
            fresh.side.add(CONF, "c0").ok()
        until(lambda: "ended with 3; it is started again" in fresh.service.log(), "the worker has ended")
        fresh.side.delete(CONF, "c0").ok()
        fresh.come_and_go("c1", 3)
        assert fresh.left() == set()


def test_threads_share_memory_arenas(served: Served) -> None:
    """glibc's default is one for each thread, each with memory that is not released."""
    threads = [threading.Thread(target=served.come_and_go, args=(f"c{number}", 5)) for number in range(PODS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    children = served.children()
    assert children
    for pid in children:
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="ascii").splitlines()
        heaps = [one for one in maps if not int(one.split("-")[0], 16) % HEAP_BYTES and one.split()[1] == "rw-p"]
        assert len(heaps) <= 1, heaps


def descriptors(served: Served) -> dict[int, int]:
    """Open descriptors of each process."""
    return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in (served.service.pid, *served.children())}


def grows(served: Served, warm: int, counted: int) -> None:
    """After many calls no process has more descriptors than after a few, but for two of a thread's own sockets."""
    threads = [threading.Thread(target=served.come_and_go, args=(f"c{n}", warm // PODS)) for n in range(PODS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    before = descriptors(served)
    served.come_and_go("c0", counted)
    until(lambda: all(count <= before.get(pid, 0) + 2 for pid, count in descriptors(served).items()), "none grows", 10)


def test_descriptors_stay_as_many(served: Served) -> None:
    grows(served, 40, 20)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_descriptors_stay_as_many_over_2_000_calls(served: Served) -> None:
    grows(served, 200, 1000)
