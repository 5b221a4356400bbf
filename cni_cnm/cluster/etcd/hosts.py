"""Records of hosts in etcd."""

from __future__ import annotations

from cni_cnm.cluster import block_index, value_json
from cni_cnm.cluster.etcd.operations import absent, delete, get, get_below, put, unchanged
from cni_cnm.cluster.values import Block
from cni_cnm.errors import CnmError, Conflict, Forbidden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cluster.etcd.client import Client
    from cni_cnm.cluster.etcd.keys import Keys
    from cni_cnm.cluster.etcd.operations import KeyValue
    from cni_cnm.cluster.values import ClusterHost

_BLOCKS_AT_ONCE = 100
"""etcd takes 128 operations in one transaction (--max-txn-ops)."""


def announce(client: Client, keys: Keys, host: ClusterHost) -> int:
    """Write the record if it differs. Gives the revision at which it was written."""
    key = keys.host(host.name)
    content = value_json.host_json(host)
    value_json.host(host.name, content, f"host {host.name}")
    for _ in client.attempts():
        _, (there,) = client.read_at_once([get(key)])
        revision = refuse_other(client.name, keys, host, there.found)
        if there.found and there.found[0].value == content:
            return revision
        outcome = client.transaction([unchanged(key, revision)], [put(key, content)])
        if outcome and outcome.succeeded:
            return outcome.revision
    raise AssertionError("attempts end with an error")


def refuse_other(name: str, keys: Keys, host: ClusterHost, found: Sequence[KeyValue]) -> int:
    """Conflict if the record is of another instance. Gives its revision, 0 if there is none."""
    if not found:
        return 0
    instance = _instance(keys, host.name, found[0])
    if instance != host.instance:
        raise Conflict(
            f"the name {host.name} belongs to another host in {name}: its instance is "
            f"{instance or 'not readable'}, this host's is {host.instance}",
            hint=f"give this host another node name in the settings, or run `cni-cnm node rm {host.name}`",
        )
    return found[0].revision


def leave(client: Client, keys: Keys, name: str, instance: str, force: bool) -> Sequence[Block]:
    """Delete the record, and the blocks in parts of 100. The record is deleted first: the host claims nothing more."""
    freed: dict[str, Block] = {}
    leaving: frozenset[str] | None = None
    """The instances that had the name at first. One that takes it later is another host."""
    left = False
    """The record is deleted, and this is known."""
    for _ in client.attempts():
        _, (host, alive, networks, blocks) = client.read_at_once(
            [get(keys.host(name)), get(keys.alive(name)), get_below(keys.networks), get_below(keys.blocks())]
        )
        there = _instance(keys, name, host.found[0]) if host.found else ""
        owned = [(each, owner) for each in blocks.found if (owner := _owner_of(each, name))]
        first = leaving is None
        if leaving is None:
            leaving = frozenset([instance] if instance and not force else [there, *(owner for _, owner in owned)])
        of_it = not left and there in leaving
        if host.found and there != instance and alive.found and not force and not left and (first or of_it):
            raise Forbidden(
                f"the host {name} shows life, so its containers may have addresses of its blocks",
                hint="stop cni-cnm on that host, and wait half a minute; --force frees its blocks nevertheless",
            )
        mine = [each for each, owner in owned if owner in leaving]
        gone = [*host.found, *alive.found] if not left and (of_it or not host.found) else []
        part = [*gone, *mine[:_BLOCKS_AT_ONCE]]
        if not part:
            return tuple(freed.values())
        # What was read as absent must be so still: a host that comes back meanwhile keeps what it claims.
        same = [unchanged(each.key, each.revision) for each in part]
        if not left and not alive.found and not force:
            same.append(absent(keys.alive(name)))
        outcome = client.transaction(same, [delete(each.key) for each in part])
        if outcome is None or outcome.succeeded:  # not known: what is there still is deleted next time
            known = {each.key: each for each in networks.found}
            freed.update((each.key, block) for each in part if (block := _block(keys, each, known)))
        left = left or bool(outcome and outcome.succeeded and host.found and gone)
    raise AssertionError("attempts end with an error")


def _instance(keys: Keys, name: str, record: KeyValue) -> str:
    """ "" if the record cannot be read."""
    try:
        return value_json.host(name, record.value, keys.host(name)).instance
    except CnmError:
        return ""


def _owner_of(record: KeyValue, host: str) -> str:
    """The instance of the host of that name which has the block; "" if another host has it."""
    try:
        owner = value_json.owner(record.value, record.key)
    except CnmError:
        return ""
    return owner.instance if owner.host == host else ""


def _block(keys: Keys, record: KeyValue, networks: Mapping[str, KeyValue]) -> Block | None:
    """None for a host's record, and for a block whose network cannot be read."""
    key = keys.read(record.key)
    if key is None or key.kind != "blocks" or keys.network(key.name) not in networks:
        return None
    try:
        network = value_json.network(key.name, networks[keys.network(key.name)].value, key.name)
        owner = value_json.owner(record.value, record.key)
        return Block(key.name, block_index.subnets_at(network, key.number), owner.host, owner.instance)
    except (CnmError, IndexError):
        return None
