"""setup and teardown: a container is attached to a network, and detached.

podman alone allocates the addresses of its networks. So a container whose namespace is gone and whose address podman
has given to another one was removed without a teardown: it is taken down here. While its namespace is there, the other
container is refused.
"""

from __future__ import annotations

from cni_cnm.cnm.network.delete_network import delete_if_unused
from cni_cnm.cnm.network.network_description import subnets_of
from cni_cnm.cnm.reconcile import gone_namespaces
from cni_cnm.cnm.records import load_endpoint, load_network
from cni_cnm.cnm.requests.attach import attach_to
from cni_cnm.errors import CnmError, Conflict, DamagedRecord, InvalidNamespace
from cni_cnm.model import EndpointKey, EndpointSpec
from cni_cnm.netavark import OWNER, given_addresses
from cni_cnm.netavark.endpoint_spec import endpoint_spec
from cni_cnm.netavark.network_spec import network_spec
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import Attachment, IPAddress
    from cni_cnm.netavark.messages import Leaving, PodmanContainer, PodmanNetwork
    from cni_cnm.state.store import Store


def setup(controller: Controller, container: PodmanContainer, netns: str, request_id: str) -> Attachment:
    """All of it or nothing. Errors as of `Controller.attach`."""
    host = controller.host
    network, endpoint = network_spec(container.network), endpoint_spec(container, netns, request_id)
    if host.namespaces.is_host(netns):
        raise InvalidNamespace(f"{netns} is the plugin's own network namespace", hint="give the container's")
    key = EndpointKey(network.name, endpoint.container_id, endpoint.ifname)
    _free_addresses(controller, container)
    given_addresses.give(host.store, key, container.addresses)
    try:
        record = load_network(host.store, network.name)
        if record is None or record.owner == OWNER:
            return controller.attach(network, endpoint)
        refuse_differences(record, container.network)
        return attach_to(host, record, endpoint)
    except BaseException:
        if not host.store.has(ENDPOINTS, key.id):
            given_addresses.take_back(host.store, key, container.addresses)
        raise


def teardown(controller: Controller, leaving: Leaving, netns: str) -> Sequence[str]:
    """No error if there is nothing. A network of podman's is deleted with its last container.

    Returns sentences about what is left. Errors as of `Controller.detach`.
    """
    host = controller.host
    try:
        netns = "" if host.namespaces.is_host(netns) else netns  # the container's namespace is gone
    except CnmError:
        pass  # as if it were gone
    key = EndpointKey(leaving.network, leaving.container_id, leaving.ifname)
    given = _given(host.store, key)
    notes = controller.detach(key, EndpointSpec(leaving.container_id, leaving.ifname, netns, OWNER), None)
    given_addresses.take_back(host.store, key, given)
    record = load_network(host.store, leaving.network)
    if record is not None and record.owner == OWNER and not given_addresses.is_used(host.store, leaving.network):
        try:
            delete_if_unused(host, leaving.network)
        except DamagedRecord as damaged:  # perhaps of another container of the network
            notes = (*notes, f"the network {leaving.network} stays: {damaged}")
    return notes


def refuse_differences(record: NetworkRecord, network: PodmanNetwork) -> None:
    """Conflict if a network that podman is to share is not as podman has it."""
    there = subnets_of(record)
    if network.subnets and {subnet.pool for subnet in network.subnets} != set(there):
        raise Conflict(
            f"there is a network {record.name} already, and it has {', '.join(map(str, there)) or 'no subnet'}",
            hint="share it with `podman network create` without a subnet, or choose another name",
        )
    if record.ipam_type != "host-local":
        raise Conflict(
            f"there is a network {record.name} already, and its addresses are not from host-local",
            hint="choose another name",
        )


def _free_addresses(controller: Controller, container: PodmanContainer) -> None:
    """Conflict if another container of podman's has one of the addresses, and its namespace."""
    host = controller.host
    for endpoint in given_addresses.holders(host.store, container.network.name, container.addresses):
        of_other = endpoint.container_id != container.container_id and endpoint.owner == OWNER
        if not of_other or endpoint.epoch != host.epoch:  # nothing of it is left after a reboot
            continue
        gone_namespaces.take_down_if_gone(host, endpoint.id)
        if host.store.has(ENDPOINTS, endpoint.id):
            held = next(one.interface.ip for one in endpoint.addresses if one.interface.ip in container.addresses)
            raise Conflict(
                f"the address {held} is in use by {endpoint.shown}",
                hint="choose another address, or remove that container first",
            )


def _given(store: Store, key: EndpointKey) -> Sequence[IPAddress]:
    """The addresses of an endpoint on record. None also for a record that cannot be read: detach removes that."""
    try:
        record = load_endpoint(store, key.id)
    except DamagedRecord:
        return ()
    return [one.interface.ip for one in record.addresses] if record is not None else ()
