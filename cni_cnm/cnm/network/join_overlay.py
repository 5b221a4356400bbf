"""Joining an overlay network: what all hosts agree on, and blocks of addresses for this host.

Any process of the host does it: the first ADD or STATUS of a configuration that names the network, the command line,
or Docker's plugin. The network is made in the directory if it is not there, and the configuration has a subnet. Blocks
that this host has there already are used again. Nothing is elected: each step is a compare-and-swap of the directory.
"""

from __future__ import annotations

import os

from cni_cnm.cluster import rules
from cni_cnm.cluster.underlay import DEVICE_PREFIX
from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.records import network_records
from cni_cnm.drivers.overlay_options import OverlayOptions, default_block
from cni_cnm.errors import Conflict, InvalidConfig, NotReady
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.waiting import waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cluster.directory import Directory
    from cni_cnm.cluster.membership import Membership
    from cni_cnm.cluster.values import Block, ClusterHost, OverlayNetwork, Snapshot
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.network.configured_network import ConfiguredNetwork
    from cni_cnm.cnm.rollback import Rollback
    from cni_cnm.model import Json


class Agreed(NamedTuple):
    """What the directory has, as the agent knows it."""

    network: OverlayNetwork
    blocks: tuple[Block, ...]
    """This host's."""


def join(
    host: Host,
    network: ConfiguredNetwork,
    undo: Rollback,
    timeout_s: float | None = None,
    agreed: Agreed | None = None,
) -> tuple[ConfiguredNetwork, Mapping[str, Json]]:
    """The network with the values that all hosts have, and the ipam object with this host's blocks.

    With `agreed` the store is not asked.

    Raises:
        InvalidConfig: the host has no cluster, the network is not there, or the configuration has another value.
        NotReady: another host is in the directory by this host's name.
        Conflict: another network of the directory has some of the subnet, or the VNI, or another one of this host has
            the VNI.
        AddressesExhausted: no block is free.
        DirectoryUnreachable: the store does not answer.
    """
    given = network.options
    assert isinstance(given, OverlayOptions)
    if agreed is None:
        options, blocks = _ask(host, network, given, undo, timeout_s)
    else:
        options, blocks = _checked(host, network, given, agreed.network), agreed.blocks
    sets = overlay_record.ranges([block.subnets for block in blocks], {})
    return network._replace(options=options), overlay_record.ipam_config(network.spec.ipam.config, options, sets)


def _ask(
    host: Host, network: ConfiguredNetwork, given: OverlayOptions, undo: Rollback, timeout_s: float | None
) -> tuple[OverlayOptions, Sequence[Block]]:
    """Its options as the directory has them, and this host's blocks, claimed where there are none."""
    cluster = membership(host)
    with waiting():
        me = cluster.host(host.stack)
        directory = cluster.directory(timeout_s) if timeout_s else cluster.directory()
        try:
            snapshot = directory.snapshot()
            if not directory.assigns:  # else `claim` knows more of it
                require_own_name(directory, snapshot, me)
            there = _find_or_create(directory, snapshot, network, given)
            options = _checked(host, network, given, there)
            found = own_blocks(snapshot, there.name, me)
            mine = [directory.claim(there, me, [block.subnets]) for block in found]
            if not mine:
                mine = [directory.claim(there, me)]
                undo.push(lambda: release(cluster, mine))
            return options, mine
        finally:
            directory.close()


def membership(host: Host) -> Membership:
    """InvalidConfig if this host belongs to no cluster."""
    if host.cluster is None:
        raise InvalidConfig(
            "overlay networks need a cluster, and the settings of this host have no part [cluster]",
            hint="docs/cluster.md; give the settings a part [cluster] with store and endpoints",
        )
    return host.cluster


def require_own_name(directory: Directory, snapshot: Snapshot, me: ClusterHost) -> None:
    """NotReady, naming both instances, if another host has this host's name.

    In Kubernetes a machine that was installed anew has its name, and its addresses, from the kubelet.
    """
    other = snapshot.hosts.get(me.name)
    anew = other is not None and directory.assigns and set(other.addresses) == set(me.addresses)
    if other is not None and other.instance != me.instance and not anew:
        raise NotReady(
            f"another host is called {me.name} in {directory.name}: its instance is {other.instance}, this one's is "
            f"{me.instance}",
            hint=f"give this host another name (setting cluster.node); if the other one is gone: "
            f"cni-cnm node rm {me.name}",
        )


def own_blocks(snapshot: Snapshot, network: str, me: ClusterHost) -> list[Block]:
    """This host's blocks of a network, in order."""
    mine = (network, me.name, me.instance)
    return sorted(one for one in snapshot.blocks.values() if (one.network, one.host, one.instance) == mine)


def release(cluster: Membership, blocks: list[Block]) -> None:
    """Release blocks in the directory. No error for one that is not this host's any more."""
    with waiting():
        directory = cluster.directory()
        try:
            for block in blocks:
                directory.release(block)
        finally:
            directory.close()


def _find_or_create(
    directory: Directory, snapshot: Snapshot, network: ConfiguredNetwork, given: OverlayOptions
) -> OverlayNetwork:
    there = snapshot.networks.get(network.name)
    if there is not None:
        return there
    subnets = given.subnets
    if not subnets:
        raise InvalidConfig(
            f"the overlay network {network.name} is not in {directory.name}, and no subnet is given to make it",
            hint=f"`cni-cnm network create --driver overlay --subnet 10.32.0.0/16 {network.name}` makes it for all "
            "hosts",
        )
    from cni_cnm.cluster.values import VXLAN_PORT, OverlayNetwork

    sizes = {4: given.block, 6: given.block6}
    wanted = OverlayNetwork(
        network.name,
        os.urandom(16).hex(),
        subnets,
        tuple(sizes[subnet.version] or default_block(subnet) for subnet in subnets),
        given.vni,
        given.port or VXLAN_PORT,
        rules.direct(given.direct or "auto"),
    )
    return directory.create_network(wanted)


def _checked(host: Host, network: ConfiguredNetwork, given: OverlayOptions, there: OverlayNetwork) -> OverlayOptions:
    """The options that will be on record. Conflict or InvalidConfig if the network cannot be joined with `given`."""
    _refuse_shared_device(host, there)
    found: OverlayOptions = network.driver.adopted(given, agreed_options(given, there))
    return found


def _refuse_shared_device(host: Host, network: OverlayNetwork) -> None:
    """Conflict if another network of this host has the VNI, and so the device.

    A store that was restored from a backup, or set up anew, gives out the VNI of a network that it does not know.
    """
    for record in network_records(host.store):
        if not overlay_record.is_overlay(record):
            continue
        other = overlay_record.network_of(record)
        if other.vni == network.vni and other.id != network.id:
            raise Conflict(
                f"the network {network.name} has the VNI {network.vni} in the cluster, and the network {other.name} "
                f"of this host has it, too: one VXLAN device cannot carry both",
                hint=f"remove one of them: cni-cnm network rm {other.name} on this host, or make {network.name} anew "
                "with another vni",
            )


def agreed_options(given: OverlayOptions, there: OverlayNetwork) -> OverlayOptions:
    """What would be on record, had this host joined before.

    A network without subnets is Kubernetes': kube-proxy redirects connections between pods of one bridge, so their
    answers must pass connection tracking.
    """
    subnets = {subnet.version: str(subnet) for subnet in there.subnets}
    sizes = dict(zip((subnet.version for subnet in there.subnets), there.block_sizes, strict=False))
    return OverlayOptions(
        given.bridge._replace(outside=f"{DEVICE_PREFIX}{there.vni}", ip_hooks=not there.subnets),
        subnets.get(4, ""),
        subnets.get(6, ""),
        sizes.get(4, 0),
        sizes.get(6, 0),
        there.vni,
        there.port,
        there.direct,
        there.id,
    )
