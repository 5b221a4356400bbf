"""Who a host is: made once, kept, refused under another name."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from cni_cnm.cluster import host_file
from cni_cnm.cluster.membership import SettingsMembership
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.errors import DamagedRecord, InvalidConfig

SETTINGS = ClusterSettings("etcd", ("http://192.0.2.1:2379",))


def test_made_once(tmp_path: Path) -> None:
    """The second call reads what the first one made; only root reads the file."""
    assert host_file.load(str(tmp_path)) is None
    made = host_file.load_or_create(str(tmp_path), "node1")
    assert host_file.load_or_create(str(tmp_path), "node1") == made == host_file.load(str(tmp_path))
    assert len(made.instance) == 32
    assert os.stat(host_file.path(str(tmp_path))).st_mode & 0o777 == 0o600
    assert int(made.mac[:2], 16) & 3 == 2
    """Locally administered, of one interface."""


def test_two_hosts_differ(tmp_path: Path) -> None:
    """Also with the same name."""
    one, two = (host_file.load_or_create(str(tmp_path / folder), "node1") for folder in ("one", "two"))
    assert one.instance != two.instance
    assert one.mac != two.mac


def test_made_at_once_by_many(tmp_path: Path) -> None:
    """Processes that make it at the same time have one identity."""
    found: list[host_file.HostIdentity] = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        found.append(host_file.load_or_create(str(tmp_path), "node1"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_renamed(tmp_path: Path) -> None:
    """A copied disk, or a renamed host, is refused: its blocks belong to the other name."""
    host_file.load_or_create(str(tmp_path), "node1")
    with pytest.raises(InvalidConfig, match=r"called node2, and .* is of the host node1") as error:
        host_file.load_or_create(str(tmp_path), "node2")
    assert 'node = "node1"' in error.value.hint


@pytest.mark.parametrize("content", ["", "{", "[]", '{"instance": "x", "name": "node1"}', '{"instance": 7}', "null"])
def test_damaged(tmp_path: Path, content: str) -> None:
    """No new identity is made in its place."""
    path = Path(host_file.path(str(tmp_path)))
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(DamagedRecord, match=r"host\.json"):
        host_file.load_or_create(str(tmp_path), "node1")
    assert path.read_text() == content


def test_name() -> None:
    """The settings, else the variable, else the host's name."""
    assert host_file.node_name(SETTINGS._replace(node="a"), {"NODE_NAME": "b"}) == "a"
    assert host_file.node_name(SETTINGS, {"NODE_NAME": "b"}) == "b"
    assert host_file.node_name(SETTINGS, {}) == os.uname().nodename
    with pytest.raises(InvalidConfig, match="NODE_NAME"):
        host_file.node_name(SETTINGS, {"NODE_NAME": "a/b"})


def test_a_call_without_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service of a pod has NODE_NAME, the runtime that calls the full program has not: it is one host."""
    monkeypatch.setenv("NODE_NAME", "node1")
    membership = SettingsMembership(SETTINGS, str(tmp_path))
    first = membership.host()
    monkeypatch.delenv("NODE_NAME")
    assert membership.host() == first
    assert first.name == "node1"
    with pytest.raises(InvalidConfig, match="called node2"):
        SettingsMembership(SETTINGS._replace(node="node2"), str(tmp_path)).host()


def test_a_name_that_the_store_gives(tmp_path: Path) -> None:
    """Renamed, or a disk that is a copy: a new identity, and the name that it was. Else the one that is there."""
    first, before = host_file.load_or_renew(str(tmp_path), "node1")
    assert (first.name, before) == ("node1", "")
    assert host_file.load_or_renew(str(tmp_path), "node1") == (first, "")
    second, before = host_file.load_or_renew(str(tmp_path), "node2")
    assert (second.name, before) == ("node2", "node1")
    assert second.instance != first.instance
    assert host_file.load(str(tmp_path)) == second
