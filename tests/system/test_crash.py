"""SIGKILL at any moment of an ADD: the DEL leaves nothing, and the next ADD of the same container works."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.program import form
from tests.side import Side

CONFIG = {
    "cniVersion": "1.0.0",
    "name": "net",
    "bridge": "cni0",
    "isDefaultGateway": True,
    "ipMasq": True,
    "macspoofchk": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]]},
}
CHAIN: dict[str, Any] = {
    **CONFIG,
    "bandwidth": {"ingressRate": 10**7, "ingressBurst": 10**6, "egressRate": 10**7, "egressBurst": 10**6},
    "tuning": {"sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400},
    "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
}
"""With all that the plugins of a usual chain would add."""
CALLS = "sendto,sendmsg,rename,unlink,setns,flock,write,pwrite64,fcntl"
"""What an ADD changes anything with."""


@pytest.fixture
def side(side: Side) -> Side:
    if form() == "service":
        pytest.skip("here the killed process is the relay; tests/system/test_service.py kills the service")
    return side


def environment(side: Side) -> dict[str, str]:
    return {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
        "CNI_PATH": side.path,
    }  # fmt: skip


def assert_nothing_left(side: Side) -> None:
    state = side.state()
    assert state["host"]["links"].keys() <= {"lo", "cni0"}
    assert state["c1"]["links"].keys() == {"lo"}
    assert {name for name in side.leases("net") if not name.startswith("last")} == set()
    assert side.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()
    ruleset = side.node.run("nft", "list", "ruleset").out
    assert "net/c1/eth0" not in ruleset
    assert "10.88.0." not in ruleset.replace("10.88.0.0/24", "")
    assert "fd00:88::2" not in ruleset


def recover(side: Side) -> None:
    """What a runtime does next: DEL; and later the container comes again."""
    side.delete(CONFIG).ok()
    assert_nothing_left(side)
    side.add(CONFIG).ok()
    side.delete(CONFIG).ok()
    assert_nothing_left(side)


def test_killed_at_every_call_that_changes_something(side: Side) -> None:
    """The process dies entering its first, second, … such system call, until one ADD gets through."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    for number in range(1, 400):
        inject = f"inject={CALLS}:signal=SIGKILL:when={number}"
        done = side.node.run(
            "strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={CALLS}", "-e", inject, str(side.executable),
            stdin=json.dumps({**CONFIG, "type": "cni-cnm"}), env=environment(side),
        )  # fmt: skip
        if done.code == 0:
            break
        recover(side)
    assert number > 15, "an ADD has more steps than that: did the injection work?"
    side.delete(CONFIG).ok()
    assert_nothing_left(side)


def test_out_of_open_files_at_any_moment(side: Side) -> None:
    """A limit that each ADD meets a little later: one sentence, no fault of ours, and DEL leaves nothing."""
    environ, stdin = environment(side), json.dumps({**CHAIN, "type": "cni-cnm"})
    met = 0
    for limit in range(4, 64):
        script = f"ulimit -n {limit}; exec {side.executable}"
        done = side.node.run("sh", "-c", script, stdin=stdin, env=environ)
        if done.code == 0:
            break
        if done.out.strip():  # else not even the interpreter could start
            met += 1
            answer = json.loads(done.out)
            assert "Too many open files" in f"{answer['msg']} {answer.get('details', '')}", answer
            assert answer["code"] in (5, 11, 110), answer
            assert "internal error" not in answer["msg"], answer
        side.delete(CHAIN).ok()
        assert_nothing_left(side)
    assert met > 3
    side.delete(CHAIN).ok()
    assert_nothing_left(side)


def killed_at(side: Side, delay_s: float) -> bool:
    process = subprocess.Popen(
        side.node.command(str(side.executable)), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        env={**os.environ, **environment(side)}, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps({**CONFIG, "type": "cni-cnm"}).encode())
    process.stdin.close()
    time.sleep(delay_s)
    running = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL) if running else None
    process.wait()
    return running


def test_killed_at_random_moments(side: Side) -> None:
    """Anywhere in time, some thirty times."""
    storm(side, 30)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_at_random_moments_often(side: Side) -> None:
    """Anywhere in time, 300 times."""
    storm(side, 300)


def storm(side: Side, times: int) -> None:
    begun = time.monotonic()
    side.add(CONFIG).ok()
    whole_s = time.monotonic() - begun
    side.delete(CONFIG).ok()
    randomness = random.Random(7)
    killed = 0
    for _ in range(times):
        delay_s = randomness.uniform(0.1, 1.1) * whole_s
        if killed_at(side, delay_s):
            killed += 1
            whole_s = max(whole_s, delay_s)
        else:  # other work on the machine has ended: an ADD takes no longer than this now
            whole_s = delay_s
        side.delete(CONFIG).ok()
        assert_nothing_left(side)
    side.add(CONFIG).ok()
    assert killed > times / 3


def test_killed_delete_is_finished_by_the_next(side: Side) -> None:
    """The DEL itself dies anywhere; the runtime repeats it."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    delete: dict[str, Any] = {**environment(side), "CNI_COMMAND": "DEL"}
    for number in range(1, 400):
        side.add(CONFIG).ok()
        inject = f"inject={CALLS}:signal=SIGKILL:when={number}"
        done = side.node.run(
            "strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={CALLS}", "-e", inject, str(side.executable),
            stdin=json.dumps({**CONFIG, "type": "cni-cnm"}), env=delete,
        )  # fmt: skip
        side.delete(CONFIG).ok()
        assert_nothing_left(side)
        if done.code == 0:
            break
    assert number > 8


def served(side: Side) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        side.node.command(str(side.executable), "serve"), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(300)
def test_everything_is_killed_under_load(side: Side) -> None:
    """Twelve pods come and go, calls and a service that puts rules back are killed anywhere: DEL leaves nothing."""
    names = [f"p{number}" for number in range(12)]
    for name in names:
        side.container(name)
    end = time.monotonic() + 30

    def config(name: str) -> dict[str, Any]:
        mapping = {"hostPort": 9000 + names.index(name), "containerPort": 80, "protocol": "tcp"}
        return {**CHAIN, "runtimeConfig": {"portMappings": [mapping]}}

    def come_and_go(name: str) -> None:
        randomness = random.Random(name)
        while time.monotonic() < end:
            for verb in ("ADD", "DEL"):
                environ = {**environment(side), "CNI_COMMAND": verb, "CNI_CONTAINERID": name,
                           "CNI_NETNS": f"/run/netns/{name}"}  # fmt: skip
                process = subprocess.Popen(
                    side.node.command(str(side.executable)), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                    env={**os.environ, **environ}, start_new_session=True,
                )  # fmt: skip
                assert process.stdin is not None
                process.stdin.write(json.dumps({**config(name), "type": "cni-cnm"}).encode())
                process.stdin.close()
                try:
                    process.wait(randomness.uniform(0.2, 3))
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def kill_the_service() -> None:
        randomness = random.Random(7)
        while time.monotonic() < end:
            service = served(side)
            time.sleep(randomness.uniform(0.5, 3))
            os.killpg(service.pid, signal.SIGKILL)
            service.wait()

    with ThreadPoolExecutor(len(names) + 1) as pool:
        for done in [pool.submit(kill_the_service), *(pool.submit(come_and_go, name) for name in names)]:
            done.result()
    for name in names:
        side.delete(config(name), name).ok()
    assert_nothing_left(side)
    ruleset = side.node.run("nft", "list", "ruleset").out
    assert [line for line in ruleset.splitlines() if "/eth0" in line] == []
    assert all(side.node.links(f"/run/netns/{name}") == {"lo"} for name in names)
