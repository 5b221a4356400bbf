"""Host ports that two attachments publish: the plugins allow it, and the older one gets the connections. We do not."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from cni_cnm.adopt.look import LEFT, READY, Pod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.model import IPAddress, PortMapping

_EVERY = (IPv4Address(0), IPv6Address(0))


def of_one_each(pods: Sequence[Pod], records: Iterable[EndpointRecord]) -> list[Pod]:
    """The same attachments. Those that are ready, and whose port an older one or a record has, are left alone."""
    holders = {port: record.shown for record in records for port in _ports(record)}
    found = []
    for pod in pods:
        if pod.state == READY and pod.living is not None:
            own = list(_ports(pod.living.record))
            taken = next((port for port in own if port in holders), None)
            if taken is not None:
                protocol, number, _ = taken
                why = f"the host port {number}/{protocol} is already published by {holders[taken]}"
                found.append(pod._replace(state=LEFT, reason=why))
                continue
            holders.update(dict.fromkeys(own, pod.living.record.shown))
        found.append(pod)
    return found


def _ports(record: EndpointRecord) -> Iterator[tuple[str, int, IPAddress]]:
    for mapping in record.ports:
        for address in _addresses(mapping):
            for number in range(mapping.host_port, mapping.host_port + mapping.size):
                yield mapping.protocol, number, address


def _addresses(mapping: PortMapping) -> Sequence[IPAddress]:
    return _EVERY if mapping.host_ip is None else (mapping.host_ip,)
