"""Endpoints that Docker has removed while the service was away. Docker sends a call once, so nothing tells of them.

Evidence is the kernel's, for an endpoint that joined a sandbox:

    gone      the host's end of its link is absent: the sandbox was deleted, and the pair with it
    returned  the container's end is on the host: Docker takes it out of a sandbox that it deletes, and puts it there
              before a sandbox begins, too

`gone` is final. `returned`, and an endpoint that is not joined, count only if they stay so for `PATIENCE_S`.
"""

from __future__ import annotations

from time import monotonic

from cni_cnm import ipam
from cni_cnm.cnm.endpoint import take_down_endpoint
from cni_cnm.cnm.endpoint.locked_endpoint import locked
from cni_cnm.cnm.network.network_description import spec_of
from cni_cnm.cnm.records import READY, endpoint_records, load_endpoint, load_network
from cni_cnm.errors import CnmError, NamespaceGone, NoSuchEndpoint, raise_gathered
from cni_cnm.ipam.docker_leases import DockerLeases
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.ipam.leases import DOCKER
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.model import IPAddress

PATIENCE_S = 30.0
"""Longer than Docker needs from CreateEndpoint to a running container, and from Leave to DeleteEndpoint."""


def remove_if_gone(host: Host, record: EndpointRecord) -> bool:
    """Take down an endpoint of Docker's whose link is gone. True if it was, or is removed meanwhile."""
    if not record.docker_network:
        return False
    try:
        with locked(host, record) as endpoint:
            if not is_gone(host, endpoint.record):
                return False
            _take_down(endpoint)
    except NoSuchEndpoint:
        pass
    return True


def remove_holder(host: Host, owner: str) -> bool:
    """`remove_if_gone` for the endpoint whose id begins with `owner`, the holder of a port. False if there is none."""
    name = next((name for name in host.store.names(ENDPOINTS) if name.startswith(owner)), "") if owner else ""
    record = load_endpoint(host.store, name) if name else None
    return record is not None and remove_if_gone(host, record)


def is_gone(host: Host, record: EndpointRecord) -> bool:
    return record.state == READY and record.device is not None and host.stack.link(record.host_ifname) is None


def is_in_use(host: Host, record: EndpointRecord) -> bool:
    """Whether it joined a sandbox, and its link is there."""
    return _suspicion(host, record) is None


def has_address(host: Host, record: EndpointRecord, address: IPAddress) -> bool:
    """Whether the address is on an interface of the sandbox that the endpoint joined."""
    if not record.netns or is_gone(host, record):
        return False
    try:
        with host.namespaces.open(record.netns) as stack:
            return any(one.ip == address for link in stack.links() for one in stack.addresses(link.ifindex))
    except NamespaceGone:
        return False


class LostEndpoints:
    """Looks again and again. It remembers since when an endpoint seems to be lost, and removes it after a while."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since: dict[tuple[str, str, int], float] = {}

    def look(self, host: Host, known: Callable[[str], bool] = lambda _: False) -> Iterator[str]:
        """Remove what is lost. Yields a sentence for each endpoint removed, and for each that could not be.

        Args:
            host: this host.
            known: whether Docker says that the endpoint of this id is a container's. Then it stays.
        """
        seen: dict[tuple[str, str, int], float] = {}
        for record in [one for one in endpoint_records(host.store) if one.docker_network and one.epoch == host.epoch]:
            suspicion = _suspicion(host, record)
            if suspicion is None or known(record.id):
                continue
            since = seen[suspicion] = self._since.get(suspicion, self._clock())
            if not is_gone(host, record) and self._clock() - since < PATIENCE_S:
                continue
            try:
                removed = _remove(host, record, suspicion)
            except CnmError as error:
                yield f"the endpoint {record.label}, whose container is gone, could not be removed: {error}"
            else:
                if removed:
                    yield f"removed the endpoint {record.label}: its container is gone, and Docker had not said so"
        self._since = seen


def _suspicion(host: Host, record: EndpointRecord) -> tuple[str, str, int] | None:
    """What makes the endpoint seem lost: its id, its state, and its link on the host, if any. None: it is in use."""
    if is_gone(host, record):
        return record.id, "gone", 0
    link = host.stack.link(record.ifname) if record.ifname else None
    if record.state != READY or link is not None:
        return record.id, record.state, link.ifindex if link is not None else 0
    return None


def _remove(host: Host, record: EndpointRecord, suspicion: tuple[str, str, int]) -> bool:
    """False if the endpoint has changed meanwhile."""
    try:
        with locked(host, record) as endpoint:
            if _suspicion(host, endpoint.record) != suspicion:
                return False
            _take_down(endpoint)
    except NoSuchEndpoint:
        return False
    return True


def _take_down(endpoint: LockedEndpoint) -> None:
    """Take it down, and release the addresses as Docker would have done after that."""
    host, record = endpoint.host, endpoint.record
    raise_gathered(take_down_endpoint.take_down(endpoint, {}).errors)
    network = load_network(host.store, record.network)
    pool = ipam.configure(network.name, spec_of(network).ipam, None, host) if network is not None else None
    if isinstance(pool, HostLocal):
        for address in record.addresses:
            leases = DockerLeases(record.network, pool, address.interface.network)
            if leases.holder(address.interface.ip) == (DOCKER, record.id):
                leases.release(address.interface.ip)
