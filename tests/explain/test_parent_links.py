"""Packets of macvlan networks: by the parent's link, to siblings, and not to their own host. What is said is sent."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cni_cnm.explain.explanation import REACHED
from cni_cnm.explain.verdict import DROPPED, LEAVES
from tests.explain.lab import HOST_ADDRESSES, OUTSIDE_HOSTS, PORT, ExplainLab, Flow
from tests.explain.test_predictions import differs


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExplainLab]:
    """Two pods on the uplink's subnet."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    made = ExplainLab(tmp_path_factory.mktemp("parent"))
    ranges = [[{"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.100", "gateway": "192.0.2.9"}]]
    conf = {"name": "lan", "driver": "macvlan", "master": "wan0", "allowOverlap": True}
    for name in ("pod1", "pod2"):
        made.attach(name, {**conf, "ipam": {"type": "host-local", "ranges": ranges}})
    made.listen()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("target", "outcome"), [("pod2", REACHED), (HOST_ADDRESSES[4], DROPPED), (OUTSIDE_HOSTS[4], LEAVES)]
)
def test_a_macvlan(lab: ExplainLab, target: str, outcome: str) -> None:
    """It reaches its siblings and other hosts. Its own host is the one that it does not reach."""
    address = lab.addresses.get((target, 4), target)
    flow = Flow("pod1", address, PORT, "pod1", {"to": f"{address}:{PORT}", "protocol": "udp"})
    (said,) = lab.explained("pod1", **flow.asked)
    assert said.outcome == outcome
    assert differs(said, lab.send([flow], 1)[0], flow) == ""
