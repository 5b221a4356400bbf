"""What metrics cost the requests, and that they count each of them: 10,000 while they are scraped every second."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Event, Thread

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.bench.gate import _CALL, _WAITING
from tests.program import ROOT
from tests.system.daemon import Daemon
from tests.system.node import BIN, Node
from tests.system.request_driver import Driver
from tests.waiting import until

ROUNDS, PAIRS = 20, 125
COUNTED = 50
NOISE = 0.05
"""Of a bar for times on a machine that does other work, too."""
RECEIVING = ("recvmsg", "accept4")
"""How often these are called is up to the moment at which a request comes."""
GET = b"GET /metrics HTTP/1.1\r\nHost: node\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n"


class Served:
    """A node with the built program as its service, and a driver."""

    def __init__(self, metrics: str, workers: int = 0) -> None:
        self.node = Node()
        self.node.write("/etc/cni-cnm/config.toml", f'log = "none"\nmetrics = "{metrics}"\n')
        options = ["--workers", str(workers)] if workers else []
        self.service = Daemon(self.node, str(BIN / "cni-cnm"), "serve", *options, log="/run/service.log")
        self.service.wait(self.node.path("/run/cni-cnm/service.sock").exists)
        self.driver = Driver(self.node, str(ROOT), str(BIN / "cni-cnm"), 25)

    def scrape(self) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.node.path("/run/cni-cnm/metrics.sock")))
            connection.sendall(GET)
            answer = b""
            while part := connection.recv(1 << 16):
                answer += part
        return answer.decode().replace("\r\n", "\n").partition("\n\n")[2]

    def requests(self) -> dict[str, float]:
        """By verb. AssertionError for one that was refused."""
        found = Counter[str]()
        for family in text_string_to_metric_families(self.scrape()):  # type: ignore[no-untyped-call]
            for sample in family.samples:
                if sample.name == "cni_cnm_requests_total":
                    assert sample.labels["code"] == "0"
                    found[sample.labels["verb"]] += sample.value
                if sample.name == "cni_cnm_request_seconds_count" and sample.labels["step"] == "total":
                    found[f"{sample.labels['verb']} timed"] += sample.value
        return dict(found)

    @contextmanager
    def scraped(self) -> Iterator[list[int]]:
        """All the while, once a second. The sizes of the answers."""
        end, sizes = Event(), list[int]()

        def run() -> None:
            while True:
                sizes.append(len(self.scrape()))
                if end.wait(1):
                    return

        thread = Thread(target=run)
        thread.start()
        try:
            yield sizes
        finally:
            end.set()
            thread.join()

    def close(self) -> None:
        self.driver.close()
        self.service.stop()
        self.node.close()


@pytest.fixture
def served(require_root: None, bundle: Path) -> Iterator[type[Served]]:
    made: list[Served] = []

    class Kept(Served):
        def __init__(self, metrics: str, workers: int = 0) -> None:
            made.append(self)
            super().__init__(metrics, workers)

    yield Kept
    for one in made:
        one.close()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_10_000_requests(served: type[Served]) -> None:
    """Interleaved: without metrics, with them, and with scrapes. At the end each request is counted, exactly."""
    off, on = served("off"), served("socket")
    for one in (off, on):
        one.driver.pairs(PAIRS)
    unscraped, without, scrapes = [], [], 0
    for _ in range(ROUNDS):
        bare = median(off.driver.pairs(PAIRS))
        quiet = median(on.driver.pairs(PAIRS))
        with on.scraped() as sizes:
            scraped = median(on.driver.pairs(PAIRS))
        scrapes += len(sizes)
        unscraped.append(scraped / quiet)
        without.append(scraped / bare)
    made = 2 * ROUNDS * PAIRS + PAIRS
    until(lambda: on.requests() == dict.fromkeys(("ADD", "DEL", "ADD timed", "DEL timed"), made), "all are counted",
          10, on.requests)  # fmt: skip
    print(
        f"{2 * made} requests, {scrapes} scrapes: an ADD takes {median(unscraped):.3f} times one without scrapes, "
        f"{median(without):.3f} times one without metrics"
    )
    assert median(unscraped) <= 1.02 + NOISE
    assert median(without) <= 1.02 + NOISE


@pytest.mark.long
def test_a_scrape_costs_a_request_no_system_call(served: type[Served], tmp_path: Path) -> None:
    """Counted in the worker, beside scrapes without a pause and without any: the calls and the messages are equal."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    one = served("socket", workers=1)
    one.driver.pairs(COUNTED)
    children = Path(f"/proc/{one.service.pid}/task/{one.service.pid}/children").read_text("ascii").split()
    worker = max(children, key=processor_time)
    counted = []
    for number in range(2):
        trace = tmp_path / f"trace-{number}"
        with Traced(worker, trace):
            if number:
                with one.scraped():
                    one.driver.pairs(COUNTED)
            else:
                one.driver.pairs(COUNTED)
        counted.append(calls(trace.read_text("utf-8", "replace")))
    # A thread that is the first time at work opens its own socket, once.
    quiet, scraped = ({name: round(count / COUNTED) for name, count in one.items()} for one in counted)
    assert {name: count for name, count in quiet.items() if count} == {name: n for name, n in scraped.items() if n}
    assert quiet["nlmsg"] >= 10
    print(
        f"a pair: {sum(quiet.values()) - quiet['nlmsg']} system calls, {quiet['nlmsg']} messages, with scrapes or not"
    )


def processor_time(pid: str) -> int:
    """So far, in ticks. That of the worker is the longest."""
    return int(Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[11])


class Traced:
    """strace of a process and its threads, to a file."""

    def __init__(self, pid: str, path: Path) -> None:
        self._path = path
        self._process = subprocess.Popen(
            ["strace", "-f", "-v", "-o", path, "-p", pid], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        while "attached" not in (line := stderr.readline()):
            assert line, "strace does not attach"

    def __exit__(self, *_: object) -> None:
        time.sleep(0.5)  # the worker closes descriptors of the last request after its answer
        self._process.terminate()
        self._process.communicate()


def calls(text: str) -> Counter[str]:
    """System calls by name, without waiting and memory, and messages to netlink."""
    found = Counter[str]()
    for line in text.splitlines():
        line = re.sub(r"^\d+ +", "", line)
        match = _CALL.match(line)
        if match is not None and match[1] not in (*_WAITING, *RECEIVING):
            found[match[1]] += 1
            if match[1] == "sendto":
                found["nlmsg"] += line.count("nlmsg_type=")
    return found
