"""Lease files that are gone while their containers live."""

from __future__ import annotations

import shutil
from pathlib import Path

from cni_cnm.cnm.reconcile import leases
from cni_cnm.cnm.reconcile.changed import EVERYTHING, Changed
from cni_cnm.cnm.reconcile.reconcile import compare, reconcile
from cni_cnm.cnm.records import PENDING
from cni_cnm.model import IpamSpec, NetworkSpec
from cni_cnm.state.store import ENDPOINTS
from tests.unit.drivers.world import World

SPEC = NetworkSpec("net", "bridge", {"profile": "cnm"}, IpamSpec("host-local", {"subnet": "10.9.0.0/24"}))


def test_leases_of_living_containers_come_back(tmp_path: Path) -> None:
    """The folder was deleted: the addresses are leased to the same containers again, and given to no other."""
    world = World(tmp_path)
    world.attach(SPEC, "a")
    before = (tmp_path / "leases/net/10.9.0.2").read_bytes()
    shutil.rmtree(tmp_path / "leases/net")
    assert [one.sentence for one in compare(world.engine)] == [
        f"the network net: no lease in {tmp_path}/leases/net for 10.9.0.2"
    ]
    [outcome] = reconcile(world.engine)
    assert outcome.result == "repaired"
    assert outcome.sentence.endswith("leased again: 10.9.0.2")
    assert (tmp_path / "leases/net/10.9.0.2").read_bytes() == before
    assert list(reconcile(world.engine)) == []
    assert world.attach(SPEC, "b").addresses[0].interface.ip.exploded == "10.9.0.3"


def test_a_lease_of_another_container_stays(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.attach(SPEC, "a")
    lease = tmp_path / "leases/net/10.9.0.2"
    lease.write_bytes(b"other\r\neth0")
    assert list(reconcile(world.engine)) == []
    assert lease.read_bytes() == b"other\r\neth0"


def test_what_a_del_has_released_is_no_difference(tmp_path: Path) -> None:
    """Its record is still there for a moment, or until a DEL that has failed is repeated."""
    world = World(tmp_path)
    world.attach(SPEC, "a")
    store = world.engine.store
    [name] = store.names(ENDPOINTS)
    record = store.get(ENDPOINTS, name)
    assert isinstance(record, dict)
    store.put(ENDPOINTS, name, {**record, "state": PENDING})
    (tmp_path / "leases/net/10.9.0.2").unlink()
    assert list(leases.compare(world.engine, EVERYTHING)) == []


def test_files_are_compared_with_everything_only(tmp_path: Path) -> None:
    """The kernel reports nothing of them."""
    world = World(tmp_path)
    world.attach(SPEC, "a")
    shutil.rmtree(tmp_path / "leases/net")
    assert list(leases.compare(world.engine, Changed(links=frozenset(["cnm0"])))) == []
