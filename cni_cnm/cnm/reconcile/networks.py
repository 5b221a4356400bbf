"""The links of networks: bridges, with their addresses, routes, state and MTU.

A network whose containers are gone needs no link: the next ADD makes it. A link that another program made is given the
addresses that the network's configuration names, and nothing else.
"""

from __future__ import annotations

from cni_cnm.cnm.network import network_gateways
from cni_cnm.cnm.network.create_network import network_subnets
from cni_cnm.cnm.reconcile import endpoints
from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.cnm.records import load_network, network_records
from cni_cnm.drivers import NetworkPlan, drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.reconcile.changed import Changed
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord

_LOCK_S = 10.0
"""A request that holds the network longer than this is at work on it."""


def compare(host: Host, changed: Changed) -> Iterator[Difference]:
    records = list(network_records(host.store))
    for record in records:
        bridge = record.policy.bridge  # others have no link of their own on the host
        if bridge and (changed.everything or bridge in changed.links):
            found = _differences(host, record, records)
            if found:
                yield Difference(f"the network {record.name}", ", ".join(found), record.name)


def repair(host: Host, difference: Difference) -> str:
    with host.store.lock(f"network/{difference.key}", timeout_s=_LOCK_S):
        record = load_network(host.store, difference.key)
        records = list(network_records(host.store))
        if record is None or not _differences(host, record, records):
            return ""
        plan = _plan(host, record, records, _living(host, record))
        made = drivers.get(record.driver).repair_network(record.options, plan, host.stack)
    if not made:
        return "put right"
    # Without the network's lock: a request has its endpoint's lock before that one.
    attached = endpoints.attach_again(host, record)
    return f"made again, with {attached} container{'s' * (attached != 1)} on it"


def _differences(host: Host, record: NetworkRecord, records: Sequence[NetworkRecord]) -> Sequence[str]:
    """Endpoints' records are read only if something seems to differ: there may be a thousand.

    Or if the gateways are theirs alone: an executable of CNI_PATH keeps the subnets to itself.
    """
    driver = drivers.get(record.driver)
    living = None if network_subnets(host, record) else _living(host, record)
    found = driver.compare_network(record.options, _plan(host, record, records, living), host.stack)
    if not found or living is not None:
        return found
    return driver.compare_network(record.options, _plan(host, record, records, _living(host, record)), host.stack)


def _living(host: Host, record: NetworkRecord) -> Sequence[EndpointRecord]:
    return [one for one in endpoints.living(host) if one.network_id == record.id]


def _plan(
    host: Host, record: NetworkRecord, records: Sequence[NetworkRecord], living: Sequence[EndpointRecord] | None
) -> NetworkPlan:
    """What the network's link needs. `living` None: as if it had endpoints, which are not known."""
    gateways = network_gateways.gateways_of(host, record, living or ())
    mtus = {endpoint.device.container.mtu for endpoint in living or () if endpoint.device}
    shared = any(other.policy.bridge == record.policy.bridge for other in records if other.id != record.id)
    return NetworkPlan(
        gateways,
        mtu=min(mtus, default=0),
        keeps_mtu=record.owns_data_path and not shared,
        owns_link=record.owns_data_path,
        in_use=living is None or bool(living),
    )
