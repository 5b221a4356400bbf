"""The process that answers Docker is killed at system calls of each call. Afterwards nothing is left, and it can go on.

A sample here; each system call with --long.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.docker_calls import KINDS, KilledDockerCalls

SAMPLE = 2
"""Points of each call in the normal run."""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KilledDockerCalls]:
    if os.geteuid():
        pytest.skip("needs root: network and mount namespaces")
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    made = KilledDockerCalls(tmp_path)
    yield made
    made.close()


def left(host: KilledDockerCalls, kind: str, most: int = 0) -> list[str]:
    """After a kill at each system call, or at `most` of them, with the same call again or without, in turn."""
    found = host.points(kind)
    assert len(found) > SAMPLE
    step = len(found) // most if most else 1
    tried = enumerate(found[step // 2 :: step])
    return [what for number, point in tried if (what := host.left(kind, point, again=number % 2 == 0))]


@pytest.mark.parametrize("kind", ["CreateNetwork", "Join", "DeleteEndpoint"])
def test_a_sample_of_kills(host: KilledDockerCalls, kind: str) -> None:
    bad = left(host, kind, SAMPLE)
    assert not bad, "\n".join(bad)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_each_system_call(host: KilledDockerCalls, kind: str) -> None:
    bad = left(host, kind)
    assert not bad, "\n".join(bad)
