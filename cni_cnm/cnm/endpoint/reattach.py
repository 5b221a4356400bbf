"""After a network's own link was deleted by another program, and made again: its endpoints are attached to it again."""

from __future__ import annotations

from cni_cnm.cnm.records import READY, endpoint_records
from cni_cnm.drivers import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord


def reattach_endpoints(host: Host, newcomer: EndpointRecord) -> None:
    """Attach the links of all ready endpoints of the newcomer's network."""
    driver = drivers.get(newcomer.driver)
    for record in endpoint_records(host.store):
        ready = record.state == READY and record.epoch == host.epoch
        if ready and record.network_id == newcomer.network_id and record.id != newcomer.id:
            driver.repair_endpoint(record.options, record.plan, host.stack)
