"""A further block for an overlay network whose blocks on this host are full, and blocks that other hosts have now.

    an ADD finds no free address ──► grow: claim a block ──► its gateway on the bridge, its range on record ──► again

Several requests that find the blocks full at once claim one block together: they do it under the lock `grow/NAME`. The
store is asked without a lock that a DEL needs.
"""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.network import join_overlay, network_description, subnet_conflicts
from cni_cnm.cnm.network.create_network import network_subnets
from cni_cnm.cnm.packet_filter import firewall_state, overlay_elements
from cni_cnm.cnm.records import load_network
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.drivers import drivers
from cni_cnm.errors import AddressesExhausted, DirectoryUnreachable, NoSuchNetwork, NotReady
from cni_cnm.state.store import NETWORKS
from cni_cnm.waiting import waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import IPNetwork

    T = TypeVar("T")


MARK_LOCK_S = 1.0
"""For the mark of a lost block: the agent does nothing else while it waits, and tries again."""


def with_room(host: Host, name: str, reserve: Callable[[], T]) -> T:
    """What `reserve` returns. Where it finds no free address, a further block is claimed, and it is called again.

    Raises, besides what `reserve` raises:
        NotReady: other hosts have all blocks of this host now, or it must not give addresses of them.
        DirectoryUnreachable: the store does not answer.
        AddressesExhausted: the whole network has no free block.
    """
    while True:
        try:
            return reserve()
        except AddressesExhausted as error:
            grow(host, name, error)


def mark_lost(host: Host, name: str, block: IPNetwork, holder: str) -> None:
    """`holder` has this block now (its first subnet); "": it is this host's. The other blocks stay as they are.

    Its endpoints stay; no further address of it is given. For the agent. No error if the network or the block is gone.
    TryAgain if the network is locked for MARK_LOCK_S.
    """
    with host.store.lock(f"network/{name}", timeout_s=MARK_LOCK_S):
        record = load_network(host.store, name)
        if record is None or not overlay_record.is_overlay(record):
            return
        lost = overlay_record.lost(record)
        if lost.get(block, "") == holder or block not in {each[0] for each in overlay_record.blocks(record)}:
            return
        sets = overlay_record.ranges(overlay_record.blocks(record), {**lost, block: holder})
        marked = record._replace(ipam={**record.ipam, "ranges": sets})
        with firewall_state.lock(host), Rollback() as undo:
            undo.push(lambda: overlay_elements.change(host, marked, record))
            overlay_elements.change(host, record, marked)
            host.store.put(NETWORKS, name, marked.to_json())


def refuse_lost(record: NetworkRecord) -> None:
    """NotReady if other hosts have all blocks of this host, or it must not give addresses of them."""
    if why := overlay_record.held(record):
        raise NotReady(f"the network {record.name} gives no address on this host: {why}")
    lost = overlay_record.lost(record)
    if len(lost) == len(overlay_record.blocks(record)):
        shown = ", ".join(f"{subnet} ({holder})" for subnet, holder in lost.items())
        raise NotReady(
            f"other hosts have this host's blocks of the network {record.name} now: {shown}",
            hint=f"remove this host's containers on it, then `cni-cnm network rm {record.name}`: the next one claims "
            "another block",
        )


def grow(host: Host, name: str, full: AddressesExhausted) -> None:
    """Claim a further block for a network that has no free address here. `full` is what an allocation said.

    Raises what `with_room` names.
    """
    with host.store.lock(f"grow/{name}"):
        record = load_network(host.store, name)
        if record is None:
            raise full
        refuse_lost(record)
        if ipam.configure(name, network_description.spec_of(record).ipam, None, host).status().free:
            return  # another request has claimed a block meanwhile
        with Rollback() as undo:
            _put(host, record, _claim(host, record, full, undo))


def _claim(host: Host, record: NetworkRecord, full: AddressesExhausted, undo: Rollback) -> tuple[IPNetwork, ...]:
    """The subnets of a block that this host has from now on, and its record does not have yet."""
    cluster, network = join_overlay.membership(host), overlay_record.network_of(record)
    known = {block[0] for block in overlay_record.blocks(record)}
    try:
        with waiting():
            me = cluster.host(host.stack)
            directory = cluster.directory()
            try:
                if directory.assigns:
                    raise full
                snapshot = directory.snapshot()
                join_overlay.require_own_name(directory, snapshot, me)
                mine = [one.subnets for one in join_overlay.own_blocks(snapshot, network.name, me)]
                # What is this host's and not on its record was claimed by a call that was killed.
                claimed = directory.claim(network, me, [one for one in mine if one[0] not in known])
                while claimed.subnets[0] in known:  # `node rm` has freed what is on the disk
                    claimed = directory.claim(network, me)
                undo.push(lambda: join_overlay.release(cluster, [claimed]))
                return claimed.subnets
            finally:
                directory.close()
    except DirectoryUnreachable as error:
        raise DirectoryUnreachable(
            f"{full.msg}, and no further block can be claimed: {error.msg}", hint=error.hint
        ) from error


def _put(host: Host, before: NetworkRecord, block: tuple[IPNetwork, ...]) -> None:
    """Into the record, and its gateway onto the bridge."""
    name = before.name
    with host.store.lock(f"network/{name}"), host.store.lock("pools"), Rollback() as undo:
        old = load_network(host.store, name)
        if old is None or old.id != before.id or not overlay_record.is_overlay(old):
            raise NoSuchNetwork(f"the network {name} was deleted")
        sets = overlay_record.ranges([*overlay_record.blocks(old), block], overlay_record.lost(old))
        new = old._replace(ipam={**old.ipam, "ranges": sets})
        driver, subnets = drivers.get(new.driver), network_subnets(host, new)
        subnet_conflicts.refuse(host, new, subnets, network_description.spec_of(new))
        undo.push(lambda: driver.change_subnets(new.options, subnets, network_subnets(host, old), host.stack))
        driver.change_subnets(new.options, network_subnets(host, old), subnets, host.stack)
        undo.push(lambda: host.store.put(NETWORKS, name, old.to_json()))
        host.store.put(NETWORKS, name, new.to_json())
        with firewall_state.lock(host):
            overlay_elements.change(host, old, new)
