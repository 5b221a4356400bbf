"""The names of Docker's containers on a network that answers names: put on an endpoint's record, and answered.

Docker says no name in a call. It is asked for them (docker_server/container_names.py), and they go with the endpoint.
"""

from __future__ import annotations

from cni_cnm.cnm.endpoint import endpoint_names
from cni_cnm.cnm.endpoint.locked_endpoint import locked
from cni_cnm.cnm.records import READY, load_network
from cni_cnm.errors import NoSuchEndpoint
from cni_cnm.model import Pod
from cni_cnm.names import labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord


def network_with_names(host: Host, record: EndpointRecord) -> NetworkRecord | None:
    """The network of an endpoint of Docker's that has joined, if the network answers names."""
    if not record.docker_network or record.state != READY:
        return None
    network = load_network(host.store, record.network)
    return network if network is not None and network.names is not None else None


def answer(host: Host, record: EndpointRecord, container_id: str, names: Iterable[str]) -> Sequence[str]:
    """Answer these names for the endpoint, and the first digits of the container's id. No error if it has left.

    Returns those that are no host names, which are not answered.
    """
    try:
        with locked(host, record) as endpoint:
            network = network_with_names(host, endpoint.record)
            if network is None or network.names is None:
                return ()
            found, wrong = labels.of_endpoint(container_id, Pod(), names, network.names.domain)
            if endpoint.record.names != found:
                endpoint.write(names=found)
            endpoint_names.publish(host, endpoint.record)
    except NoSuchEndpoint:
        return ()
    return wrong


def withdraw(host: Host, record: EndpointRecord) -> None:
    """Answer no name for the endpoint. No error if it has gone."""
    try:
        with locked(host, record) as endpoint:
            endpoint_names.withdraw(host, endpoint.record)
            endpoint.write(names=())
    except NoSuchEndpoint:
        pass
