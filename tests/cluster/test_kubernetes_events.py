"""Events that Kubernetes is told about this host's Node: their form, how many, and what a refusal does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from cni_cnm.cluster.kubernetes.node_events import NAMESPACE, NodeEvents
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.errors import DirectoryUnreachable, Forbidden
from cni_cnm.frontend import events
from cni_cnm.frontend.events import Event, Reader
from cni_cnm.service import node_events
from cni_cnm.service.node_events import REASONS, Teller
from tests.kubernetes.api_server import AGENT, ApiServer, status_fault

LOW = Event(events.POOL_LOW, "network pods: 3 of 253 addresses are free", "pods")


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as made:
        yield made


@pytest.fixture
def told(api: ApiServer, tmp_path: Path) -> Iterator[NodeEvents]:
    settings = ClusterSettings("kubernetes", kubeconfig=api.kubeconfig(tmp_path / "kubeconfig"), node="node1")
    made = NodeEvents(settings, "node1", 5.0)
    yield made
    made.close()


def test_their_form(api: ApiServer, told: NodeEvents) -> None:
    """The API's own schema takes it. The same again raises the count; forgotten by Kubernetes, it is made anew."""
    assert told.tell("PoolNearlyFull", LOW.sentence, warning=True)
    [event] = api.events.values()
    kubernetes_validate.validate(event, "1.32", strict=True)
    assert (event["type"], event["involvedObject"]["name"], event["count"]) == ("Warning", "node1", 1)
    assert event["metadata"]["namespace"] == NAMESPACE
    assert told.tell("PoolNearlyFull", LOW.sentence, warning=True)
    assert [(one["count"], one["message"]) for one in api.events.values()] == [(2, LOW.sentence)]
    api.events.clear()
    assert told.tell("PoolNearlyFull", LOW.sentence, warning=True)
    assert [one["count"] for one in api.events.values()] == [1]
    assert told.tell("NetworkRepaired", "é" * 2000, warning=False)
    assert max(len(one["message"].encode()) for one in api.events.values()) <= 1024


def test_their_number(api: ApiServer, told: NodeEvents) -> None:
    """Ten at once. What is beyond is left out, and asks Kubernetes nothing."""
    assert [told.tell("NetworkRepaired", str(number), warning=False) for number in range(13)] == [
        *[True] * 10, *[False] * 3,
    ]  # fmt: skip
    assert len(api.events) == 10


def test_not_permitted_and_no_answer(api: ApiServer, told: NodeEvents) -> None:
    api.tokens["agent"] = AGENT - {"create events"}
    with pytest.raises(Forbidden, match="does not permit events") as refused:
        told.tell("PoolNearlyFull", "low", warning=True)
    assert "cni-cnm-events" in str(refused.value.hint)
    api.fault = lambda _request: status_fault(503, "ServiceUnavailable", "busy")
    with pytest.raises(DirectoryUnreachable):
        told.tell("PoolNearlyFull", "low", warning=True)


def test_what_the_service_notes_is_told(api: ApiServer, told: NodeEvents, tmp_path: Path) -> None:
    """But for networks and the agent's own lines. After a refusal the next look is late, and it is said once."""
    said: list[str] = []
    teller = Teller(Reader(str(tmp_path)), told, said.append)
    for kind in events.KINDS:
        events.append(str(tmp_path), Event(kind, f"of {kind}"))
    assert teller.look() == node_events.LOOK_S
    assert {one["reason"] for one in api.events.values()} == set(REASONS.values())
    assert set(events.KINDS) - set(REASONS) == {events.NETWORK_MADE, events.NETWORK_REMOVED, events.CLUSTER}
    api.tokens["agent"] = AGENT - {"create events"}
    for _ in range(2):
        events.append(str(tmp_path), LOW)
        assert teller.look() > 1000
    assert len(said) == 1
    assert "does not permit events" in said[0]


def test_an_event_waits_for_an_answer(api: ApiServer, told: NodeEvents, tmp_path: Path) -> None:
    said: list[str] = []
    teller = Teller(Reader(str(tmp_path)), told, said.append)
    rights = api.tokens.pop("agent")
    events.append(str(tmp_path), LOW)
    assert teller.look() > node_events.LOOK_S
    api.tokens["agent"] = rights
    assert teller.look() == node_events.LOOK_S
    assert [one["message"] for one in api.events.values()] == [LOW.sentence]
    assert len(said) == 1
