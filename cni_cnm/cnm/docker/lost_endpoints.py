"""Endpoints that Docker has removed while the service was away. Docker sends a call once, so nothing tells of them.

Evidence is the kernel's:

    earlier   the endpoint is of an earlier run of the host, whose links are gone
    gone      the host's end of the link is absent: the sandbox was deleted, and the pair with it
    returned  the container's end is on the host: Docker takes it out of a sandbox that it deletes
    unused    the endpoint has not joined a sandbox, or has left it

`earlier` and `gone` are final. The others also hold for a moment while a container starts or ends: they count
`PATIENCE_S` after Docker's last call.
"""

from __future__ import annotations

import time

from cni_cnm import ipam
from cni_cnm.cnm.endpoint import take_down_endpoint
from cni_cnm.cnm.endpoint.locked_endpoint import locked
from cni_cnm.cnm.network.network_description import spec_of
from cni_cnm.cnm.records import READY, endpoint_records, load_network, load_owner
from cni_cnm.errors import CnmError, NamespaceGone, NoSuchEndpoint, raise_gathered
from cni_cnm.ipam.docker_leases import DockerLeases
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.ipam.leases import DOCKER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.model import IPAddress

PATIENCE_S = 30.0
"""Longer than Docker needs from CreateEndpoint to a running container, and from Leave to DeleteEndpoint."""


def now() -> float:
    """Seconds since the boot: what `EndpointRecord.docker_since` counts."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def why_lost(host: Host, record: EndpointRecord) -> str:
    """What shows that Docker has removed the endpoint, a phrase; "" if nothing does."""
    if not record.docker_network:
        return ""
    if record.epoch != host.epoch:
        return "it is of an earlier run of the host"
    joined = record.state == READY and record.device is not None
    if joined and host.stack.link(record.host_ifname) is None:
        return f"its link {record.host_ifname} is gone"
    if not record.docker_since or now() - record.docker_since < PATIENCE_S:
        return ""
    if not joined:
        return "no container has joined it"
    return f"its link {record.ifname} is back on the host" if host.stack.link(record.ifname) is not None else ""


def remove_if_lost(host: Host, record: EndpointRecord) -> bool:
    """Take down an endpoint of Docker's that is lost. True if it was, or is removed meanwhile."""
    if not record.docker_network:
        return False
    try:
        with locked(host, record) as endpoint:
            if not why_lost(host, endpoint.record):
                return False
            _take_down(endpoint)
    except NoSuchEndpoint:
        pass
    return True


def remove_holder(host: Host, owner: str) -> bool:
    """`remove_if_lost` for the endpoint whose id begins with `owner`, the holder of a port. False if there is none."""
    record = load_owner(host.store, owner)
    return record is not None and remove_if_lost(host, record)


def remove_all(host: Host, known: Callable[[EndpointRecord], bool]) -> Iterator[str]:
    """Remove what is lost. Yields a sentence for each endpoint removed, and for each that could not be.

    `known` tells whether Docker says that the endpoint is a container's. Then it stays.
    """
    for record in list(endpoint_records(host.store)):
        why = why_lost(host, record)
        if not why or known(record):
            continue
        try:
            if remove_if_lost(host, record):
                yield f"removed the endpoint {record.shown}, of which Docker has said nothing more: {why}"
        except CnmError as error:
            yield f"the endpoint {record.shown} could not be removed, though {why}: {error}"


def is_in_use(host: Host, record: EndpointRecord) -> bool:
    """Whether its link is there, and in a sandbox."""
    if record.state != READY or host.stack.link(record.host_ifname) is None:
        return False
    return host.stack.link(record.ifname) is None


def has_address(host: Host, record: EndpointRecord, address: IPAddress) -> bool:
    """Whether the address is on an interface of the sandbox that the endpoint joined."""
    if not record.netns:
        return False
    try:
        with host.namespaces.open(record.netns) as stack:
            return any(one.ip == address for link in stack.links() for one in stack.addresses(link.ifindex))
    except NamespaceGone:
        return False


def _take_down(endpoint: LockedEndpoint) -> None:
    """Take it down, and release the addresses as Docker would have done after that."""
    host, record = endpoint.host, endpoint.record
    raise_gathered(take_down_endpoint.take_down(endpoint, {}).errors)
    if host.held_ports is not None:
        host.held_ports.keep(record.id, ())
    network = load_network(host.store, record.network)
    pool = ipam.configure(network.name, spec_of(network).ipam, None, host) if network is not None else None
    if isinstance(pool, HostLocal):
        for address in record.addresses:
            leases = DockerLeases(record.network, pool, address.interface.network)
            if leases.holder(address.interface.ip) == (DOCKER, record.id):
                leases.release(address.interface.ip)
