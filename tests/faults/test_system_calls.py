"""The built program and the service, with system calls that fail and at which a process is killed.

There is an answer, and nothing is left.

A sample here; all of them with --long, and by hand: `python -m tests.faults --every`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.faults.judgement import Faulty
from tests.faults.system_calls import points
from tests.program import built, form

KINDS = ("ADD", "DEL", "create", "rm")
SAMPLE = 5
"""Points of each call in the normal run."""


@pytest.fixture
def where(request: pytest.FixtureRequest) -> str:
    if os.geteuid():
        pytest.skip("needs root: network and mount namespaces")
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if form() == "source":
        pytest.skip("the interpreter of the checkout answers for no failure of its own start")
    if form() == "service" and request.param == "program":
        return "service"
    return str(request.param)


@pytest.fixture
def host(where: str, kind: str) -> Iterator[Faulty]:
    if form() == "service" and kind in ("create", "rm"):
        pytest.skip("a command asks no service")
    made = Faulty(built() / "cni-cnm", where)
    yield made
    made.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["program", "relay"], indirect=True)
def test_a_sample_of_system_calls(host: Faulty, kind: str) -> None:
    """Another part of all points in each form, and the same ones in each run."""
    found = list(points(host.calls(kind), every=True))
    assert len(found) > SAMPLE
    step = max(1, len(found) // SAMPLE)
    bad = [one for one in (host.outcome(kind, point) for point in found[step // 2 :: step]) if one.bad]
    assert not bad, "\n".join(map(str, bad))


@pytest.mark.long
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["program", "relay"], indirect=True)
def test_every_system_call(host: Faulty, kind: str) -> None:
    """One fault at each, in turn."""
    found = list(points(host.calls(kind), every=False))
    assert found
    bad = [one for one in (host.outcome(kind, point) for point in found) if one.bad]
    assert not bad, f"{len(bad)} of {len(found)}:\n" + "\n".join(map(str, bad))
