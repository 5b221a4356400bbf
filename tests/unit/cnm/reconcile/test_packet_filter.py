"""Elements and rules that are gone, or have no owner, with the packet filter in memory."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cni_cnm.cnm.packet_filter import ownerless_elements
from cni_cnm.cnm.reconcile import packet_filter
from cni_cnm.cnm.reconcile.changed import Changed
from cni_cnm.cnm.reconcile.reconcile import compare, reconcile
from cni_cnm.cnm.records import READY
from cni_cnm.firewall import INET, masquerade
from cni_cnm.kernel import Transaction
from cni_cnm.kernel.contract.changes import FilterChange
from cni_cnm.model import IpamSpec, NetworkSpec, PortMapping, ip_interface
from cni_cnm.state.files import FileStore
from cni_cnm.state.store import ENDPOINTS, NETWORKS
from tests.unit.drivers.world import World

SPEC = NetworkSpec("net", "bridge", {"profile": "cnm"}, IpamSpec("host-local", {"subnet": "10.9.0.0/24"}))
PORTS = (PortMapping("tcp", 8080, 80),)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.attach(SPEC, ports=PORTS)
    return made


def test_a_deleted_table(world: World) -> None:
    """One sentence for all of it; after that nothing differs."""
    before = {name: dict(sets) for name, sets in world.nft.sets.items()}
    assert list(compare(world.engine)) == []
    world.nft.delete_table(INET)
    assert next(compare(world.engine)).sentence == "the packet filter: tables or rules are missing"
    [outcome] = reconcile(world.engine)
    assert outcome.result == "repaired"
    assert {name: dict(sets) for name, sets in world.nft.sets.items()} == before
    assert list(reconcile(world.engine)) == []


def test_a_table_that_is_deleted_while_an_endpoint_is_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its elements are in, and before it is on record as ready: the repair waits for it, and puts them back."""
    repairs: list[Thread] = []
    put = FileStore.put

    def deleting(store: FileStore, kind: str, name: str, value: Any) -> None:
        if kind == ENDPOINTS and value["state"] == READY and not repairs:
            world.nft.delete_table(INET)
            repairs.append(Thread(target=lambda: list(reconcile(world.engine))))
            repairs[0].start()
            repairs[0].join(0.2)
        put(store, kind, name, value)

    monkeypatch.setattr(FileStore, "put", deleting)
    world.attach(SPEC, "b")
    repairs[0].join()
    assert {element.key for element in world.nft.elements(INET, "masquerade4")} == {"10.9.0.2", "10.9.0.3"}


def test_removed_elements(world: World) -> None:
    """They are named by whose they are, and only they are written again."""
    [port] = world.nft.elements(INET, "ports4")
    world.nft.commit(Transaction(remove=(port,)))
    owner = Changed(packet_filter=FilterChange(owners=frozenset([port.owner])))
    assert [one.sentence for one in compare(world.engine, owner)] == [
        "the packet filter: 1 element is missing, of net/a/eth0"
    ]
    assert [outcome.result for outcome in reconcile(world.engine, owner)] == ["repaired"]
    assert world.nft.elements(INET, "ports4") == [port]


def test_a_port_that_another_endpoint_has_by_now_is_not_missing(world: World) -> None:
    """It is that one's; nothing is said, and nothing is written."""
    [port] = world.nft.elements(INET, "ports4")
    other = port._replace(value="10.9.0.9 . 80", comment="c" * 12 + " net/c/eth0")
    world.nft.commit(Transaction(put=(other,)))
    everything = Changed(packet_filter=FilterChange(broken=True))
    assert list(compare(world.engine, everything)) == []
    assert world.nft.elements(INET, "ports4") == [other]


def test_elements_without_owner_go(world: World) -> None:
    """Saved rules that were loaded again: what no record names is removed, and said."""
    world.nft.commit(masquerade.add("d" * 64, "net/dead/eth0", [ip_interface("10.9.0.7/24")]))
    added = Changed(packet_filter=FilterChange(added=True))
    [outcome] = reconcile(world.engine, added)
    assert outcome.result == "repaired"
    assert "net/dead/eth0" in outcome.sentence
    assert list(reconcile(world.engine, added)) == []


@pytest.mark.parametrize("damaged", [False, True])
def test_a_network_without_a_record_keeps_what_closes_it_while_it_has_endpoints(world: World, damaged: bool) -> None:
    """Its file was moved away, as the hint of a damaged record says. An endpoint that cannot be read may be of it."""
    isolating = {name: dict(sets) for name, sets in world.nft.sets.items()}
    world.engine.store.delete(NETWORKS, "net")
    if damaged:
        [path] = (world.folder / "run" / "endpoints").glob("*.json")
        path.write_text("{", encoding="utf-8")
    assert ownerless_elements.find(world.engine) == set()
    assert ownerless_elements.remove(world.engine) == ()
    assert {name: dict(sets) for name, sets in world.nft.sets.items()} == isolating


def test_what_is_no_change_of_ours_needs_no_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_missing", "_recorded"):
        monkeypatch.setattr(packet_filter, name, lambda *_, **__: pytest.fail("looked"))
    assert list(reconcile(world.engine, Changed(links=frozenset(["eth0"])))) == []
