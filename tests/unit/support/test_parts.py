"""Sentences of the doctor, on request: without passwords."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.doctor.diagnose import Diagnosis
from cni_cnm.doctor.finding import Finding
from cni_cnm.support import parts
from tests.memory_kernel.host import memory_host


def test_no_password_of_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In sentence and command, whatever was written by a version that took it, or by another program."""
    finding = Finding(
        "etcd at http://root:canary4711@192.0.2.1:2379, https://canary4711@h:1 does not answer",
        "Why.",
        ("curl http://root:canary@4711@192.0.2.1:2379/health",),
    )
    monkeypatch.setattr(parts, "diagnose", lambda *_: Diagnosis([("cluster", finding)], []))
    (found,) = [value for name, value in parts.parts(memory_host(tmp_path), addresses=True) if name == "doctor"]
    assert found == [
        {
            "check": "cluster",
            "what": "etcd at http://192.0.2.1:2379, https://h:1 does not answer",
            "run": ["curl http://192.0.2.1:2379/health"],
        }
    ]
