"""delegated: a scripted executable is told and answers as the CNI specification has it."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

import pytest

from cni_cnm import ipam
from cni_cnm.errors import DriverFailed
from cni_cnm.ipam import delegated
from cni_cnm.ipam.contract import Ipam
from cni_cnm.model import Address, Dns, EndpointKey, EndpointSpec, IpamSpec, Lease, Route
from tests.ipam_host import ipam_host
from tests.waiting import until

KEY = EndpointKey("podnet", "c1", "eth0")
ENVIRON = {"CNI_COMMAND": "ADD", "CNI_ARGS": "IP=10.1.0.9", "PATH": "/evil", "TRACEPARENT": "00-1"}
ENDPOINT = EndpointSpec("c1", "eth0", "/run/netns/x", "test", environ=ENVIRON)
RESULT = {
    "cniVersion": "1.0.0",
    "interfaces": [{"name": "ignored"}],
    "ips": [{"address": "10.1.0.9/24", "gateway": "10.1.0.1", "interface": 0}, {"address": "fd00::9/64"}],
    "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1400}],
    "dns": {"nameservers": ["1.1.1.1"]},
}


class Script:
    """An executable that notes each call and answers a verb as it was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "scripted"
        self.path.write_text(
            "#!/bin/sh\n"
            f"cd {folder}\n"
            'cat > "$CNI_COMMAND.stdin"\n'
            'env > "$CNI_COMMAND.env"\n'
            'echo "$CNI_COMMAND" >> calls\n'
            'if [ -f "$CNI_COMMAND.sh" ]; then . ./"$CNI_COMMAND.sh"; fi\n'
        )
        self.path.chmod(0o755)

    def on(self, verb: str, commands: str) -> None:
        (self.folder / f"{verb}.sh").write_text(commands)

    def answer(self, verb: str, result: object, status: int = 0) -> None:
        (self.folder / f"{verb}.out").write_text(json.dumps(result))
        self.on(verb, f"cat {verb}.out; exit {status}")

    def pool(self, **conf: object) -> Ipam:
        document = {"cniVersion": "1.1.0", "name": "podnet", "ipam": {"type": "scripted", "Odd": [1]}, **conf}
        return ipam.configure(
            "podnet", IpamSpec("scripted", {}, document, f"/nowhere:{self.folder}"), ENDPOINT, ipam_host()
        )

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().split() if path.exists() else []

    def stdin(self, verb: str) -> Any:
        return json.loads((self.folder / f"{verb}.stdin").read_text())

    def env(self, verb: str) -> dict[str, str]:
        lines = (self.folder / f"{verb}.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def test_add(script: Script) -> None:
    """The executable gets the whole configuration and the caller's environment, but a fixed PATH."""
    script.answer("ADD", RESULT)
    lease = script.pool(custom={"Key": None}).acquire(KEY, ENDPOINT)
    assert lease == Lease(
        (Address(ip_interface("10.1.0.9/24"), ip_address("10.1.0.1")), Address(ip_interface("fd00::9/64"))),
        (Route(ip_interface("0.0.0.0/0").network, ip_address("10.1.0.1"), mtu=1400),),
        Dns(("1.1.1.1",)),
    )
    assert script.stdin("ADD")["ipam"] == {"type": "scripted", "Odd": [1]}
    assert script.stdin("ADD")["custom"] == {"Key": None}
    environ = script.env("ADD")
    expected = {"CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": "/run/netns/x", "TRACEPARENT": "00-1"}
    assert expected.items() <= environ.items()
    assert environ["PATH"] == delegated.SEARCH_PATH


def test_old_result(script: Script) -> None:
    """A result of CNI 0.1 and 0.2 is understood, with the routes of both families."""
    part = {"ip": "10.1.0.9/24", "gateway": "10.1.0.1", "routes": [{"dst": "10.0.0.0/8"}]}
    script.answer("ADD", {"ip4": part, "ip6": {"ip": "fd00::9/64"}, "dns": {}})
    lease = script.pool(cniVersion="0.2.0").acquire(KEY, ENDPOINT)
    assert [str(address.interface) for address in lease.addresses] == ["10.1.0.9/24", "fd00::9/64"]
    assert [str(route.dst) for route in lease.routes] == ["10.0.0.0/8"]


@pytest.mark.parametrize(("code", "ours"), [(7, 7), (11, 11), (117, 117), (999, 103), (0, 103), ("x", 103)])
def test_failure_is_passed_on(script: Script, code: object, ours: int) -> None:
    """The executable's own error comes through with its code, and a DEL follows the failed ADD."""
    script.answer("ADD", {"code": code, "msg": "no lease left", "details": "pool x"}, 1)
    with pytest.raises(DriverFailed, match="the ipam scripted failed on ADD: no lease left") as caught:
        script.pool().acquire(KEY, ENDPOINT)
    assert (caught.value.code, caught.value.details) == (ours, "pool x")
    assert script.calls() == ["ADD", "DEL"]


@pytest.mark.parametrize(
    "commands", ["echo oops; exit 3", "exit 3", "echo oops", 'echo \'{"ips": [{"address": "x"}]}\'']
)
def test_no_answer(script: Script, commands: str) -> None:
    """Neither a crash without an error object nor a result that cannot be read counts as success."""
    script.on("ADD", commands)
    with pytest.raises(DriverFailed):
        script.pool().acquire(KEY, ENDPOINT)
    assert script.calls() == ["ADD", "DEL"]


def test_stderr_passes(script: Script, capfd: pytest.CaptureFixture[str]) -> None:
    """What the executable says on stderr reaches ours."""
    script.on("ADD", f"echo asking >&2; echo '{json.dumps(RESULT)}'")
    script.pool().acquire(KEY, ENDPOINT)
    assert capfd.readouterr().err == "asking\n"


def test_hanging(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """An executable that hangs is killed with its children, and the caller is told to try again."""
    monkeypatch.setattr(delegated, "STATUS_TIMEOUT_S", 1.0)  # in which the shell begins on any machine
    script.on("STATUS", "sleep 300 & echo $! > child; wait")
    with pytest.raises(DriverFailed, match=r"did not end in 1 s"):
        script.pool().status()
    child = int((script.folder / "child").read_text())

    def ended() -> bool:
        try:
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        return state == "Z"  # dead, and not waited for yet

    until(ended, "the child of the executable ends", 20)


def test_busy_executable(script: Script) -> None:
    """An executable that is being written is tried again."""
    script.answer("ADD", RESULT)
    target = script.folder / "busy"
    target.write_bytes(Path("/bin/true").read_bytes())
    target.chmod(target.stat().st_mode | stat.S_IXUSR)
    descriptor = os.open(target, os.O_WRONLY)
    timer = threading.Timer(0.5, os.close, [descriptor])
    begin = time.monotonic()
    timer.start()
    assert delegated.execute(str(target), {}, b"", 5) == (0, b"")
    assert time.monotonic() - begin > 0.5
    timer.join()


def test_release(script: Script) -> None:
    """DEL runs from the record, once what is keyed by the addresses could be taken down."""
    script.answer("ADD", RESULT)
    pool = script.pool()
    pool.acquire(KEY, ENDPOINT)
    restored = ipam.restore("podnet", "scripted", json.loads(json.dumps(pool.record())), ipam_host())

    def fails(addresses: object) -> None:
        assert addresses == {ip_address("10.1.0.9"), ip_address("fd00::9")}
        raise DriverFailed("nft is broken")

    with pytest.raises(DriverFailed, match="nft is broken"):
        restored.release(KEY, {"CNI_NETNS": ""}, fails)
    assert script.calls() == ["ADD"]
    restored.release(KEY, {"CNI_NETNS": ""}, lambda _: None)
    assert script.calls() == ["ADD", "DEL"]
    assert script.stdin("DEL")["name"] == "podnet"
    assert script.env("DEL")["CNI_CONTAINERID"] == "c1"


def test_release_unrecorded(script: Script) -> None:
    """Without a record the DEL runs from the configuration at hand."""
    seen: list[Any] = []
    spec = IpamSpec("scripted", {}, {"name": "podnet"}, str(script.folder))
    ipam.release_unrecorded("podnet", spec, KEY, {}, seen.append, ipam_host())
    assert (seen, script.calls()) == ([frozenset()], ["DEL"])


def test_check(script: Script) -> None:
    """CHECK is forwarded from 0.4.0 on, with a prevResult made of the lease if the configuration has none."""
    lease = Lease(
        (Address(ip_interface("10.1.0.9/24"), ip_address("10.1.0.1")),), (Route(ip_interface("10.0.0.0/8").network),)
    )
    script.pool(cniVersion="0.3.1").check(KEY, lease, {})
    assert script.calls() == []
    script.pool().check(KEY, lease, {})
    previous = script.stdin("CHECK")["prevResult"]
    assert previous["ips"] == [{"version": "4", "address": "10.1.0.9/24", "gateway": "10.1.0.1"}]
    assert previous["routes"] == [{"dst": "10.0.0.0/8"}]
    script.pool(prevResult={"mine": 1}).check(KEY, lease, {})
    assert script.stdin("CHECK")["prevResult"] == {"mine": 1}


def test_collect_and_status(script: Script) -> None:
    """GC and STATUS are forwarded from 1.1.0 on; the executable's not ready is ours."""
    older = script.pool(cniVersion="1.0.0")
    older.collect([KEY], {})
    assert older.status().free is None
    assert script.calls() == []
    script.pool().collect([KEY], {})
    assert script.stdin("GC")["cni.dev/valid-attachments"] == [{"containerID": "c1", "ifname": "eth0"}]
    script.answer("STATUS", {"code": 50, "msg": "daemon away"}, 1)
    with pytest.raises(DriverFailed, match="daemon away") as caught:
        script.pool().status()
    assert caught.value.code == 50
