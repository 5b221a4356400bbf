"""What other programs print is read up to a size: with `yes` as the program, nothing grows and nothing hangs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from cni_cnm.child_output import OutputTooLong, communicate
from cni_cnm.errors import CnmError, DriverFailed, IoFailed, KernelError
from cni_cnm.ipam import delegated
from cni_cnm.kernel import firewalld, iptables
from cni_cnm.kernel.nftables import libnftables
from cni_cnm.waiting import use


def start(script: str, *, stdin: bool = True) -> Popen[bytes]:
    return Popen(["sh", "-c", script], stdin=PIPE if stdin else subprocess.DEVNULL, stdout=PIPE, stderr=PIPE)


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 1 << 20])
def test_both_ways_at_once(size: int) -> None:
    """More than pipes hold, in each direction."""
    sent = b"x" * size
    with start("cat; echo done >&2") as child:
        assert communicate(child, sent, 20, 1 << 20) == (sent, b"done\n")
    assert child.returncode == 0


def test_a_program_that_reads_nothing() -> None:
    with start("exec <&-; echo 1; exit 3") as child:
        assert communicate(child, b"x" * (1 << 20), 20, 100) == (b"1\n", b"")
    assert child.returncode == 3


@pytest.mark.parametrize("script", ["yes", "yes >&2"])
def test_without_end(script: str) -> None:
    with start(script, stdin=False) as child:
        with pytest.raises(OutputTooLong, match="more than 1000 bytes"):
            communicate(child, b"", 20, 1000)
        child.kill()


@pytest.mark.parametrize("script", ["sleep 60", "exec >&- 2>&-; sleep 60"])
def test_a_program_that_does_not_end(script: str) -> None:
    with start(script) as child:
        with pytest.raises(subprocess.TimeoutExpired):
            communicate(child, b"x", 0.1, 1000)
        child.kill()


class Place:
    """A thread's place in the service."""

    def __init__(self) -> None:
        self.moves: list[str] = []

    def leave(self) -> None:
        self.moves.append("leave")

    def enter(self) -> None:
        self.moves.append("enter")

    def wanted(self) -> bool:
        return True


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All these programs print without end."""
    for name in ("iptables-save", "firewall-cmd", "ipam", "nft"):
        (tmp_path / name).write_text("#!/bin/sh\nexec yes\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setitem(iptables.PATH, "PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(iptables, "OUTPUT_MAX", 100_000)
    monkeypatch.setattr(libnftables, "_PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(libnftables, "_OUTPUT_MAX", 100_000)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_iptables(endless: Path) -> None:
    with pytest.raises(IoFailed, match="iptables-save printed more than 100000 bytes"):
        iptables.save("iptables")


def test_firewalld(endless: Path) -> None:
    with pytest.raises(KernelError, match="firewall-cmd printed more than 100000 bytes"):
        firewalld.trusts("br0")


def test_an_ipam_executable(endless: Path) -> None:
    with pytest.raises(DriverFailed, match="answered with more than 4194304 bytes and was killed"):
        delegated.execute(f"{endless}/ipam", {"PATH": "/usr/bin:/bin"}, b"{}", 20)


def test_nft(endless: Path) -> None:
    with pytest.raises(KernelError, match="nft printed more than 100000 bytes"):
        libnftables.Binary().run("list tables\n")


def test_the_place_is_given_away_meanwhile(endless: Path) -> None:
    """Each of them takes long while another program holds its lock: the service serves other requests then."""
    calls: dict[str, Callable[[], object]] = {
        "iptables-save": lambda: iptables.save("iptables"),
        "firewall-cmd": lambda: firewalld.trusts("br0"),
        "nft": lambda: libnftables.Binary().run("list tables\n"),
        "ipam": lambda: delegated.execute(f"{endless}/ipam", {"PATH": "/usr/bin:/bin"}, b"{}", 20),
    }
    for name, call in calls.items():
        place = Place()
        use(place)
        try:
            with pytest.raises(CnmError):
                call()
        finally:
            use(None)
        assert place.moves == ["leave", "enter"], name
