"""A host that runs out of something: the code in the docs is the code that comes."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.program import built, form, program
from tests.side import Side
from tests.surroundings.configs import network


@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK", "STATUS"])
def test_a_low_limit_of_open_files(side: Side, tmp_path: Path, verb: str) -> None:
    """From just enough to start down to nothing: what fails for want of a descriptor is 11, and the next call works."""
    if form() != "source":
        pytest.skip("below its own needs the relay cannot start another program")
    side.container("c1")
    config = {**network(ipMasq=True), "cniVersion": "1.1.0", "type": "cni-cnm"}
    result = side.add(config).ok().json if verb in ("DEL", "CHECK") else None
    stdin = json.dumps({**config, "prevResult": result} if verb == "CHECK" else config)
    env = {"CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
           "CNI_PATH": side.path}  # fmt: skip
    failures = 0
    for limit in range(14, 4, -1 if verb == "ADD" else -2):
        done = side.node.run("sh", "-c", f"ulimit -n {limit}; exec {program(tmp_path)}", stdin=stdin, env=env)
        answer = json.loads(done.out) if done.out.strip().startswith("{") else None
        if done.code == 0:
            if verb == "ADD":
                side.delete(config).ok()
            if verb == "DEL":
                side.add(config).ok()
            continue
        if answer is None:
            break  # the interpreter itself could not start
        assert answer["code"] == 11, (limit, answer)
        failures += 1
    assert failures
    side.delete(config).ok()
    assert side.node.links("/run/netns/c1") == {"lo"}


PLACES = ("/run/cni-cnm", "/var/lib/cni-cnm", "/var/lib/cni")
"""Where records and leases are."""


@pytest.fixture
def small(side: Side) -> Side:
    """Each place is a disk of its own, of 256 KiB. Nothing was written yet."""
    side.container("c1")
    for place in PLACES:
        side.node.path(place).mkdir(parents=True, exist_ok=True)
        side.node.run("mount", "-t", "tmpfs", "-o", "size=256k,mode=0755", "small", place).ok()
    return side


@pytest.mark.parametrize("state", ["full", "read-only"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("attached", [False, True])
def test_a_disk_that_is_full_or_read_only(small: Side, place: str, state: str, attached: bool) -> None:
    """ADD is one error that names the file, and leaves nothing. DEL ends, or says what it could not remove."""
    config = network(ipMasq=True)
    if attached:
        small.add(config).ok()
    spoil, mend = {
        "full": (f"cat /dev/zero >{place}/fill 2>/dev/null || true", f"rm {place}/fill"),
        "read-only": (f"mount -o remount,ro {place}", f"mount -o remount,rw {place}"),
    }[state]
    small.node.run("sh", "-c", spoil).ok()
    if attached:
        answer = small.delete(config)
        assert answer.code == 0 or answer.json["code"] == 5, answer
    elif (answer := small.add(config)).code:
        assert answer.json["code"] == 5, answer
        assert place in answer.json["msg"], answer
        assert small.node.links("/run/netns/c1") == {"lo"}
        assert small.node.links() == {"lo"}, "the bridge of a network that was not made"
    small.node.run("sh", "-c", mend).ok()
    small.delete(config).ok()
    small.add(config).ok()
    small.delete(config).ok()
    assert {name for name in small.leases("net") if not name.startswith("last")} == set()
    assert small.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
def test_a_low_limit_of_memory(side: Side, verb: str) -> None:
    """From enough down to almost nothing: error 11 or a result, never silence. What is left is removed by DEL."""
    side.container("c1")
    config = network(ipMasq=True)
    env = {"CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
           "CNI_PATH": side.path, "CNI_CNM_SOCKET": ""}  # fmt: skip
    failures = 0
    for kib in (400_000, 30_000, 15_000, 13_000):
        if verb == "DEL":
            side.add(config).ok()
        script = f"ulimit -v {kib}; exec {built() / 'cni-cnm'}"
        done = side.node.run("sh", "-c", script, stdin=json.dumps({**config, "type": "cni-cnm"}), env=env)
        if done.code:
            failures += 1
            assert json.loads(done.out)["code"] == 11, (kib, done)
        side.delete(config).ok()
        assert side.node.links("/run/netns/c1") == {"lo"}
    assert failures


def test_connection_tracking_is_full(side: Side) -> None:
    """A published port is served all the same: nothing of ours needs a new entry."""
    side.container("c1")
    key = "/proc/sys/net/netfilter/nf_conntrack_max"
    before = side.node.run("cat", key)
    if before.code or side.node.run("sh", "-c", f"echo 1 >{key}").code:
        pytest.skip("nf_conntrack_max cannot be set here")
    try:
        mapping = {"hostPort": 8088, "containerPort": 80, "protocol": "udp"}
        config = {**network(ipMasq=True), "runtimeConfig": {"portMappings": [mapping]}}
        side.add(config).ok()
        side.delete(config).ok()
    finally:
        side.node.run("sh", "-c", f"echo {before.out.strip()} >{key}")


def test_a_slow_disk(side: Side) -> None:
    """Every write, flush and rename takes 50 ms, for four pods at once: none fails, and no address is given twice."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    config = {**network(ipMasq=True), "type": "cni-cnm"}
    names = [f"c{number}" for number in range(4)]
    for name in names:
        side.container(name)
    calls = "fsync,rename,linkat,unlink,write"
    slow = ("-e", f"trace={calls}", "-e", f"inject={calls}:delay_enter=50000")

    def add(name: str) -> list[str]:
        env = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": name, "CNI_NETNS": f"/run/netns/{name}", "CNI_IFNAME": "eth0",
               "CNI_PATH": side.path}  # fmt: skip
        done = side.node.run(
            "strace", "-f", "-qqq", "-o", "/dev/null", *slow, str(side.executable), stdin=json.dumps(config), env=env
        ).ok()
        return [ip["address"] for ip in json.loads(done.out)["ips"]]

    with ThreadPoolExecutor(4) as pool:
        given = [address for addresses in pool.map(add, names) for address in addresses]
    assert len(given) == len(set(given)) == 2 * len(names)
    for name in names:
        side.delete(config, name).ok()
