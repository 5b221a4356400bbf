"""An endpoint under Docker's id. Docker allocates its addresses, and moves its link into the sandbox and back itself.

    join   ── link made on the host ──► Docker moves it into the sandbox ──► publish, as the default gateway
    delete ◄── link back on the host ── Docker takes it out ◄── leave

Each method is one call of Docker's and takes the endpoint's lock.
"""

from __future__ import annotations

from typing import Any

from cni_cnm import ipam, validate
from cni_cnm.cnm.docker import lost_endpoints, published_ports
from cni_cnm.cnm.endpoint import endpoint_names, endpoint_record, locked_endpoint, take_down_endpoint
from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint, locked
from cni_cnm.cnm.network.network_description import spec_of
from cni_cnm.cnm.packet_filter import endpoint_elements, firewall_state
from cni_cnm.cnm.packet_filter.enforce import enforce_endpoint
from cni_cnm.cnm.records import CREATED, PENDING, READY, load_endpoint, load_network
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.drivers import Place
from cni_cnm.errors import Conflict, NoSuchEndpoint, NoSuchNetwork, raise_gathered
from cni_cnm.ipam.docker_leases import DockerLeases
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.ipam.leases import DOCKER
from cni_cnm.model import Address, EndpointKey, EndpointSpec, Lease, stable_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.model import Device, IPAddress, IPInterface, PortMapping


def create_endpoint(
    host: Host,
    network: NetworkRecord,
    endpoint_id: str,
    *,
    addresses: Sequence[IPInterface],
    mac: str = "",
    ifname: str = "",
    docker_network: str = "",
) -> DockerEndpoint:
    """An endpoint at addresses that Docker has allocated. The same call again returns the same endpoint.

    `ifname`: the name that its interface is going to have in the container; "": Docker counts.

    Conflict if the id is another endpoint's, or if an address is leased to something that is not Docker's.
    """
    holder = (DOCKER, endpoint_id)
    with locked_endpoint.lock(host, endpoint_id), Rollback() as undo:
        found = load_endpoint(host.store, endpoint_id)
        if found is not None:
            if found.network_id == network.id and [a.interface for a in found.addresses] == list(addresses):
                return DockerEndpoint(host, found)
            raise Conflict(f"there is an endpoint {endpoint_id[:12]} already, on the network {found.network}")
        pool = ipam.configure(network.name, spec_of(network).ipam, None, host)
        key = EndpointKey(network.name, *holder)
        spec = EndpointSpec(*holder, "", DOCKER, mac or stable_mac(f"{network.id} {addresses[0].ip}"))
        endpoint = LockedEndpoint(host, endpoint_record.new_record(host.epoch, network, key, spec))
        endpoint.record = endpoint.record._replace(id=endpoint_id)
        with host.store.lock(f"network/{network.name}", shared=True):
            if load_network(host.store, network.name) is None:
                raise NoSuchNetwork(f"the network {network.name} was deleted")
            undo.push_record_removal(endpoint.delete_record)
            endpoint.write(
                name=endpoint_id[:12],
                host_ifname=f"veth{endpoint_id[:11]}",
                ipam_type="given",
                ipam={"addresses": [str(address.ip) for address in addresses]},
                lease=_lease(addresses, pool.gateways()),
                docker_network=docker_network,
                docker_since=lost_endpoints.now(),
                requested_ifname=ifname,
            )
        if isinstance(pool, HostLocal):
            for address in addresses:
                DockerLeases(network.name, pool, address.network).assign(address.ip, endpoint_id)
        endpoint.write(state=CREATED)
    return DockerEndpoint(host, endpoint.record)


def find_endpoint(host: Host, network: NetworkRecord, endpoint_id: str) -> DockerEndpoint:
    """The endpoint of exactly that id, without reading any other. NoSuchEndpoint if the network has none."""
    safe = validate.accepts(validate.network_name, endpoint_id)  # it becomes a file name
    record = load_endpoint(host.store, endpoint_id) if safe else None
    if record is None or record.network_id != network.id:
        raise NoSuchEndpoint(f"the network {network.name} has no endpoint {endpoint_id[:12]!r}")
    return DockerEndpoint(host, record)


class DockerEndpoint:
    """`record` is what was stored when the object was made."""

    def __init__(self, host: Host, record: EndpointRecord) -> None:
        self._host = host
        self.record = record

    def join(self, sandbox_key: str, requested: tuple[PortMapping, ...]) -> Device:
        """Make the device on the host, under a temporary name. Asked again, a new device replaces the old one.

        `sandbox_key`: path of the sandbox, which need not exist yet. `requested`: ports to publish later.
        """
        host = self._host
        with locked(host, self.record) as endpoint, Rollback() as undo:
            driver, policy = endpoint.driver, endpoint.policy
            driver.delete_endpoint(endpoint.record.options, endpoint.record.plan, host.stack)
            if endpoint.record.device is not None:
                _withdraw(endpoint, state=PENDING, device=None, ports=())
            undo.push(lambda: endpoint.write(state=CREATED, device=None, ifname="", netns="", requested_ports=()))
            name = f"tmp{endpoint.record.id[:12]}"
            endpoint.write(
                state=PENDING,
                ifname=name,
                netns=sandbox_key,
                requested_ports=requested,
                docker_since=lost_endpoints.now(),
            )
            record = endpoint.record
            device = driver.create_endpoint(record.options, record.plan, host.stack, Place(host.stack, name))
            undo.push(lambda: driver.delete_endpoint(record.options, record.plan, host.stack))
            endpoint.record = joined = record._replace(device=device)
            undo.push(lambda: _withdraw(endpoint, state=PENDING))
            enforce_endpoint(host, joined, policy)
            endpoint.write(state=READY)
        return device

    def leave(self) -> None:
        """Unpublish, and record that it is not joined. Docker moves the link back later; `delete` removes it."""
        with locked(self._host, self.record) as endpoint:
            if endpoint.record.names:
                endpoint_names.withdraw(self._host, endpoint.record)
            _withdraw(
                endpoint,
                state=CREATED,
                ports=(),
                requested_ports=(),
                netns="",
                names=(),
                docker_since=lost_endpoints.now(),
            )

    def publish(self, requested: tuple[PortMapping, ...], *, ipv6_elsewhere: bool = False) -> tuple[PortMapping, ...]:
        """As published_ports.publish."""
        return published_ports.publish(self._host, self.record, requested, ipv6_elsewhere=ipv6_elsewhere)

    def unpublish(self) -> None:
        """No error if nothing is published."""
        with locked(self._host, self.record) as endpoint:
            published_ports.unpublish(endpoint)

    def release(self, address: IPAddress) -> bool:
        """Docker releases one of the addresses. False if the endpoint has no other one.

        Docker does so for a container without IPv6, between CreateEndpoint and Join or later. The endpoint stays.
        """
        host = self._host
        with locked(host, self.record) as endpoint:
            record = endpoint.record
            left = tuple(one for one in record.addresses if one.interface.ip != address)
            if not left or record.lease is None:
                return False
            with firewall_state.lock(host, shared=True):
                endpoint_elements.withdraw(lambda: host.nft, record, endpoint.policy, frozenset((address,)))
                endpoint.write(
                    ipam={**record.ipam, "addresses": [str(one.interface.ip) for one in left]},
                    lease=record.lease._replace(addresses=left),
                )
        return True

    def delete(self) -> None:
        """Remove the device, the addresses and the record, joined or not."""
        with locked(self._host, self.record) as endpoint:
            raise_gathered(take_down_endpoint.take_down(endpoint, {}).errors)
        published_ports.keep_held(self._host, self.record.id, ())


def _lease(addresses: Sequence[IPInterface], gateways: Sequence[IPInterface]) -> Lease:
    by_subnet = {gateway.network: gateway.ip for gateway in gateways}
    return Lease(tuple(Address(address, by_subnet.get(address.network)) for address in addresses))


def _withdraw(endpoint: LockedEndpoint, **changes: Any) -> None:
    """Take the endpoint out of the packet filter, and record that it is. A repair beside it sees both or neither."""
    host = endpoint.host
    with firewall_state.lock(host, shared=True):
        endpoint_elements.withdraw(lambda: host.nft, endpoint.record, endpoint.policy, None)
        endpoint.write(**changes)
    published_ports.keep_held(host, endpoint.record.id, endpoint.record.ports)
