"""A host is removed while a later one waits for its name: that one announces itself as soon as the record is gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cni_cnm.cluster.etcd.client import Client, Outcome
from tests.cluster.etcd_server import b64
from tests.cluster.examples import host, network
from tests.cluster.stores import ModelEtcd

A = host("a")
LATER = A._replace(instance="9" * 32)


@pytest.fixture
def etcd_model() -> Iterator[ModelEtcd]:
    made = ModelEtcd()
    yield made
    made.close()


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("announced", [True, False])
def test_the_next_host_of_the_name(
    etcd_model: ModelEtcd, monkeypatch: pytest.MonkeyPatch, force: bool, known: bool, announced: bool
) -> None:
    """It is neither taken for the one that is removed, nor are its blocks freed.

    known: whether the outcome of the removal is. announced: whether the old host has a record, or blocks alone.
    """
    old, new, operator = etcd_model.directory(), etcd_model.directory(), etcd_model.directory()
    prefix = etcd_model.settings.prefix
    web = old.create_network(network("web"))
    old.announce(A)
    block = old.claim(web, A)
    if not announced:
        etcd_model.gateway.do(lambda model: model.answer("kv/deleterange", {"key": b64(f"{prefix}/hosts/a")}))
    transaction = Client.transaction
    came: list[bool] = []

    def with_a_host_that_waits(self: Client, *arguments: Any) -> Outcome | None:
        outcome = transaction(self, *arguments)
        if not came:
            came.append(True)
            new.announce(LATER)
            new.show_life(LATER)
            new.claim(web, LATER)
            return outcome if known else None
        return outcome

    monkeypatch.setattr(Client, "transaction", with_a_host_that_waits)
    assert list(operator.leave("a", force=force)) == [block]
    there = operator.snapshot()
    assert there.hosts == {"a": LATER}
    assert there.alive == {"a"}
    assert [one.instance for one in there.blocks.values()] == [LATER.instance]
