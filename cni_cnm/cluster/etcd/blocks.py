"""Blocks of overlay networks in etcd: one key for each, which exists while a host has the block."""

from __future__ import annotations

from cni_cnm.cluster import block_index, value_json
from cni_cnm.cluster.etcd.hosts import announce, refuse_other
from cni_cnm.cluster.etcd.operations import absent, delete, get, get_below, put, unchanged
from cni_cnm.cluster.value_json import BlockOwner
from cni_cnm.cluster.values import Block
from cni_cnm.errors import AddressesExhausted, CnmError, NoSuchNetwork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cluster.etcd.client import Client
    from cni_cnm.cluster.etcd.keys import Keys
    from cni_cnm.cluster.etcd.operations import KeyValue
    from cni_cnm.cluster.values import ClusterHost, OverlayNetwork
    from cni_cnm.model import IPNetwork


def claim(
    client: Client, keys: Keys, network: OverlayNetwork, host: ClusterHost, preferred: Sequence[Sequence[IPNetwork]]
) -> Block:
    """As the contract says (cluster/directory.py).

    A transaction whose outcome is not known is tried again with the same block: whichever of them etcd does first, the
    block is this host's, and no second one is.
    """
    mine = BlockOwner(host.name, host.instance, network.id)
    first = [index for subnets in preferred if (index := block_index.index_of(network, subnets)) is not None]
    for _ in client.attempts():
        _, (record, owner, blocks) = client.read_at_once(
            [get(keys.network(network.name)), get(keys.host(host.name)), get_below(keys.blocks(network.name))]
        )
        _require(client.name, network, record.found)
        announced = refuse_other(client.name, keys, host, owner.found) or announce(client, keys, host)
        taken = {key.number: each for each in blocks.found if (key := keys.read(each.key))}
        index = _choice(network, host, first, taken, mine)
        made = Block(network.name, block_index.subnets_at(network, index), host.name, host.instance)
        # One that is ours is written, too: a release that was sent before, and is done late, does not hold any more.
        outcome = client.transaction(
            [
                unchanged(keys.block(network.name, index), taken[index].revision if index in taken else 0),
                unchanged(keys.network(network.name), record.found[0].revision),
                unchanged(keys.host(host.name), announced),
            ],
            [put(keys.block(network.name, index), value_json.owner_json(mine))],
        )
        if outcome and outcome.succeeded:
            return made
        first = [*first, index]
    raise AssertionError("attempts end with an error")


def claim_again(client: Client, keys: Keys, block: Block) -> bool:
    """As the contract says."""
    for _ in client.attempts():
        _, (record,) = client.read_at_once([get(keys.network(block.network))])
        network = _network(block.network, record.found)
        index = block_index.index_of(network, block.subnets) if network else None
        if network is None or index is None:
            return False
        key = keys.block(block.network, index)
        mine = BlockOwner(block.host, block.instance, network.id)
        _, (there,) = client.read_at_once([get(key)])
        if there.found:
            return _owner(there.found[0]) == mine
        outcome = client.transaction(
            [absent(key), unchanged(keys.network(block.network), record.found[0].revision)],
            [put(key, value_json.owner_json(mine))],
        )
        if outcome and outcome.succeeded:
            return True
    raise AssertionError("attempts end with an error")


def release(client: Client, keys: Keys, block: Block) -> None:
    """As the contract says."""
    for _ in client.attempts():
        _, (record, blocks) = client.read_at_once(
            [get(keys.network(block.network)), get_below(keys.blocks(block.network))]
        )
        network = _network(block.network, record.found)
        index = block_index.index_of(network, block.subnets) if network else None
        there = next(
            (each for each in blocks.found if index is not None and each.key == keys.block(block.network, index)), None
        )
        owner = _owner(there) if there else None
        if there is None or owner is None or (owner.host, owner.instance) != (block.host, block.instance):
            return
        outcome = client.transaction([unchanged(there.key, there.revision)], [delete(there.key)])
        if outcome and outcome.succeeded:
            return


def _require(name: str, network: OverlayNetwork, found: Sequence[KeyValue]) -> None:
    there = _network(network.name, found)
    if there is None:
        raise NoSuchNetwork(f"no overlay network {network.name} is in {name}")
    if there.id != network.id:
        raise NoSuchNetwork(
            f"the overlay network {network.name} in {name} is another one: its id is {there.id}, not {network.id}"
        )


def _choice(
    network: OverlayNetwork,
    host: ClusterHost,
    first: Sequence[int],
    taken: Mapping[int, KeyValue],
    mine: BlockOwner,
) -> int:
    for index in first:
        if index not in taken or _owner(taken[index]) == mine:
            return index
    for index in block_index.preference(network, host.name):
        if index not in taken:
            return index
    raise AddressesExhausted(
        f"all {block_index.count(network)} blocks of the overlay network {network.name} are taken",
        hint="remove hosts that are gone: cni-cnm node ls shows them, cni-cnm node rm frees their blocks",
    )


def _owner(record: KeyValue) -> BlockOwner | None:
    try:
        return value_json.owner(record.value, record.key)
    except CnmError:
        return None


def _network(name: str, found: Sequence[KeyValue]) -> OverlayNetwork | None:
    try:
        return value_json.network(name, found[0].value, found[0].key) if found else None
    except CnmError:
        return None
