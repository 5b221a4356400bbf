"""What this host knows of its cluster: the directory's content, as read last and changed since, and as kept on disk.

STATE_DIR/cluster/known     a line each, with the values as the store has them

    store 8f0e… 812
    host node1 {"instance": "…", "addresses": ["192.0.2.11"], "mac": "…"}
    network web {"id": "…", "subnets": ["10.32.0.0/16"], …}
    block web 3 {"host": "node1", "instance": "…", "network": "…"}
    block pods 10.244.1.0/24,fd10:244:0:1::/64 {…}          where the store gives the blocks

An agent that starts while the store does not answer works from it. It is a copy: without it nothing is lost once the
store answers. A line that cannot be read is left out.
"""

from __future__ import annotations

from cni_cnm.cluster import block_index, value_json
from cni_cnm.cluster.values import Block, ClusterHost, OverlayNetwork, Snapshot
from cni_cnm.errors import CnmError, IoFailed, file_hint
from cni_cnm.state import small_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeVar

    from cni_cnm.cluster.values import BlockKey, Change
    from cni_cnm.model import IPNetwork

    T = TypeVar("T")

_NOTHING = Snapshot()


class Known:
    """A directory's content that changes. One changed host costs the same however many there are."""

    def __init__(self, snapshot: Snapshot = _NOTHING) -> None:
        self.store = snapshot.store
        self.revision = snapshot.revision
        self.hosts: dict[str, ClusterHost] = dict(snapshot.hosts)
        self.networks: dict[str, OverlayNetwork] = dict(snapshot.networks)
        self.alive: set[str] = set(snapshot.alive)
        self._blocks: dict[BlockKey, Block] = {}
        self._asked: dict[str, tuple[Block, ...]] = {}
        """The blocks of hosts that were asked for: it is this host alone."""
        self._numbers: dict[str, int] = {}
        """Of the blocks of each network."""
        for block in snapshot.blocks.values():
            self.put_block(block)

    @property
    def blocks(self) -> Mapping[BlockKey, Block]:
        return self._blocks

    def blocks_of(self, host: str) -> Sequence[Block]:
        found = self._asked.get(host)
        if found is None:
            found = self._asked[host] = tuple(block for block in self._blocks.values() if block.host == host)
        return found

    def number_of_blocks(self, network: str) -> int:
        """Of all hosts."""
        return self._numbers.get(network, 0)

    def apply(self, change: Change) -> None:
        key, new = change.key, change.new
        if isinstance(key, tuple):
            self._drop_block(key)
            if isinstance(new, Block):
                self.put_block(new)
        elif change.kind == "host":
            _put(self.hosts, key, new if isinstance(new, ClusterHost) else None)
        elif change.kind == "network":
            _put(self.networks, key, new if isinstance(new, OverlayNetwork) else None)
        elif new:
            self.alive.add(key)
        else:
            self.alive.discard(key)

    def put_block(self, block: Block) -> None:
        key = block.key
        self._drop_block(key)
        self._blocks[key] = block
        self._numbers[block.network] = self._numbers.get(block.network, 0) + 1
        self._asked.pop(block.host, None)

    def _drop_block(self, key: BlockKey) -> None:
        old = self._blocks.pop(key, None)
        if old is not None:
            self._numbers[old.network] -= 1
            self._asked.pop(old.host, None)


def _put(values: dict[str, T], key: str, new: T | None) -> None:
    if new is None:
        values.pop(key, None)
    else:
        values[key] = new


def path(state_dir: str) -> str:
    return f"{state_dir}/cluster/known"


def save(state_dir: str, known: Known) -> None:
    """One writer: the agent. IoFailed if it cannot be written."""
    try:
        small_files.replace(path(state_dir), b"\n".join(_lines(known)) + b"\n", durable=True)
    except OSError as error:
        raise IoFailed(f"{path(state_dir)} cannot be written: {error.strerror}", hint=file_hint(error)) from error


def load(state_dir: str) -> Known:
    """Empty if there is no file, or none that can be read."""
    known = Known()
    try:
        content = small_files.read(path(state_dir))
    except OSError:
        return known
    for line in content.splitlines():
        take(known, line)
    return known


def take(known: Known, line: bytes) -> None:
    """Add what one line says; nothing if it cannot be read."""
    try:
        _take(known, line)
    except (CnmError, ValueError, LookupError):
        pass


def _lines(known: Known) -> Iterator[bytes]:
    yield f"store {known.store or '-'} {known.revision}".encode()
    for host in known.hosts.values():
        yield f"host {host.name} ".encode() + value_json.host_json(host)
    for network in known.networks.values():
        yield f"network {network.name} ".encode() + value_json.network_json(network)
    for block in known.blocks.values():
        of = known.networks.get(block.network)
        if of is not None and (key := _block_key(of, block)):
            owner = value_json.BlockOwner(block.host, block.instance, of.id)
            yield f"block {block.network} {key} ".encode() + value_json.owner_json(owner)


def _block_key(of: OverlayNetwork, block: Block) -> str:
    """ "" for a block that the network cannot have."""
    if not of.block_sizes:
        return ",".join(map(str, block.subnets))
    index = block_index.index_of(of, block.subnets)
    return "" if index is None else str(index)


def _subnets(of: OverlayNetwork, key: str) -> tuple[IPNetwork, ...]:
    """The reverse of `_block_key`."""
    return block_index.subnets_at(of, int(key)) if of.block_sizes else value_json.block_subnets(key)


def _take(known: Known, line: bytes) -> None:
    kind, name, rest = line.split(b" ", 2)
    key = name.decode()
    if kind == b"store":
        known.store, known.revision = "" if key == "-" else key, int(rest)
    elif kind == b"host":
        known.hosts[key] = value_json.host(key, rest, "a host")
    elif kind == b"network":
        known.networks[key] = value_json.network(key, rest, "a network", assigned=True)
    elif kind == b"block":
        place, _, content = rest.partition(b" ")
        network, owner = known.networks[key], value_json.owner(content, "a block")
        if owner.network_id == network.id:
            known.put_block(Block(key, _subnets(network, place.decode()), owner.host, owner.instance))
