"""An endpoint under Docker's id. Docker allocates its addresses, and moves its link into the sandbox and back itself.

    join   ── link made on the host ──► Docker moves it into the sandbox ──► publish, as the default gateway
    delete ◄── link back on the host ── Docker takes it out ◄── leave

Each method is one call of Docker's and takes the endpoint's lock.
"""

from __future__ import annotations

from cni_cnm import ipam, validate
from cni_cnm.cnm.endpoint import endpoint_record, locked_endpoint, take_down_endpoint
from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint, locked
from cni_cnm.cnm.network.network_description import spec_of
from cni_cnm.cnm.packet_filter import endpoint_elements
from cni_cnm.cnm.packet_filter.enforce import enforce_endpoint
from cni_cnm.cnm.records import CREATED, PENDING, READY, load_endpoint, load_network, publishing_endpoints
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.drivers import Place
from cni_cnm.errors import Conflict, Forbidden, InvalidConfig, NoSuchEndpoint, NoSuchNetwork, raise_gathered
from cni_cnm.firewall import portmap
from cni_cnm.ipam.docker_leases import DockerLeases
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.ipam.leases import DOCKER
from cni_cnm.model import Address, EndpointKey, EndpointSpec, Lease, stable_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.model import Device, IPInterface, PortMapping


def create_endpoint(
    host: Host,
    network: NetworkRecord,
    endpoint_id: str,
    *,
    addresses: Sequence[IPInterface],
    mac: str = "",
    docker_network: str = "",
) -> DockerEndpoint:
    """An endpoint at addresses that Docker has allocated. The same call again returns the same endpoint.

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
            undo.push(lambda: endpoint.write(state=CREATED, device=None, ifname="", netns="", requested_ports=()))
            name = f"tmp{endpoint.record.id[:12]}"
            endpoint.write(state=PENDING, ifname=name, netns=sandbox_key, requested_ports=requested, ports=())
            record = endpoint.record
            device = driver.create_endpoint(record.options, record.plan, host.stack, Place(host.stack, name))
            undo.push(lambda: driver.delete_endpoint(record.options, record.plan, host.stack))
            endpoint.record = joined = record._replace(device=device)
            undo.push(lambda: endpoint_elements.withdraw(lambda: host.nft, joined, policy, None))
            enforce_endpoint(host, joined, policy)
            endpoint.write(state=READY)
        return device

    def leave(self) -> None:
        """Unpublish, and record that it is not joined. Docker moves the link back later; `delete` removes it."""
        with locked(self._host, self.record) as endpoint:
            endpoint_elements.withdraw(lambda: self._host.nft, endpoint.record, endpoint.policy, None)
            endpoint.write(state=CREATED, ports=(), requested_ports=(), netns="")

    def publish(self, requested: tuple[PortMapping, ...], families: Sequence[int] = (4, 6)) -> tuple[PortMapping, ...]:
        """Publish ports, as the sandbox's default gateway, in place of those that were published before.

        An IP version for which another endpoint of the sandbox publishes already is left to that endpoint.
        Returns the mappings with the host ports that were chosen.
        """
        from cni_cnm.cnm.packet_filter import port_allocator

        host = self._host
        with locked(host, self.record) as endpoint, Rollback() as undo:
            before = endpoint.record
            if requested and before.role.internal:
                raise InvalidConfig(
                    f"the network {before.network} is internal, so {requested[0]} cannot be published on it",
                    hint="publish on a network without --internal",
                )
            if before.state != READY or before.device is None:
                raise Forbidden(f"the endpoint {before.label} is not joined to a sandbox")
            mine = [v for v in (4, 6) if v in families and any(a.interface.version == v for a in before.addresses)]
            for other in publishing_endpoints(host.store, before.netns):
                if other.id != before.id:
                    mine = [version for version in mine if version not in _published_versions(other)]
            ports = port_allocator.choose(requested, before.ports, mine, host.nft, host.stack)
            removed = tuple(port for port in before.ports if port not in ports)
            endpoint_elements.unpublish(lambda: host.nft, before._replace(ports=removed))
            undo.push(lambda: endpoint.write(ports=tuple(port for port in before.ports if port in ports)))
            endpoint.write(ports=ports, requested_ports=requested)
            added = endpoint.record._replace(ports=tuple(port for port in ports if port not in before.ports))
            undo.push(lambda: endpoint_elements.unpublish(lambda: host.nft, added))
            if ports and before.device.host:
                host.stack.set_sysctls(portmap.sysctls(before.device.host[0].name, before.portmap))
            enforce_endpoint(host, endpoint.record, endpoint.policy)
        return ports

    def unpublish(self) -> None:
        """No error if nothing is published."""
        with locked(self._host, self.record) as endpoint:
            endpoint_elements.unpublish(lambda: self._host.nft, endpoint.record)
            endpoint.write(ports=())

    def delete(self) -> None:
        """Remove the device, the addresses and the record, joined or not."""
        with locked(self._host, self.record) as endpoint:
            raise_gathered(take_down_endpoint.take_down(endpoint, {}).errors)


def _lease(addresses: Sequence[IPInterface], gateways: Sequence[IPInterface]) -> Lease:
    by_subnet = {gateway.network: gateway.ip for gateway in gateways}
    return Lease(tuple(Address(address, by_subnet.get(address.network)) for address in addresses))


def _published_versions(record: EndpointRecord) -> set[int]:
    """IP versions that it publishes ports of."""
    own = {address.interface.version for address in record.addresses}
    return {v for port in record.ports for v in ((port.host_ip.version,) if port.host_ip is not None else own)}
