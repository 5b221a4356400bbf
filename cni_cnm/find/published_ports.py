"""The ports that are published, by record, and whether the packet filter has them."""

from __future__ import annotations

from cni_cnm.cnm.records import endpoint_records
from cni_cnm.find.endpoint_names import named
from cni_cnm.firewall import portmap
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.find.endpoint_names import NamedEndpoint
    from cni_cnm.kernel import Element
    from cni_cnm.model import PortMapping

PUBLISHED, MISSING, TAKEN = "published", "missing", "taken"
"""The packet filter has all elements of the port, not all of them, or another endpoint's."""


class PublishedPort(NamedTuple):
    """A port, or several in a row, that an endpoint publishes."""

    port: PortMapping
    endpoint: NamedEndpoint
    state: str
    targets: Sequence[str] = ()
    """The endpoint's addresses that the ports lead to."""


def published_ports(host: Host) -> Sequence[PublishedPort]:
    """All of this host, by number, protocol and address. The packet filter is asked once for all."""
    found: list[tuple[PortMapping, NamedEndpoint, Sequence[Element]]] = []
    for endpoint in named(host, (record for record in endpoint_records(host.store) if record.ports)):
        record = endpoint.record
        addresses = [address.interface for address in record.addresses]
        for port in record.ports if addresses else ():
            of_port = portmap.publish(record.id, record.label, addresses, [port], record.portmap).claim
            found.append((port, endpoint, of_port if record.policy.publishes else ()))
    wanted = [element for _, _, elements in found for element in elements]
    there = iter(host.nft.find(wanted) if wanted else ())
    ports = [
        PublishedPort(port, endpoint, _state(endpoint, elements, [next(there) for _ in elements]), _targets(elements))
        for port, endpoint, elements in found
    ]
    return sorted(ports, key=lambda one: (one.port.host_port, one.port.protocol, str(one.port.host_ip or "")))


def _state(endpoint: NamedEndpoint, wanted: Sequence[Element], there: Sequence[Element | None]) -> str:
    owner = endpoint.record.id[:12]
    if any(one is not None and one.owner != owner for one in there):
        return TAKEN
    kept = all(one is not None and one.value == each.value for one, each in zip(there, wanted, strict=True))
    return PUBLISHED if kept else MISSING


def _targets(elements: Sequence[Element]) -> Sequence[str]:
    return list(dict.fromkeys(element.value.partition(" ")[0] for element in elements))
