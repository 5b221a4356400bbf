"""The CPU time on a host with 5,000 endpoints, beside what listing the same by other programs takes."""

from __future__ import annotations

import resource
import subprocess
from statistics import median

import pytest

from tests.doctor.crowd import fill
from tests.doctor.world import World

ENDPOINTS = 5000
LISTING = "ip link; ip address; ip route; ip -6 route; nft list ruleset"
PAIRS = 5


@pytest.mark.long
def test_five_thousand_endpoints(world: World) -> None:
    """At most three times what `ip` and `nft` need to list links, addresses, routes and rules; median of 5 ratios.

    It is less of elapsed time, because there are two processes.
    """
    fill(world, ENDPOINTS)
    done = subprocess.run(["cni-cnm", "doctor"], capture_output=True, text=True)
    print(done.stdout)
    ratios = []
    for _ in range(PAIRS):
        listing, doctor = _seconds("sh", "-c", LISTING), _seconds("cni-cnm", "doctor")
        print(f"listing {listing:.2f} s, doctor {doctor:.2f} s")
        ratios.append(doctor / listing)
    assert median(ratios) <= 3


def _seconds(*argv: str) -> float:
    """Of CPU time, which other work on the machine hardly changes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
