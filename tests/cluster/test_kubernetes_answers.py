"""What a real kube-apiserver answers (tests/kubernetes/real/test_contract.py), by the stand-in."""

from __future__ import annotations

from cni_cnm.cluster.kubernetes.announcement import ANNOTATION
from tests.cluster.assigning_stores import StandIn
from tests.cluster.examples import host
from tests.kubernetes.api_server import Fault, Request

A = host("a")


def test_a_server_that_is_behind_is_asked_for_what_it_has(stand_in: StandIn) -> None:
    """It answers 504 with Retry-After to the version that was seen: after a restored backup that stays so."""
    stand_in.expect(A)
    before = stand_in.backup()
    directory = stand_in.directory()
    directory.announce(A)
    directory.snapshot()
    before()
    assert directory.snapshot().hosts == {}
    directory.announce(A)
    assert directory.snapshot().hosts == {"a": A}


def test_a_node_that_is_made_anew_between_read_and_write(stand_in: StandIn) -> None:
    """The patch names the UID of the Node before, and is refused. The new Node is read and written."""
    stand_in.expect(A)
    replaced: list[str] = []

    def replace(request: Request) -> Fault | None:
        if request.what == "patch nodes/status" and not replaced:
            replaced.append(request.name)
            stand_in.delete("a")
            stand_in.expect(A)
        return None

    stand_in.api.fault = replace
    stand_in.directory().announce(A)
    assert replaced
    assert ANNOTATION in stand_in.api.model.nodes["a"]["metadata"]["annotations"]
