"""What each runtime is asked, and what counts as an answer. Their programs are scripts."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cni_cnm.runtimes import asked, containerd, crio, podman
from cni_cnm.runtimes.all_runtimes import ALL
from cni_cnm.runtimes.asked import RuntimeSilent

Install = Callable[[str, str], None]

CTR = """
shift 2
case "$*" in
version) printf 'Client:\\n  Version:  v2.1\\n\\nServer:\\n  Version:  %s\\n  Revision: y\\n' "$SERVER" ;;
"namespaces ls -q") printf 'default\\nk8s.io\\n' ;;
"--namespace default containers ls -q") echo c1 ;;
"--namespace k8s.io containers ls -q") printf 'p1\\np2\\n' ;;
"--namespace default sandboxes ls") echo "ID CREATED RUNTIME" ;;
"--namespace k8s.io sandboxes ls") printf 'ID CREATED RUNTIME\\ns1 2026 kata\\n' ;;
*) echo "unknown: $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def write(name: str, script: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)

    return write


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "runtime.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        monkeypatch.setattr(containerd, "SOCKETS", (str(path),))
        monkeypatch.setattr(crio, "SOCKET", str(path))
        yield path


@pytest.mark.parametrize("server", ["1.6.20~ds1", "v2.1.4"])
def test_containerd_in_all_its_namespaces(
    install: Install, listening: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    """Ids also with the namespace before them; sandboxes from 2.0 on."""
    monkeypatch.setenv("SERVER", server)
    install("ctr", CTR)
    found = containerd.containers()
    assert {"c1", "default-c1", "p1", "p2", "k8s.io-p2"} <= found
    assert ("s1" in found) == server.startswith("v2")
    assert listening.exists()


def test_containerd_whose_namespaces_do_not_all_answer(
    install: Install, listening: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER", "1.6.20")
    install("ctr", 'case "$*" in *"k8s.io containers"*) echo broken >&2; exit 1 ;; esac' + CTR)
    with pytest.raises(RuntimeSilent, match=r"k8s\.io containers ls -q` failed with 1: broken"):
        containerd.containers()
    assert listening.exists()


def test_containerd_that_does_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(containerd, "SOCKETS", (str(tmp_path / "none.sock"),))
    with pytest.raises(RuntimeSilent, match="containerd has no socket"):
        containerd.containers()


def test_crio_and_podman(install: Install, listening: Path) -> None:
    install("crictl", '[ "$3 $4 $5" = "pods --quiet --no-trunc" ] && echo pod1')
    install("podman", 'case "$*" in *--external) echo c1; echo other ;; *) echo c1 ;; esac')
    assert crio.containers() == {"pod1"}
    assert podman.containers() == {"c1", "other"}
    assert listening.exists()


def test_podman_of_this_machine(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator's environment may lead podman to another one."""
    monkeypatch.setenv("CONTAINER_HOST", "ssh://other.example/run/podman.sock")
    monkeypatch.setenv("CONTAINER_CONNECTION", "other")
    install("podman", 'echo "c1$CONTAINER_HOST$CONTAINER_CONNECTION"')
    assert podman.containers() == {"c1"}


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("exit 3", "failed with 3: it said nothing"),
        ("echo first >&2; echo why >&2; exit 1", "failed with 1: why"),
        ("yes", "printed more than"),
        ("sleep 10", "has not ended within"),
    ],
)
def test_a_program_that_does_not_answer(
    install: Install, monkeypatch: pytest.MonkeyPatch, script: str, sentence: str
) -> None:
    monkeypatch.setattr(asked, "LIMIT_S", 3.0 if "sleep" not in script else 0.3)
    monkeypatch.setattr(asked, "OUTPUT_MAX", 1 << 10)
    install("crictl", script)
    with pytest.raises(RuntimeSilent, match=sentence):
        asked.words("crictl", "pods")


def test_a_program_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeSilent, match="crictl cannot be run: No such file"):
        asked.words("crictl", "pods")
    assert os.environ["PATH"] == str(tmp_path)


def test_no_owner_is_of_two_runtimes() -> None:
    owners = [owner for runtime in ALL for owner in runtime.owners]
    assert len(owners) == len(set(owners))


def test_a_runtime_that_does_not_listen(tmp_path: Path) -> None:
    (tmp_path / "old.sock").touch()
    with pytest.raises(RuntimeSilent, match="CRI-O does not answer"):
        asked.require_seen("CRI-O", str(tmp_path / "old.sock"))


def test_a_runtime_that_is_not_seen(listening: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives the pid 0 for a process of a PID namespace that is not below this one's."""
    monkeypatch.setattr("struct.unpack", lambda *_: (0, 0, 0))
    with pytest.raises(RuntimeSilent, match="runs in another PID namespace"):
        asked.require_seen("containerd", str(listening))
