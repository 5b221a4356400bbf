"""The block that the store gives to this host (Kubernetes' podCIDRs): its network gives addresses of it from now on.

The agent does it as soon as it knows of the block. A network that this host does not have yet is made before the first
pod. An earlier block stays on record, marked as lost, while endpoints have addresses of it.
"""

from __future__ import annotations

from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.network import configured_network, delete_network, join_overlay, network_description, subnet_conflicts
from cni_cnm.cnm.network.create_network import network_subnets
from cni_cnm.cnm.network.ensure_network import ensure_network
from cni_cnm.cnm.packet_filter import firewall_state, overlay_elements
from cni_cnm.cnm.records import load_network
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.drivers import drivers
from cni_cnm.errors import Conflict
from cni_cnm.state.store import NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cluster.values import Block, OverlayNetwork
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.drivers.overlay_options import OverlayOptions
    from cni_cnm.model import IPNetwork, Json, NetworkSpec

LOCK_S = 1.0
"""The agent does nothing else while it waits, and tries again."""
NO_HOST = "no host"
"""In the place of the host that has a lost block."""


def assign(
    host: Host, spec: NetworkSpec, network: OverlayNetwork, block: Block, holders: Mapping[IPNetwork, str]
) -> bool:
    """The network has this block now, and what all hosts agree on is on record. False if that was so before.

    Args:
        spec: the network as its configuration has it, for one that is not made yet.
        holders: who has a block (by its first subnet), for blocks that this host had before.

    Raises:
        Conflict: another network, or the host, has the subnet; or the subnet of the whole changes under endpoints.
        TryAgain: the network is locked for LOCK_S.
    """
    record = load_network(host.store, block.network)
    if record is None or record.pending:
        with Rollback() as undo:
            ensure_network(host, configured_network.read(spec), undo, agreed=join_overlay.Agreed(network, (block,)))
        return True
    if not overlay_record.is_overlay(record):
        raise Conflict(
            f"the network {record.name} of this host has the driver {record.driver}, and in the cluster it is an "
            "overlay network",
            hint=f"remove it: `cni-cnm network rm {record.name}`; or give the key network of the settings another name",
        )
    with host.store.lock(f"network/{record.name}", timeout_s=LOCK_S), host.store.lock("pools", timeout_s=LOCK_S):
        old = load_network(host.store, block.network)
        return old is not None and old.id == record.id and _change(host, old, network, block, holders)


def hold(host: Host, name: str, why: str) -> bool:
    """No further address of the network is given on this host, because of `why`; "": they are given.

    Its endpoints stay. Whether the record was changed. TryAgain: the network is locked for LOCK_S.
    """
    with host.store.lock(f"network/{name}", timeout_s=LOCK_S):
        record = load_network(host.store, name)
        if record is None or not overlay_record.is_overlay(record) or overlay_record.held(record) == why:
            return False
        host.store.put(NETWORKS, name, overlay_record.with_hold(record, why).to_json())
        return True


def raise_bridge(host: Host, name: str) -> None:
    """Make the bridge of a network on record, with its gateways, where they are missing: a reboot has removed them.

    Raises:
        Conflict: another program has an address or a link in the way.
        TryAgain: the network is locked for LOCK_S.
    """
    with host.store.lock(f"network/{name}", timeout_s=LOCK_S):
        record = load_network(host.store, name)
        if record is not None and not record.pending:
            drivers.get(record.driver).create_network(record.options, network_subnets(host, record), host.stack)


def _change(
    host: Host, old: NetworkRecord, network: OverlayNetwork, block: Block, holders: Mapping[IPNetwork, str]
) -> bool:
    endpoints = list(delete_network.endpoints_of(host, old))
    whole = overlay_record.all_subnets(old)
    if endpoints and tuple(whole) != network.subnets:
        raise Conflict(
            f"the network {old.name} was made with the subnets {_shown(whole)}, and now has {_shown(network.subnets)}: "
            "its pods on this host must end first",
            hint="remove the pods from this node, for example by `kubectl drain`",
        )
    options = join_overlay.agreed_options(overlay_record.options_of(old), network)
    new = old._replace(options=options, ipam=_ipam(old, options, block, holders, endpoints))
    if new == old:
        return False
    driver, before, after = drivers.get(new.driver), network_subnets(host, old), network_subnets(host, new)
    added = [one for one in after if one.pool not in {each.pool for each in before}]
    subnet_conflicts.refuse(host, new, added, network_description.spec_of(new))
    in_use = {address.gateway for one in endpoints for address in one.addresses if address.gateway}
    with Rollback() as undo:
        undo.push(lambda: driver.change_subnets(old.options, after, before, host.stack, in_use))
        driver.change_subnets(new.options, before, after, host.stack, in_use)
        undo.push(lambda: host.store.put(NETWORKS, old.name, old.to_json()))
        host.store.put(NETWORKS, new.name, new.to_json())
        with firewall_state.lock(host):
            overlay_elements.change(host, old, new)
    return True


def _ipam(
    old: NetworkRecord,
    options: OverlayOptions,
    block: Block,
    holders: Mapping[IPNetwork, str],
    endpoints: Sequence[EndpointRecord],
) -> Mapping[str, Json]:
    """With the block, and with earlier ones that endpoints have addresses of."""
    versions = {subnet.version for subnet in block.subnets}
    used = [address.interface.ip for one in endpoints for address in one.addresses]
    earlier = [
        tuple(subnet for subnet in one if subnet.version in versions and subnet not in block.subnets)
        for one in overlay_record.blocks(old)
        if any(address in subnet for address in used for subnet in one)
    ]
    earlier = sorted(filter(None, earlier), key=len)
    lost = {one[0]: holders.get(one[0], NO_HOST) for one in earlier}
    whole = set(map(str, overlay_record.all_subnets(old)))
    given = {**old.ipam, "routes": [route for route in old.ipam["routes"] if route["dst"] not in whole]}
    return overlay_record.ipam_config(given, options, overlay_record.ranges([*earlier, block.subnets], lost))


def _shown(subnets: Sequence[IPNetwork]) -> str:
    return ", ".join(map(str, subnets)) or "none"
