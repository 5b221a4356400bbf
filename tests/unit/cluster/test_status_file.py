"""What the agent says is valid while it runs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from cni_cnm.cluster import status_file
from cni_cnm.cluster.status_file import AgentStatus, NetworkStatus, StoreStatus

STATUS = AgentStatus(
    os.getpid(), "node1", "1" * 32, ("192.0.2.11",), 1500, StoreStatus("etcd", True, 5.5, ""), "", ("a sentence",),
    {"web": NetworkStatus("2" * 32, True, "", 3, ("10.32.1.0/24",))}, {"hosts": 3},
)  # fmt: skip


@pytest.fixture
def run_dir(tmp_path: Path) -> str:
    (tmp_path / "cluster").mkdir()
    return str(tmp_path)


def test_it_is_read_as_it_was_written(run_dir: str) -> None:
    assert status_file.read(run_dir) is None
    status_file.write(run_dir, STATUS)
    assert status_file.read(run_dir) == STATUS


def test_an_agent_that_has_ended_says_nothing(run_dir: str) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as agent:
        status_file.write(run_dir, STATUS._replace(pid=agent.pid))
        assert status_file.read(run_dir) is not None
    assert status_file.read(run_dir) is None


def test_a_later_process_of_the_pid_is_not_the_agent(run_dir: str) -> None:
    status_file.write(run_dir, STATUS)
    path = Path(status_file.path(run_dir))
    raw = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**raw, "started": raw.get("started", 2) - 1}), encoding="utf-8")
    assert status_file.read(run_dir) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_file_says_nothing(run_dir: str, content: str) -> None:
    Path(status_file.path(run_dir)).write_text(content, encoding="utf-8")
    assert status_file.read(run_dir) is None
