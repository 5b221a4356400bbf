"""CHECK of an endpoint: its record against the kernel, the packet filter and the leases. Writes nothing."""

from __future__ import annotations

from cni_cnm.cnm.endpoint import results
from cni_cnm.cnm.endpoint.endpoint_record import pool_of
from cni_cnm.cnm.interface import configure_interface
from cni_cnm.cnm.packet_filter import check_endpoint as packet_filter
from cni_cnm.cnm.records import READY
from cni_cnm.cnm.sandbox.sandbox_endpoints import gateways_of
from cni_cnm.drivers import Place, drivers
from cni_cnm.errors import CheckFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Attachment


def check(
    host: Host, record: EndpointRecord, stack: Stack, previous: Attachment | None, environ: Mapping[str, str]
) -> Sequence[str]:
    """CheckFailed naming the first difference from the record and from `previous`, the result of the caller's list.

    Returns warnings: what may be in the way of the endpoint's packets.
    """
    driver = drivers.get(record.driver)
    if record.state != READY or record.device is None or record.lease is None:
        raise CheckFailed(f"the endpoint {record.shown} is unfinished", hint="DEL and ADD it again")
    elected = results.elected_versions(record, gateways_of(host, record.container_id))
    expected = results.expected(record, elected, previous)
    place = Place(stack, record.ifname, record.netns)
    driver.check_endpoint(record.options, record.plan, host.stack, place)
    role = record.role
    if role.configured and record.device.container.name:
        own = record.addresses
        if record.source_routing is not None and not record.source_routing.table:
            expected, own = expected._replace(routes=()), ()  # they are in the tables of its addresses
        configure_interface.check(stack, record.device.container.name, expected, own, role)
    if record.source_routing is not None:
        from cni_cnm.cnm.endpoint import endpoint_source_routing

        endpoint_source_routing.check(record, stack)
    if record.tuning or record.bandwidth:
        from cni_cnm.cnm.endpoint import interface_tuning

        interface_tuning.check(record, stack, host.stack, expected.mac)
    warnings = packet_filter.check(host, record, record.policy)
    pool_of(host, record).check(record.key, record.lease, environ)
    if record.names:
        from cni_cnm.cnm.endpoint import endpoint_names

        endpoint_names.check(host, record)
    return warnings
