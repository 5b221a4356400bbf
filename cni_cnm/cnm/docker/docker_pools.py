"""Docker's address pools: subnets that it requests before it says for which network, and addresses from them.

    STATE_DIR/pools/ID.json     a PoolRecord
    LEASES_DIR/ID/              leases of a pool whose network is not made yet; then they are the network's

A pool that names a network (`shares_network`) uses that network's leases, together with CNI.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from time import time

from cni_cnm import ipam, validate
from cni_cnm.cnm.docker import lost_endpoints
from cni_cnm.cnm.docker.docker_endpoint import DockerEndpoint
from cni_cnm.cnm.network.create_network import choose_subnet
from cni_cnm.cnm.network.network_description import subnets_of
from cni_cnm.cnm.records import PoolRecord, load_endpoint, load_network, load_pool, network_records, pool_records
from cni_cnm.errors import AddressesExhausted, Conflict, Forbidden, InvalidConfig, NotFound
from cni_cnm.ipam.docker_leases import DockerLeases
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.ipam.leases import DOCKER, RESERVED
from cni_cnm.model import IpamSpec
from cni_cnm.state.store import POOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import IPAddress, IPInterface, IPNetwork

_REQUEST_S = 60.0
"""Docker makes the endpoint or the network within this time after its request, or was killed between the two."""


def pools(host: Host) -> Iterator[PoolRecord]:
    return pool_records(host.store)


def find_pool(host: Host, pool_id: str) -> PoolRecord:
    found = load_pool(host.store, pool_id) if validate.accepts(validate.network_name, pool_id) else None
    if found is None:
        raise NotFound(f"there is no address pool {pool_id[:80]!r}")
    return found


def requested_pool(host: Host, subnet: IPNetwork, shared_network: str) -> PoolRecord | None:
    """The pool that Docker has requested for the network that it creates now.

    `shared_network` is the network whose addresses are shared; "": none. If there is no such pool: None with a
    `shared_network`, NotFound without. InvalidConfig if the pool was requested to share another network.
    """
    found = [pool for pool in pools(host) if pool.subnet == str(subnet) and not pool.docker_network]
    for pool in found:
        if (pool.network if pool.shares_network else "") == shared_network:
            return pool
    if found and found[0].shares_network:
        raise InvalidConfig(
            f"the pool {subnet} is that of the network {found[0].network}, which this network does not share",
            hint=f"add -o cni-cnm.network={found[0].network}",
        )
    if not shared_network:
        raise NotFound(
            f"the pool {subnet} was not requested", hint="docker network create requests it from --ipam-driver cni-cnm"
        )
    return None


def request_pool(
    host: Host, subnet: IPNetwork | None, ip_range: IPNetwork | None, family: int, network_name: str = ""
) -> PoolRecord:
    """A subnet for a network that is not made yet, or with `network_name` the subnet of that network.

    Without `subnet` one is chosen, a different one at every call. An unspecified one, such as 0.0.0.0/24 or ::/64, is
    any subnet of that size. Forbidden if it overlaps that of a network or of another pool.
    """
    any_of_size = subnet is not None and subnet.network_address.is_unspecified
    if subnet is not None and ip_range is not None and not any_of_size and not _is_inside(ip_range, subnet):
        raise InvalidConfig(f"the range {ip_range} is not in the subnet {subnet}")
    network = load_network(host.store, network_name) if network_name else None
    with host.store.lock("pools"):
        if network is not None:
            subnet = _subnet_of_network(network, subnet, family)
            network_leases(host, network, subnet, ip_range)  # raises InvalidConfig if they cannot be shared
        elif subnet is None or any_of_size:
            subnet = choose_subnet(host, family, subnet.prefixlen if subnet is not None else 0)
        else:
            _remove_unused_pools(host, subnet)
            refuse_overlap(host, subnet, set())
        found = PoolRecord(
            _new_id(host, subnet, network_name),
            str(subnet),
            ip_range=str(ip_range or ""),
            network=network_name,
            shares_network=bool(network_name),
            requested=time(),
        )
        if network is None:
            _leases(host, found)  # refuses a subnet too small, and a range outside
        host.store.put(POOLS, found.id, found.to_json())
    return found


def release_pool(host: Host, pool_id: str) -> None:
    """No error if there is no such pool. Leases of other frontends stay."""
    with host.store.lock("pools"):
        try:
            found = find_pool(host, pool_id)
        except NotFound:
            return
        host.store.delete(POOLS, found.id)
        if not found.network:
            _remove_folder(_leases(host, found).leases.folder)


def request_gateway(host: Host, pool_id: str, address: IPAddress | None) -> IPInterface:
    """The subnet's gateway, the same answer to every request. Conflict if a network has another one."""
    with host.store.lock("pools"):
        found = find_pool(host, pool_id)
        leases = _leases(host, found)
        fixed = found.gateway or _network(host, found) is not None
        if address is not None and address != leases.gateway:
            if fixed:
                raise Conflict(
                    f"the gateway of {found.subnet} is {leases.gateway}, not {address}",
                    hint=f"--gateway {leases.gateway}, or leave it out",
                )
            if address.version != leases.gateway.version or address not in ip_network(found.subnet):
                raise InvalidConfig(f"the gateway {address} is not in the subnet {found.subnet}")
        chosen = address or leases.gateway
        if not fixed:
            host.store.put(POOLS, found.id, found._replace(gateway=str(chosen)).to_json())
    return _with_prefix(chosen, found)


def request_address(host: Host, pool_id: str, address: IPAddress | None, *, for_endpoint: bool) -> IPInterface:
    """An address of the pool. One requested before the network is made is reserved, unless it is `for_endpoint`.

    An address, or all of them, that endpoints hold whose sandboxes are gone are taken from them.
    """
    found = find_pool(host, pool_id)
    leases = _leases(host, found)
    if address is not None and not found.docker_network and not for_endpoint:
        leases.reserve(address)
        return _with_prefix(address, found)
    try:
        return _with_prefix(leases.request(address), found)
    except (AddressesExhausted, Conflict):
        wanted = [address] if address is not None else [ip_address(name) for name in list(leases.leases.names())]
        if not [one for one in wanted if _take_from_lost_holder(host, found, leases, one)]:
            raise
    return _with_prefix(leases.request(address), found)


def release_address(host: Host, pool_id: str, address: IPAddress) -> None:
    """Release an address that Docker requested, and no other.

    An endpoint that has it loses the address, and is deleted if it has no other one. An address that is on an interface
    of a container stays: the call is about an earlier container, which lost it meanwhile.
    """
    try:
        found = find_pool(host, pool_id)
    except NotFound:
        return
    leases = _leases(host, found)
    container_id, endpoint_id = leases.holder(address)
    record = load_endpoint(host.store, endpoint_id) if container_id == DOCKER else None
    if record is not None:
        if lost_endpoints.has_address(host, record, address):
            return
        endpoint = DockerEndpoint(host, record)
        if not endpoint.release(address):
            endpoint.delete()
    leases.release(address)


def release_unused(host: Host) -> Iterator[str]:
    """Release addresses that Docker requested and gave to no endpoint. Yields a sentence for each."""
    for pool in [pool for pool in pool_records(host.store) if pool.docker_network]:
        leases = _leases(host, pool)
        for address in map(ip_address, list(leases.leases.names())):
            if _is_unused(host, pool, leases, address):
                leases.release(address)
                yield f"released {address} of the network {pool.network}, which Docker requested and did not use"


def _is_unused(host: Host, pool: PoolRecord, leases: DockerLeases, address: IPAddress) -> bool:
    """Docker names the endpoint at once, on a network of this plugin. With another driver it never does."""
    container_id, endpoint_id = leases.holder(address)
    if container_id != DOCKER or endpoint_id == RESERVED or not pool.docker_network:
        return False
    return load_endpoint(host.store, endpoint_id) is None and leases.age(address) > _REQUEST_S


def _take_from_lost_holder(host: Host, pool: PoolRecord, leases: DockerLeases, address: IPAddress) -> bool:
    """Whether the address was held for a container that is gone, and is free now."""
    container_id, endpoint_id = leases.holder(address)
    if container_id != DOCKER or endpoint_id == RESERVED:
        return False
    record = load_endpoint(host.store, endpoint_id)
    if record is not None:
        return lost_endpoints.remove_if_lost(host, record)
    unused = _is_unused(host, pool, leases, address)
    if unused:
        leases.release(address)
    return unused


def refuse_overlap(host: Host, subnet: IPNetwork, except_pools: set[str]) -> None:
    """Forbidden if a network has some of the subnet, or a pool whose id is not in `except_pools`."""
    for network in network_records(host.store):
        for other in subnets_of(network):
            if other.overlaps(subnet):
                raise Forbidden(
                    f"the subnet {subnet} overlaps with {other} of the network {network.name}",
                    hint=f"choose another one, {_otherwise(network)}",
                )
    for pool in pool_records(host.store):
        if pool.id not in except_pools and ip_network(pool.subnet).overlaps(subnet):
            raise Forbidden(
                f"the subnet {subnet} overlaps with {pool.subnet}, which Docker has requested already",
                hint="docker network ls; if no network has that subnet, remove "
                f"{host.settings.state_dir}/{POOLS}/{pool.id}.json",
            )


def _otherwise(network: NetworkRecord) -> str:
    if network.owner == DOCKER:
        return f"or, if Docker does not have that network any more: cni-cnm network rm --force {network.name}"
    return f"or join that network: --ipam-opt cni-cnm.network={network.name} -o cni-cnm.network={network.name}"


def _remove_unused_pools(host: Host, subnet: IPNetwork) -> None:
    """Remove pools that Docker requested and forgot: no network was made of them, and nothing uses an address.

    A pool for a network of another driver has leases of its containers, or its gateway is an address of the host.
    """
    for pool in list(pool_records(host.store)):
        there = ip_network(pool.subnet)
        if pool.docker_network or not there.overlaps(subnet) or time() - pool.requested < _REQUEST_S:
            continue
        if _network(host, pool) is None and not list(_leases(host, pool).leases.names()):
            links = host.stack.links()
            if not any(address.ip in there for link in links for address in host.stack.addresses(link.ifindex)):
                host.store.delete(POOLS, pool.id)
                if not pool.network:
                    _remove_folder(_leases(host, pool).leases.folder)


def bind_pool(host: Host, pool: PoolRecord, network_name: str, docker_network: str) -> None:
    """From now on the pool's leases are the network's. Addresses reserved before move there."""
    bound = pool._replace(network=network_name, docker_network=docker_network)
    if not pool.network:
        old, new = _leases(host, pool), _leases(host, bound)
        for text in list(old.leases.names()):
            new.reserve(ip_address(text))
        _remove_folder(old.leases.folder)
    host.store.put(POOLS, pool.id, bound.to_json())


def network_leases(host: Host, network: NetworkRecord, subnet: IPNetwork, ip_range: IPNetwork | None) -> DockerLeases:
    """The leases of a network's subnet, one address at a time. InvalidConfig if its IPAM is not host-local."""
    found = ipam.configure(network.name, IpamSpec(network.ipam_type, network.ipam), None, host)
    if not isinstance(found, HostLocal):
        raise not_shareable(network)
    return DockerLeases(network.name, found, subnet, ip_range)


def not_shareable(network: NetworkRecord) -> InvalidConfig:
    source = f"the IPAM {network.ipam_type}" if network.ipam_type else "no IPAM"
    return InvalidConfig(
        f"the network {network.name} has {source}: its addresses cannot be shared with Docker",
        hint="share a network whose ipam is host-local",
    )


def _subnet_of_network(network: NetworkRecord, subnet: IPNetwork | None, family: int) -> IPNetwork:
    present = [one for one in subnets_of(network) if one.version == family]
    if not present:
        raise InvalidConfig(f"the network {network.name} has no IPv{family} subnet")
    if subnet is None:
        # Docker asks again for another subnet as long as the answer is on a link of the host.
        raise InvalidConfig(
            f"the network {network.name} has the subnet {present[0]}, which Docker must be told",
            hint=f"add --subnet {present[0]}",
        )
    if subnet not in present:
        raise InvalidConfig(f"the network {network.name} has the subnet {present[0]}, not {subnet}")
    return subnet


def _leases(host: Host, pool: PoolRecord) -> DockerLeases:
    subnet, ip_range = ip_network(pool.subnet), ip_network(pool.ip_range) if pool.ip_range else None
    network = _network(host, pool)
    if network is not None:
        return network_leases(host, network, subnet, ip_range)
    config = {"ranges": [[{"subnet": pool.subnet, "gateway": pool.gateway}]]}
    folder = pool.network or pool.id
    found = ipam.configure(folder, IpamSpec("host-local", config), None, host)
    assert isinstance(found, HostLocal)
    return DockerLeases(folder, found, subnet, ip_range)


def _network(host: Host, pool: PoolRecord) -> NetworkRecord | None:
    return load_network(host.store, pool.network) if pool.network else None


def _with_prefix(address: IPAddress, pool: PoolRecord) -> IPInterface:
    return ip_interface(f"{address}/{ip_network(pool.subnet).prefixlen}")


def _remove_folder(folder: str) -> None:
    from shutil import rmtree

    rmtree(folder, ignore_errors=True)


def _new_id(host: Host, subnet: IPNetwork, network_name: str) -> str:
    """An unused pool id. It names a file and, until the network is made, a folder of leases."""
    base = f"docker-{network_name or subnet.network_address}-{subnet.prefixlen}".replace(":", "_")
    taken = set(host.store.names(POOLS))
    return next(one for n in range(len(taken) + 1) if (one := f"{base}.{n}" if n else base) not in taken)


def _is_inside(ip_range: IPNetwork, subnet: IPNetwork) -> bool:
    return ip_range.version == subnet.version and ip_range.subnet_of(subnet)  # type: ignore[arg-type]
