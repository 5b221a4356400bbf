"""A list of many pages, from servers of one store and from such as are none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cni_cnm.cluster.etcd import listing
from cni_cnm.cluster.etcd.directory import EtcdDirectory
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.errors import DirectoryUnreachable
from tests.cluster.examples import host
from tests.cluster.model_gateway import ModelGateway


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelGateway]:
    monkeypatch.setattr(listing, "_PAGE", 1)
    with ModelGateway() as made:
        yield made


@pytest.fixture
def directory(gateway: ModelGateway) -> Iterator[EtcdDirectory]:
    made = EtcdDirectory(ClusterSettings("etcd", (gateway.url,)), 2)
    for name in ("a", "b", "c"):
        made.announce(host(name))
    yield made
    made.close()


def test_pages_are_one_list(directory: EtcdDirectory) -> None:
    assert set(directory.snapshot().hosts) == {"a", "b", "c"}


def test_pages_of_two_stores_are_not_mixed(gateway: ModelGateway, directory: EtcdDirectory) -> None:
    """Two etcds are among the endpoints."""
    first = gateway.model.header()["cluster_id"]

    def other(call: str, _request: Any) -> str:
        asked = sum(name == "kv/range" for name, _ in gateway.requests)
        if call == "kv/range" and asked == 2:
            gateway.model.cluster_id = 4711
        return ""

    gateway.fault = other
    with pytest.raises(
        DirectoryUnreachable, match=f"is two stores: one server answers as {first}, another one as 4711"
    ):
        directory.snapshot()


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_numbers_that_are_none(
    gateway: ModelGateway, directory: EtcdDirectory, monkeypatch: pytest.MonkeyPatch, number: float
) -> None:
    answer = gateway.model.answer
    monkeypatch.setattr(gateway.model, "answer", lambda *asked: {**answer(*asked), "count": number})
    with pytest.raises(DirectoryUnreachable, match="does not answer as etcd does"):
        directory.snapshot()
