"""Puts an endpoint's elements into the packet filter, after everything else there was compared and repaired."""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import endpoint_elements, firewall_reconcile, firewall_state, foreign_accepts
from cni_cnm.state.files import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.firewall import Policy


def enforce(host: Host, record: EndpointRecord, policy: Policy) -> None:
    """PortTaken if another endpoint has published one of the ports."""
    if not policy.bridge and not (record.ports and policy.publishes):
        return
    state = firewall_reconcile.ensure(host, foreign_accepts.key_of(record, policy), policy)
    transaction = endpoint_elements.with_network(record, policy)
    if not (transaction.put or transaction.claim):
        return

    def alive(owner: str) -> bool:
        return any(name.startswith(owner) for name in host.store.names(ENDPOINTS))

    declared = firewall_state.is_declared(state, transaction.declare)
    endpoint_elements.put(host.nft, record, transaction, alive, declare=not declared)
    if not declared:
        firewall_state.remember(host, transaction.declare)
