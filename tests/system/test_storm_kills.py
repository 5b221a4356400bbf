"""Sixteen at once for minutes, while relays, programs and the service are killed at random.

No address is given twice, every call is answered within its limit, and nothing is left.
CNI_CNM_STORM_MINUTES sets how long; 10 by default.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from tests.faults.judgement import family_of
from tests.program import form, program
from tests.side import Side

WIDTH = 16
LIMIT_S = 70
"""A relay waits 60 s for a service."""
MINUTES = float(os.environ.get("CNI_CNM_STORM_MINUTES", "10"))


@pytest.fixture
def side(require_root: None, tmp_path: Path) -> Iterator[Side]:
    made = Side(program(tmp_path), "cni-cnm")
    for number in range(WIDTH):
        made.container(f"p{number}")
    yield made
    made.close()


def config(number: int) -> dict[str, Any]:
    mapping = {"hostPort": 9000 + number, "containerPort": 80, "protocol": "tcp"}
    return {
        "cniVersion": "1.0.0", "type": "cni-cnm", "name": f"net{number % 2}", "bridge": f"storm{number % 2}",
        "isDefaultGateway": True, "ipMasq": True, "macspoofchk": True,
        "ipam": {"type": "host-local", "subnet": f"10.7{number % 2}.0.0/24"},
        "runtimeConfig": {"portMappings": [mapping]},
    }  # fmt: skip


class Storm:
    """What is attached by now, and how many calls were made and killed."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.end = time.monotonic() + MINUTES * 60
        self.lock = Lock()
        self.held: dict[str, str] = {}
        self.calls = self.killed = 0

    def call(self, verb: str, number: int, kill_after: float | None) -> tuple[int, str]:
        name = f"p{number}"
        environ = {
            "CNI_COMMAND": verb, "CNI_CONTAINERID": name, "CNI_NETNS": f"/run/netns/{name}", "CNI_IFNAME": "eth0",
            "CNI_PATH": self.side.path,
        }  # fmt: skip
        process = subprocess.Popen(
            self.side.node.command(str(self.side.executable)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env={**os.environ, **environ}, start_new_session=True, text=True,
        )  # fmt: skip
        self.calls += 1
        try:
            out = process.communicate(json.dumps(config(number)), timeout=kill_after or LIMIT_S)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            assert process.stdin is not None
            process.stdin.close()  # not done by communicate() if the time was over before it wrote anything
            assert kill_after is not None, f"{verb} {name} has no answer within {LIMIT_S} s"
            self.killed += 1
            return -9, ""
        assert process.returncode == 0 or json.loads(out)["code"], out
        return process.returncode, out

    def come_and_go(self, number: int) -> None:
        randomness, name = random.Random(number), f"p{number}"
        while time.monotonic() < self.end:
            kill = randomness.uniform(0.01, 0.5) if randomness.random() < 0.3 else None
            code, out = self.call("ADD", number, kill)
            if code == 0:
                address = json.loads(out)["ips"][0]["address"]
                with self.lock:
                    assert address not in self.held, f"{address} of {self.held[address]} is given to {name}"
                    self.held[address] = name
                time.sleep(randomness.uniform(0, 0.2))
                with self.lock:
                    del self.held[address]
            while self.call("DEL", number, kill)[0] != 0:
                kill = None

    def kill_the_service(self) -> None:
        randomness = random.Random("service")
        while time.monotonic() < self.end:
            time.sleep(randomness.uniform(0.2, 2))
            service = self.side._service
            if service is None or not service.running:
                self.side.serve()  # as systemd does
                continue
            family = family_of(service.pid)
            victim = randomness.choice(family[1:] * 3 + family[:1]) if family else 0
            if victim:
                self.killed += 1
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    continue


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_sixteen_at_once_with_kills(side: Side) -> None:
    """In each form: the relay and the full program are killed, and with a service any of its processes."""
    if form() == "source":
        pytest.skip("for the built program")
    storm = Storm(side)
    with ThreadPoolExecutor(WIDTH + 1) as pool:
        running = [pool.submit(storm.come_and_go, number) for number in range(WIDTH)]
        if form() == "service":
            running.append(pool.submit(storm.kill_the_service))
        for done in running:
            done.result()
    for number in range(WIDTH):
        assert storm.call("DEL", number, None)[0] == 0
    print(f"{storm.calls} calls, {storm.killed} kills in {MINUTES:g} minutes")
    assert side.node.links() <= {"lo", "storm0", "storm1"}
    assert all(side.node.links(f"/run/netns/p{number}") == {"lo"} for number in range(WIDTH))
    for name in ("net0", "net1"):
        assert {lease for lease in side.leases(name) if not lease.startswith("last")} == set()
    assert side.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()
    ruleset = side.node.run("nft", "list", "ruleset").out
    assert [line for line in ruleset.splitlines() if "/eth0" in line] == []
