"""What a host knows of its cluster: changed piece by piece, and kept on disk."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cluster import known as known_file
from cni_cnm.cluster.known import Known
from cni_cnm.cluster.values import Block, Change, ClusterHost, OverlayNetwork, Snapshot

WEB = OverlayNetwork("web", "a" * 32, (ip_network("10.32.0.0/16"), ip_network("fd32::/48")), (24, 64), 4096)


def host(name: str, last: int = 1) -> ClusterHost:
    return ClusterHost(name, f"{last:032x}", (ip_address(f"192.0.2.{last}"),), f"02:00:00:00:00:{last:02x}")


def block(index: int, of: ClusterHost) -> Block:
    subnets = (ip_network(f"10.32.{index}.0/24"), ip_network(f"fd32:0:0:{index:x}::/64"))
    return Block("web", subnets, of.name, of.instance)


ONE, TWO = host("one", 1), host("two", 2)
SNAPSHOT = Snapshot(
    "5eed", 812, {"one": ONE, "two": TWO}, {"web": WEB}, {b.key: b for b in (block(0, ONE), block(9, TWO))}
)  # fmt: skip


def test_kept(tmp_path: Path) -> None:
    """What is saved is what is loaded, but for who shows life."""
    known_file.save(str(tmp_path), Known(SNAPSHOT._replace(alive=frozenset(["one"]))))
    found = known_file.load(str(tmp_path))
    assert (found.store, found.revision, found.hosts, found.networks) == SNAPSHOT[:4]
    assert found.blocks == SNAPSHOT.blocks
    assert found.blocks_of("two") == (block(9, TWO),)
    assert not found.alive
    assert Path(known_file.path(str(tmp_path))).stat().st_mode & 0o777 == 0o600


def test_none(tmp_path: Path) -> None:
    """A host that has never seen a store."""
    assert known_file.load(str(tmp_path)).store == ""


@pytest.mark.parametrize(
    "line",
    [
        b"", b"host", b"host three", b"host three {}", b"host three null", b"what is this", b"host \xff {}",
        b'host three {"instance": "x"}', b"block web 70000 {}", b"block other 1 {}", b"block web x {}", b"store 5eed x",
    ],
)  # fmt: skip
def test_damaged_line(tmp_path: Path, line: bytes) -> None:
    """It is left out, and nothing else is."""
    known_file.save(str(tmp_path), Known(SNAPSHOT))
    path = Path(known_file.path(str(tmp_path)))
    path.write_bytes(path.read_bytes() + line + b"\n")
    found = known_file.load(str(tmp_path))
    assert found.hosts == SNAPSHOT.hosts
    assert found.blocks == SNAPSHOT.blocks


@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    """Whatever the disk has, the agent starts."""
    known = Known()
    for line in content.splitlines():
        known_file.take(known, line)


HOSTS = (ONE, TWO, host("three", 3))
CHANGES = st.one_of(
    st.builds(lambda h, there: Change("host", h.name, h if there else None), st.sampled_from(HOSTS), st.booleans()),
    st.builds(
        lambda h, index, there: Change("block", block(index, h).key, block(index, h) if there else None),
        st.sampled_from(HOSTS), st.integers(0, 3), st.booleans(),
    ),
    st.builds(lambda h, there: Change("alive", h.name, there or None), st.sampled_from(HOSTS), st.booleans()),
)  # fmt: skip


@given(st.lists(CHANGES, max_size=40))
def test_changes(changes: list[Change]) -> None:
    """After any changes each host has the blocks that are its own, and no other."""
    known, blocks = Known(SNAPSHOT), dict(SNAPSHOT.blocks)
    for change in changes:
        known.apply(change)
        if isinstance(change.key, tuple):
            blocks.pop(change.key, None)
            if isinstance(change.new, Block):
                blocks[change.key] = change.new
    assert known.blocks == blocks
    assert known.number_of_blocks("web") == len(blocks)
    for each in HOSTS:
        assert set(known.blocks_of(each.name)) == {b for b in blocks.values() if b.host == each.name}
