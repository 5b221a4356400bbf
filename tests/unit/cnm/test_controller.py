"""A damaged record is left out of lists, and a program that uses the library can read so."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from cni_cnm import Controller, DamagedRecord
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    namespaces = MemoryNamespaces()
    namespaces.name_host("/proc/self/ns/net")
    return Controller(memory_host(tmp_path, namespaces, MemoryNft()))


def test_a_record_that_was_left_out_is_named_once(controller: Controller, tmp_path: Path) -> None:
    for name in ("red", "blue"):
        controller.new_network(name, driver="null")
    (record,) = tmp_path.rglob("networks/red.json")
    record.write_text("{")
    assert controller.take_notes() == []
    assert [network.name for network in controller.networks()] == ["blue"]
    with pytest.raises(DamagedRecord):
        controller.network("red")
    other: list[object] = []
    thread = Thread(target=lambda: other.extend(controller.take_notes()))
    thread.start()
    thread.join()
    assert other == [], "of another thread's calls"
    (note,) = controller.take_notes()
    assert f"the record {record} is not JSON" in note
    assert "left out" in note
    assert controller.take_notes() == []
