from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cni_cnm.service.protocol import MAGIC, REQUEST, encode_request
from cni_cnm.service.protocol import Request as WireRequest
from tests.program import ROOT
from tests.system.relay import Ran, Relay
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

LIMIT_S = 30.0
FROM_SERVICE = Ran(0, b"service {}", b"")


class Resident:
    """A scripted service as a process of its own, and relays that call it."""

    def __init__(self, relay: Relay, folder: Path) -> None:
        self.relay = relay
        self.log = folder / "log"
        self.pool = ThreadPoolExecutor(16)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *args: str, **kept: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            address = f"{self.relay.socket}.notify"
            manager.bind(address)
            manager.settimeout(20)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.system.scripted_service", self.relay.socket, self.log, *args],
                cwd=ROOT,
                env={**os.environ, "NOTIFY_SOCKET": address},
                **kept,  # type: ignore[call-overload]
            )
            assert manager.recv(100) == b"READY=1"
            os.unlink(address)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def call(self, args: str = "", **changes: str) -> Ran:
        return self.relay.run(environ=self.relay.environ(CNI_ARGS=args, **changes))

    def begin(self, args: str = "", **changes: str) -> Future[Ran]:
        """A call under way, begun or waiting for a thread when this returns."""
        before = self._arrived()
        future = self.pool.submit(self.call, args, **changes)
        self.wait_until(lambda: self._arrived() > before)
        return future

    def _arrived(self) -> int:
        return sum(line == "queued" or line.startswith("begin") for line in self.lines())

    def worker(self) -> int:
        """The pid of the process that answers."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        (pid,) = map(int, children.split())
        return pid

    def open(self, gate: str) -> None:
        """Let requests with `until=GATE` go on."""
        self.log.with_name(f"{self.log.name}.{gate}").touch()

    def wait_until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not happened():
            assert time.monotonic() < deadline, f"it never happened; so far: {self.lines()}"
            time.sleep(0.005)

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def resident(compiled_relay: Path, tmp_path: Path) -> Iterator[Resident]:
    resident = Resident(Relay(compiled_relay, tmp_path), tmp_path)
    yield resident
    if resident.process is not None and resident.process.poll() is None:
        resident.stop(signal.SIGKILL)
    resident.pool.shutdown()


def test_requests_that_wait_hinder_no_other(resident: Resident) -> None:
    """Eight requests, each of which waits until all have begun: a worker works on one at a time."""
    resident.start()
    calls = [resident.begin("meet=8", CNI_CONTAINERID=f"c{i}") for i in range(8)]
    assert [call.result() for call in calls] == [FROM_SERVICE] * 8


def test_requests_beyond_the_threads_wait(resident: Resident) -> None:
    """Two threads serve four requests two at a time, and none is lost."""
    resident.start("--threads", "2")
    calls = [resident.begin("until=go", CNI_CONTAINERID=f"c{i}") for i in range(4)]
    resident.open("go")
    assert [call.result() for call in calls] == [FROM_SERVICE] * 4
    marks = [1 if line == "begin ?" else -1 for line in resident.lines() if line != "queued"]
    assert max(accumulate(marks)) == 2


def test_status_does_not_wait_behind_adds(resident: Resident) -> None:
    """With every thread waiting and more ADDs queued, STATUS answers."""
    resident.start("--threads", "1")
    busy = [resident.begin("until=go", CNI_CONTAINERID=f"c{i}") for i in range(2)]
    status = resident.call(CNI_COMMAND="STATUS", CNI_CONTAINERID="", CNI_IFNAME="", CNI_NETNS="")
    assert status == FROM_SERVICE
    assert not any(call.done() for call in busy)
    resident.open("go")
    assert [call.result() for call in busy] == [FROM_SERVICE] * 2


def test_sigterm_finishes_what_is_under_way(resident: Resident) -> None:
    """The request begun, and the one waiting behind it, are answered; then the process ends with 0."""
    resident.start("--threads", "1")
    calls = [resident.begin("id=1;until=go"), resident.begin("id=2", CNI_IFNAME="eth1")]
    ended = resident.pool.submit(resident.stop)
    resident.wait_until(lambda: not resident.relay.socket.exists())
    resident.open("go")
    assert [call.result() for call in calls] == [FROM_SERVICE] * 2
    assert ended.result() == 0


def test_after_sigterm_the_relay_goes_on_by_itself(resident: Resident) -> None:
    """A request that comes while the service drains, and one after its end, get the full program."""
    resident.start()
    first = resident.begin("until=go")
    ended = resident.pool.submit(resident.stop)
    resident.wait_until(lambda: not resident.relay.socket.exists())
    assert resident.call(CNI_CONTAINERID="late").code == 7
    resident.open("go")
    assert first.result() == FROM_SERVICE
    assert ended.result() == 0
    assert resident.call().code == 7


def test_killed_in_the_middle_the_relay_goes_on_by_itself(resident: Resident) -> None:
    """kill -9 with a request under way: the full program gets the configuration and the id of the request."""
    resident.start()
    ran = resident.call("die;sleep=0.1")
    assert ran.code == 7
    assert ran.out.endswith(b"stdin={}")


def test_a_killed_worker_is_started_again(resident: Resident) -> None:
    """The next request is answered by another process, the log says what has happened, and SIGTERM ends the service."""
    resident.start(stderr=subprocess.PIPE)
    first = resident.worker()
    os.kill(first, signal.SIGKILL)
    resident.wait_until(lambda: resident.relay.run().out == FROM_SERVICE.out)
    assert resident.worker() != first
    assert resident.stop() == 0
    assert resident.process is not None
    assert resident.process.stderr is not None
    with resident.process.stderr as said:
        assert said.read().decode() == f"worker ({first}) was ended by SIGKILL; it is started again\n"


def test_a_killed_supervisor_takes_its_worker_with_it(resident: Resident) -> None:
    """What is under way is finished first: the kernel sends the worker SIGTERM. Another service can start at once."""
    resident.start()
    worker = resident.worker()
    first = resident.begin("until=go")
    resident.stop(signal.SIGKILL)
    resident.start()
    resident.open("go")
    assert first.result() == FROM_SERVICE
    resident.wait_until(lambda: not Path(f"/proc/{worker}").exists())
    assert resident.call() == FROM_SERVICE


def test_a_killed_service_starts_again(resident: Resident) -> None:
    """The socket a kill leaves behind does not hinder the next start."""
    resident.start()
    worker = resident.worker()
    resident.stop(signal.SIGKILL)
    resident.wait_until(lambda: not Path(f"/proc/{worker}").exists())  # until then it answers
    assert resident.call().code == 7
    resident.start()
    assert resident.call() == FROM_SERVICE


@pytest.mark.parametrize("what", ["refuse", "raise"])
def test_what_the_service_does_not_answer_the_full_program_does(resident: Resident, what: str) -> None:
    """ "Not mine", or a defect in the service: the relay goes on by itself, the service with the next."""
    resident.start()
    assert resident.call(what).code == 7
    assert resident.call() == FROM_SERVICE


def test_a_request_whose_relay_gave_up_is_not_begun(resident: Resident) -> None:
    """The runtime was told to try again later, so what still waits for a thread then must not be done."""
    resident.start("--threads", "1")
    first = resident.begin("id=1;until=go")
    gave_up = resident.call("id=2", CNI_CONTAINERID="c2", CNI_CNM_TIMEOUT="1")
    third = resident.begin("id=3", CNI_CONTAINERID="c3")
    resident.open("go")
    assert [first.result(), third.result()] == [FROM_SERVICE] * 2
    assert json.loads(gave_up.out)["code"] == 11
    ran = [line for line in resident.lines() if line != "queued"]
    assert ran == ["begin 1", "end 1", "begin 3", "end 3"]


def test_a_second_service_is_refused(resident: Resident) -> None:
    """It says so and ends; the first one goes on."""
    resident.start()
    second = subprocess.run(
        [sys.executable, "-m", "tests.system.scripted_service", resident.relay.socket, resident.log],
        cwd=ROOT,
        capture_output=True,
        timeout=20,
    )
    assert b"another service listens" in second.stderr
    assert resident.call() == FROM_SERVICE


def test_the_socket_of_another_service_stays(resident: Resident) -> None:
    """The folder was removed while a service ran, so that another one could start: the first one leaves its socket."""
    folder = resident.relay.socket.parent / "run"
    resident.relay.socket = folder / "service.sock"
    folder.mkdir(0o700)
    resident.start()
    first = resident.process
    assert first is not None
    shutil.rmtree(folder)
    folder.mkdir(0o700)
    resident.start()
    first.terminate()
    first.wait(timeout=20)
    assert resident.call() == FROM_SERVICE


def test_the_socket_is_roots_alone(resident: Resident) -> None:
    """0600, in a folder made 0700."""
    resident.relay.socket = resident.relay.socket.parent / "run" / "service.sock"
    (resident.relay.socket.parent).mkdir(0o700)
    resident.start()
    assert resident.relay.socket.stat().st_mode & 0o777 == 0o600


def test_another_user_is_refused(resident: Resident, tmp_path: Path) -> None:
    """Even where the socket's mode would let them in, the kernel's word on who connects decides."""
    resident.start()
    resident.relay.socket.chmod(0o666)
    tmp_path.chmod(0o711)
    pid = os.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(resident.relay.socket.name)
            os._exit(0 if connection.recv(1) == b"" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert resident.call() == FROM_SERVICE


def test_a_socket_from_systemd_is_used(resident: Resident) -> None:
    """sd_listen_fds(3): a connection made before the service runs is answered; the name outlives it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(resident.relay.socket))
        listener.listen(8)

        early = resident.pool.submit(resident.call)
        wrapper = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3<&"$FD"'
        assert select.select([listener], [], [], LIMIT_S)[0]  # as systemd does, started by the first connection
        resident.process = subprocess.Popen(
            ["bash", "-c", wrapper, sys.executable, "-m", "tests.system.scripted_service",
             "/nowhere/service.sock", resident.log],
            cwd=ROOT, env={**os.environ, "FD": str(listener.fileno())}, pass_fds=[listener.fileno()],
        )  # fmt: skip
        assert [early.result(), resident.call()] == [FROM_SERVICE] * 2
        assert resident.stop() == 0
        assert resident.relay.socket.exists()


def exchange(path: Path, data: bytes, descriptors: int) -> bytes:
    """What the service answers to these bytes with so many descriptors."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(path))
            if descriptors:
                socket.send_fds(connection, [data], [own] * descriptors)
            else:
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            try:
                return connection.recv(100)
            except ConnectionResetError:
                return b""
    finally:
        os.close(own)


WHOLE = WireRequest({"CNI_COMMAND": "ADD"}, ["cni-cnm"], b"{}")


def test_what_is_no_request_is_closed_without_a_word(resident: Resident) -> None:
    """Another version or protocol, wrong counts, cut off, too long: closed, no descriptor stays behind."""
    resident.start()
    assert exchange(resident.relay.socket, encode_request(WHOLE, 1), 1)
    assert (
        exchange(resident.relay.socket, encode_request(WHOLE, 1)[:10], 1) == b""
    )  # the thread for these waits by epoll
    fds = Path(f"/proc/{resident.worker()}/fd")
    open_before = len(os.listdir(fds))
    good = encode_request(WHOLE, 1)
    for data, descriptors in (
        (encode_request(WHOLE, 1, version="0.0.9"), 1),
        (b"GET / HTTP/1.1\r\n\r\n" + bytes(REQUEST.size), 1),
        (good, 0),
        (good, 2),
        (encode_request(WHOLE, 2), 3),
        (encode_request(WHOLE, 0), 0),
        (good[:-1], 1),
        (good[:10], 1),
        (good + b"x", 1),
        (REQUEST.pack(MAGIC, good[8:40].rstrip(bytes(1)), 2**32 - 1, 2**32 - 1, 2**32 - 1, 1), 1),
        (b"", 0),
    ):
        assert exchange(resident.relay.socket, data, descriptors) == b"", data
    assert exchange(resident.relay.socket, good, 1)
    resident.wait_until(lambda: len(os.listdir(fds)) <= open_before)


def test_many_that_connect_and_say_nothing_do_not_stop_others(resident: Resident) -> None:
    """A relay connects before it has read its stdin; the service waits for none of them."""
    resident.start()
    silent = [socket.socket(socket.AF_UNIX) for _ in range(200)]
    try:
        for one in silent:
            one.connect(str(resident.relay.socket))
        assert resident.call() == FROM_SERVICE
    finally:
        for one in silent:
            one.close()


def test_it_sleeps_while_nobody_calls(resident: Resident) -> None:
    """No timer, no polling: not one context switch in a second, even with a connection open.

    What the call and the connection have begun may still be at work before.
    """
    resident.start()
    resident.call()
    assert resident.process is not None
    pids = [resident.process.pid, resident.worker()]
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(resident.relay.socket))

        def sleeps() -> bool:
            before = [switches(pid) for pid in pids]
            time.sleep(1)
            return [switches(pid) for pid in pids] == before

        until(sleeps, "a second without a context switch", 10)


def switches(pid: int) -> int:
    """Voluntary context switches of all threads of a process."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as status:
            total += sum(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt"))
    return total
