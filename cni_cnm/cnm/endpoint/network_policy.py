"""The policy of a network that a plugin `firewall` of its list decides (cni/names/firewall.py).

It belongs to the network, as with the reference plugin, whose rules name the bridge and stay. While other endpoints
have the plugin's part, a policy that lets more in does not replace one that lets less in.
"""

from __future__ import annotations

from cni_cnm.cnm.endpoint import locked_endpoint
from cni_cnm.cnm.packet_filter import network_elements
from cni_cnm.cnm.packet_filter.enforce import enforce_endpoint
from cni_cnm.cnm.records import READY, endpoints_of, load_endpoint, load_network
from cni_cnm.firewall import isolation
from cni_cnm.state.store import NETWORKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord

_BY_STRICTNESS = (isolation.OPEN, isolation.ROUTED, isolation.SAME_BRIDGE, isolation.ISOLATED)


def change(host: Host, endpoint: EndpointRecord, wanted: Any) -> Any:
    """Give the endpoint's network these options, or stricter ones. Returns those that the endpoint has then."""
    with host.store.lock(f"network/{endpoint.network}"):
        record = load_network(host.store, endpoint.network)
        if record is None or record.driver != endpoint.driver:
            return wanted
        has: Any = record.options
        if _is_stricter(has.ingress, wanted.ingress) and _others(host, endpoint):
            wanted = wanted._replace(ingress=has.ingress)
        policy = {"ingress": wanted.ingress, "zone": wanted.zone, "admin_chain": wanted.admin_chain}
        new = wanted if endpoint.driver == "chained" else has._replace(**policy)
        if new != has:
            changed = record._replace(options=new)
            if record.policy.isolates and record.policy != changed.policy:
                network_elements.remove_isolation(host, record)
            host.store.put(NETWORKS, record.name, changed.to_json())
        return wanted


def isolate_others(host: Host, network: str, joining: str) -> None:
    """Isolate the containers that joined a network before its policy becomes `isolated`, as the reference does.

    It comes before the network's record is changed, so an ADD that is repeated does it again. The caller holds no lock
    of an endpoint. `joining`: the id of the endpoint whose list has the policy.
    """
    record = load_network(host.store, network)
    if record is None or not _is_stricter(isolation.ISOLATED, getattr(record.options, "ingress", isolation.ISOLATED)):
        return
    for one in endpoints_of(host.store, record.id):
        if one.id == joining:
            continue
        with locked_endpoint.lock(host, one.id):
            now = load_endpoint(host.store, one.id)
            if now is None or now.state != READY or now.epoch != host.epoch or now.driver != record.driver:
                continue
            endpoint = locked_endpoint.LockedEndpoint(host, now)
            options: Any = now.options
            endpoint.write(options=options._replace(ingress=isolation.ISOLATED))
            enforce_endpoint(host, endpoint.record, endpoint.policy)


def _is_stricter(one: str, other: str) -> bool:
    return _BY_STRICTNESS.index(one) > _BY_STRICTNESS.index(other)


def _others(host: Host, endpoint: EndpointRecord) -> bool:
    return any(
        one.id != endpoint.id and "firewall" in one.parts for one in endpoints_of(host.store, endpoint.network_id)
    )
