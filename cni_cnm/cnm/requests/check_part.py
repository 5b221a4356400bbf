"""CHECK of what one plugin of a list has added to an endpoint (extend.py). Writes nothing."""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import check_endpoint as packet_filter
from cni_cnm.cnm.records import READY, load_endpoint
from cni_cnm.errors import CheckFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.model import EndpointKey, EndpointSpec, Part


def check(host: Host, key: EndpointKey, spec: EndpointSpec, part: Part) -> Sequence[str]:
    """CheckFailed naming the first difference; else warnings."""
    record = load_endpoint(host.store, key.id)
    if record is None or record.epoch != host.epoch or record.state != READY or record.device is None:
        raise CheckFailed(f"{key.ifname} of container {key.container_id} is unfinished", hint="DEL and ADD it again")
    if part.tuning is not None:
        from cni_cnm.cnm.interface import tuning

        with host.namespaces.open(spec.netns) as stack:
            tuning.check(stack, record.ifname, part.tuning)
    if part.source_routing is not None:
        from cni_cnm.cnm.endpoint import endpoint_source_routing

        with host.namespaces.open(spec.netns) as stack:
            endpoint_source_routing.check(record, stack)
    if part.bandwidth is not None:
        from cni_cnm.cnm.interface import shaping

        port = record.device.host[-1].name
        shaping.check(host.stack, port, shaping.ifb_name(record.id), part.bandwidth)
    if part.plugin in ("portmap", "firewall"):
        _require_ports(record, part)
        return packet_filter.check(host, record, record.policy)
    return ()


def _require_ports(record: EndpointRecord, part: Part) -> None:
    published = {(one.protocol, one.host_port, one.container_port) for one in (*record.ports, *record.requested_ports)}
    versions = {address.interface.version for address in record.addresses}
    for port in part.ports:
        served = versions and (port.host_ip is None or port.host_ip.version in versions)
        if served and (port.protocol, port.host_port, port.container_port) not in published:
            raise CheckFailed(f"the port {port} of {record.shown} is not published", hint="DEL and ADD it again")
