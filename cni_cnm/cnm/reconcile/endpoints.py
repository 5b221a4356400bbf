"""The host's ends of endpoints: on their bridge, up, with their addresses and routes.

A container is not entered. One whose link on the host is gone is gone too, or is not reached any more.
"""

from __future__ import annotations

from cni_cnm.cnm.endpoint import locked_endpoint
from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.cnm.records import READY, endpoint_records, load_endpoint
from cni_cnm.drivers import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.reconcile.changed import Changed
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord

_LOCK_S = 10.0
"""A request that holds the endpoint longer than this is at work on it."""


def living(host: Host) -> list[EndpointRecord]:
    """Endpoints that were finished in this epoch, and whose link on the host is there."""
    names = {link.name for link in host.stack.links(kind="veth")}
    return [
        record
        for record in endpoint_records(host.store)
        if record.host_ifname in names and record.state == READY and record.epoch == host.epoch
    ]


def compare(host: Host, changed: Changed) -> Iterator[Difference]:
    for record in living(host) if _concerns_some(changed) else ():
        named = {record.host_ifname} & changed.links or {record.policy.bridge} & changed.deleted
        if (changed.everything or named) and (found := _differences(host, record)):
            yield Difference(f"the endpoint {record.shown}", ", ".join(found), record.id)


def repair(host: Host, difference: Difference) -> str:
    with locked_endpoint.lock(host, difference.key, timeout_s=_LOCK_S):
        record = load_endpoint(host.store, difference.key)
        if record is None or record.state != READY or record.epoch != host.epoch or not _differences(host, record):
            return ""
        drivers.get(record.driver).repair_endpoint(record.options, record.plan, host.stack)
        return "put right"


def attach_again(host: Host, network: NetworkRecord) -> int:
    """Attach a network's endpoints to its link, which was made again. Returns how many."""
    records = [record for record in living(host) if record.network_id == network.id]
    return sum(bool(repair(host, Difference("", "", record.id))) for record in records)


def _concerns_some(changed: Changed) -> bool:
    """Whether an endpoint may be concerned: their records are many, and are not read for every link of the host."""
    hosts_ends = any(name.startswith("veth") for name in changed.links)
    return changed.everything or hosts_ends or bool(changed.deleted)


def _differences(host: Host, record: EndpointRecord) -> Sequence[str]:
    return drivers.get(record.driver).compare_endpoint(record.options, record.plan, host.stack)
