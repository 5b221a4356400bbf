"""Overlay networks in etcd. Each creation and removal writes the key `topology`, so they happen one after the other.

What one of them has read (subnets, VNIs) is thus still so when it writes.
"""

from __future__ import annotations

from cni_cnm.cluster import value_json
from cni_cnm.cluster.etcd.operations import absent, delete, get, get_below, none_below, put, unchanged
from cni_cnm.cluster.rules import LAST_VNI
from cni_cnm.cluster.values import FIRST_VNI
from cni_cnm.errors import ActiveEndpoints, CnmError, Conflict, InvalidConfig, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni_cnm.cluster.etcd.client import Client
    from cni_cnm.cluster.etcd.keys import Keys
    from cni_cnm.cluster.etcd.operations import KeyValue
    from cni_cnm.cluster.values import OverlayNetwork

_FIXED = ("subnets", "block_sizes", "port", "direct")


def create(client: Client, keys: Keys, wanted: OverlayNetwork) -> OverlayNetwork:
    """As the contract says (cluster/directory.py)."""
    _check(wanted)
    for _ in client.attempts():
        _, (topology, records) = client.read_at_once([get(keys.topology), get_below(keys.networks)])
        networks = [_readable(client, keys, each) for each in records.found]
        there = next((each for each in networks if each.name == wanted.name), None)
        if there is not None:
            return _same(client.name, there, wanted)
        for other in networks:
            clash = clash_of(wanted, other)
            if clash:
                raise Conflict(f"network {wanted.name}: {clash}")
        made = wanted._replace(vni=wanted.vni or _free_vni(networks))
        outcome = client.transaction(
            [unchanged(keys.topology, _revision(topology.found)), absent(keys.network(made.name))],
            [put(keys.network(made.name), value_json.network_json(made)), put(keys.topology, b"")],
        )
        if outcome and outcome.succeeded:
            return made
    raise AssertionError("attempts end with an error")


def remove(client: Client, keys: Keys, name: str) -> None:
    """As the contract says: delete_network."""
    for _ in client.attempts():
        _, (topology, record, blocks) = client.read_at_once(
            [get(keys.topology), get(keys.network(name)), get_below(keys.blocks(name))]
        )
        if not record.found:
            return
        if blocks.found:
            raise ActiveEndpoints(
                f"hosts have blocks of the network {name}: {_holders(blocks.found)}",
                hint=f"run on each of them: cni-cnm network rm {name}",
            )
        outcome = client.transaction(
            [
                unchanged(keys.topology, _revision(topology.found)),
                unchanged(keys.network(name), record.found[0].revision),
                none_below(keys.blocks(name)),
            ],
            [delete(keys.network(name)), put(keys.topology, b"")],
        )
        if outcome and outcome.succeeded:
            return


def clash_of(network: OverlayNetwork, other: OverlayNetwork) -> str:
    """Why both cannot be in one directory, "" if they can."""
    for subnet in network.subnets:
        for taken in other.subnets:
            if subnet.version == taken.version and subnet.overlaps(taken):
                return f"its subnet {subnet} overlaps {taken} of the network {other.name}"
    if network.vni == other.vni:
        return f"its VNI {network.vni} belongs to the network {other.name}"
    return ""


def _check(wanted: OverlayNetwork) -> None:
    """InvalidConfig for a network that other hosts would not read."""
    try:
        content = value_json.network_json(wanted._replace(vni=wanted.vni or FIRST_VNI))
        value_json.network(wanted.name, content, f"network {wanted.name}")
    except CnmError as error:
        raise InvalidConfig(error.msg) from None


def _same(name: str, there: OverlayNetwork, wanted: OverlayNetwork) -> OverlayNetwork:
    for key in (*_FIXED, "vni") if wanted.vni else _FIXED:
        have, want = getattr(there, key), getattr(wanted, key)
        if have != want:
            raise Conflict(
                f"network {there.name} is in {name} with {key} {_text(have)}, and is wanted with {_text(want)}",
                hint="an overlay network does not change: use these values, or another name",
            )
    return there


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else shown(value)


def _free_vni(networks: Iterable[OverlayNetwork]) -> int:
    taken = {each.vni for each in networks}
    return next(vni for vni in range(FIRST_VNI, LAST_VNI + 1) if vni not in taken)


def _readable(client: Client, keys: Keys, record: KeyValue) -> OverlayNetwork:
    """Conflict for one that cannot be read: its subnets and VNI cannot be compared."""
    name = record.key.removeprefix(keys.networks)
    try:
        return value_json.network(name, record.value, f"the key {record.key}")
    except CnmError as error:
        raise Conflict(
            f"{client.name} has a network that cannot be read, so no network can be made: {error.msg}",
            hint="correct that key, or delete it with etcdctl",
        ) from error


def _revision(found: Sequence[KeyValue]) -> int:
    return found[0].revision if found else 0


def _holders(records: Sequence[KeyValue]) -> str:
    names = set()
    for record in records:
        try:
            names.add(value_json.owner(record.value, record.key).host)
        except CnmError:
            names.add(f"the key {record.key} cannot be read")
    return ", ".join(sorted(names))
