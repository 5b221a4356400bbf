"""What STATUS says of an overlay network: whether this host has blocks of it, and a way to the other hosts.

A configuration whose network this host has not joined yet joins it here, so that a node is ready before its first pod.
The agent of the service says how the data path is (cluster/status_file.py).
"""

from __future__ import annotations

from cni_cnm.cluster import status_file
from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.network import grow_overlay
from cni_cnm.cnm.network.ensure_network import ensure_network
from cni_cnm.cnm.records import load_network
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.errors import CnmError, NotReady

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.network.configured_network import ConfiguredNetwork
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord

JOIN_TIMEOUT_S = 1.5
"""For the store, of the 2 s that STATUS has."""
_AGENT = "`systemctl status cni-cnm`: the agent is a part of the service, where the settings have [cluster]"


def join(host: Host, network: ConfiguredNetwork) -> NetworkRecord:
    """Join the network. NotReady with the reason if that is not possible now."""
    try:
        with Rollback() as undo:
            ensure_network(host, network, undo, store_timeout_s=JOIN_TIMEOUT_S)
    except NotReady:
        raise
    except CnmError as error:
        raise NotReady(f"this host has no block of the network {network.name}: {error.msg}", hint=error.hint) from error
    record = load_network(host.store, network.name)
    if record is None:
        raise NotReady(f"the network {network.name} was removed meanwhile")
    return record


def require_data_path(host: Host, record: NetworkRecord) -> Sequence[str]:
    """NotReady if this host has no block that is its own, or no way to other hosts. Returns warnings."""
    grow_overlay.refuse_lost(record)
    agent = status_file.read(host.settings.run_dir)
    if agent is None:
        return [_without_agent(host, record)]
    if agent.conflict:
        raise NotReady(agent.conflict)
    network = agent.networks.get(record.name)
    if network is None or network.id != overlay_record.network_of(record).id:
        raise NotReady(f"the agent has not made the data path of the network {record.name} yet", hint=_AGENT)
    if not network.ready:
        raise NotReady(f"the network {record.name} has no data path: {network.why}", hint=_AGENT)
    warnings = [*agent.warnings]
    if not agent.store.reachable:
        why = f" ({agent.store.why})" if agent.store.why else ""
        warnings.append(f"{agent.store.name} does not answer{why}: what other hosts change meanwhile is not known here")
    return warnings


def lost_addresses(network: NetworkRecord, endpoint: EndpointRecord) -> list[str]:
    """A sentence for each address of an endpoint that is of a block which another host has now."""
    holders = {
        subnet: overlay_record.lost(network)[block[0]]
        for block in overlay_record.blocks(network)
        if block[0] in overlay_record.lost(network)
        for subnet in block
    }
    return [
        f"the address {address.interface.ip} is of the block {subnet}, which {holder} has now"
        for address in endpoint.addresses
        for subnet, holder in holders.items()
        if address.interface.ip in subnet
    ]


def _without_agent(host: Host, record: NetworkRecord) -> str:
    device = host.stack.link(record.policy.outside)
    if device is None or not device.up:
        raise NotReady(f"the network {record.name} has no data path, and no agent runs on this host", hint=_AGENT)
    return "no agent of the cluster runs on this host: what other hosts change is not followed"
