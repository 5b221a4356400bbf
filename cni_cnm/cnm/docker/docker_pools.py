"""Docker's address pools: subnets that it requests before it says for which network, and addresses from them.

    STATE_DIR/pools/ID.json     a PoolRecord
    LEASES_DIR/ID/              leases of a pool whose network is not made yet; then they are the network's

A pool that names a network (`shares_network`) uses that network's leases, together with CNI.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from time import time

from cni_cnm import validate
from cni_cnm.cnm.docker import lost_endpoints, unused
from cni_cnm.cnm.docker.docker_endpoint import DockerEndpoint
from cni_cnm.cnm.docker.pool_leases import leases_of, network_leases, network_of, remove_folder
from cni_cnm.cnm.network.create_network import choose_subnet
from cni_cnm.cnm.network.network_description import claimed_subnets
from cni_cnm.cnm.records import PoolRecord, load_endpoint, load_network, load_pool, network_records, pool_records
from cni_cnm.drivers import OVERLAY
from cni_cnm.errors import AddressesExhausted, Conflict, Forbidden, InvalidConfig, NotFound
from cni_cnm.ipam.leases import DOCKER
from cni_cnm.ipam.ranges import first_gateway
from cni_cnm.state.store import POOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import IPAddress, IPInterface, IPNetwork


def pools(host: Host) -> Iterator[PoolRecord]:
    return pool_records(host.store)


def find_pool(host: Host, pool_id: str) -> PoolRecord:
    found = load_pool(host.store, pool_id) if validate.accepts(validate.network_name, pool_id) else None
    if found is None:
        raise NotFound(f"there is no address pool {pool_id[:80]!r}")
    return found


def requested_pool(host: Host, subnet: IPNetwork, shared_network: str, docker_network: str) -> PoolRecord | None:
    """The pool that Docker has requested for the network that it creates now, or created by the same call before.

    `shared_network` is the network whose addresses are shared; "": none. If there is no such pool: None with a
    `shared_network`, NotFound without. InvalidConfig if the pool was requested to share another network.
    """
    found = [pool for pool in pools(host) if pool.subnet == str(subnet) and pool.docker_network in ("", docker_network)]
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

    Of an overlay network it is this host's block of the subnet.

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
            unused.remove_pools(host, subnet)
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
            leases_of(host, found)  # refuses a subnet too small, and a range outside
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
            remove_folder(leases_of(host, found).leases.folder)


def request_gateway(host: Host, pool_id: str, address: IPAddress | None) -> IPInterface:
    """The subnet's gateway, the same answer to every request. Conflict if a network has another one, or none."""
    with host.store.lock("pools"):
        found = find_pool(host, pool_id)
        if found.gateway or network_of(host, found) is not None:
            present = leases_of(host, found).gateway
            if present is None:
                raise Conflict(f"the network of {found.subnet} has no gateway")
            if address is not None and address != present:
                raise Conflict(
                    f"the gateway of {found.subnet} is {present}, not {address}",
                    hint=f"--gateway {present}, or leave it out",
                )
            return _with_prefix(present, found)
        if address is not None and address not in ip_network(found.subnet):
            raise InvalidConfig(f"the gateway {address} is not in the subnet {found.subnet}")
        chosen = address or first_gateway(ip_network(found.subnet))
        host.store.put(POOLS, found.id, found._replace(gateway=str(chosen)).to_json())
    return _with_prefix(chosen, found)


def request_address(host: Host, pool_id: str, address: IPAddress | None, *, for_endpoint: bool) -> IPInterface:
    """An address of the pool. One requested before the network is made is reserved, unless it is `for_endpoint`.

    An address, or all of them, that endpoints hold whose sandboxes are gone are taken from them.
    """
    found = find_pool(host, pool_id)
    leases = leases_of(host, found)
    if address is not None and not found.docker_network and not for_endpoint:
        leases.reserve(address)
        return _with_prefix(address, found)
    try:
        return _with_prefix(leases.request(address), found)
    except (AddressesExhausted, Conflict):
        wanted = [address] if address is not None else [ip_address(name) for name in list(leases.leases.names())]
        if not [one for one in wanted if unused.take_from_lost_holder(host, found, leases, one)]:
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
    leases = leases_of(host, found)
    container_id, endpoint_id = leases.holder(address)
    record = load_endpoint(host.store, endpoint_id) if container_id == DOCKER else None
    if record is not None:
        if lost_endpoints.has_address(host, record, address):
            return
        endpoint = DockerEndpoint(host, record)
        if not endpoint.release(address):
            endpoint.delete()
    leases.release(address)


def refuse_overlap(host: Host, subnet: IPNetwork, except_pools: set[str]) -> None:
    """Forbidden if a network has some of the subnet, or a pool whose id is not in `except_pools`."""
    for network in network_records(host.store):
        for other in claimed_subnets(network):
            if other.overlaps(subnet):
                raise Forbidden(
                    f"the subnet {subnet} overlaps with {other} of the network {network.name}",
                    hint=f"choose another one, {_otherwise(network)}",
                )
    for pool in pool_records(host.store):
        if pool.id not in except_pools and ip_network(pool.subnet).overlaps(subnet):
            raise Forbidden(
                f"the subnet {subnet} overlaps with {pool.subnet}, which Docker has requested already",
                hint="`docker network inspect $(docker network ls -q)` shows Docker's subnets; if it is not there: "
                f"`rm -rf {host.settings.state_dir}/{POOLS}/{pool.id}.json {host.settings.leases_dir}/{pool.id}`",
            )


def _otherwise(network: NetworkRecord) -> str:
    if network.owner == DOCKER:
        shown = " ".join(one[:12] for one in network.docker_networks)
        return f"or, if `docker network ls` does not show {shown}: cni-cnm network rm --force {network.name}"
    return f"or join that network: --ipam-opt cni-cnm.network={network.name} -o cni-cnm.network={network.name}"


def bind_pool(host: Host, pool: PoolRecord, network_name: str, docker_network: str) -> None:
    """From now on the pool's leases are the network's. Addresses reserved before move there."""
    bound = pool._replace(network=network_name, docker_network=docker_network)
    if not pool.network:
        old, new = leases_of(host, pool), leases_of(host, bound)
        for text in list(old.leases.names()):
            new.reserve(ip_address(text))
        remove_folder(old.leases.folder)
    host.store.put(POOLS, pool.id, bound.to_json())


def _subnet_of_network(network: NetworkRecord, subnet: IPNetwork | None, family: int) -> IPNetwork:
    present = [one for one in claimed_subnets(network) if one.version == family]
    if not present:
        raise InvalidConfig(f"the network {network.name} has no IPv{family} subnet")
    if network.driver == OVERLAY:
        from cni_cnm.cnm.docker import docker_overlay

        if block := docker_overlay.block_for(network, subnet, family):
            return block
    if subnet is None:
        # Docker asks again for another subnet as long as the answer is on a link of the host.
        raise InvalidConfig(
            f"the network {network.name} has the subnet {present[0]}, which Docker must be told",
            hint=f"add --subnet {present[0]}",
        )
    if subnet not in present:
        raise InvalidConfig(f"the network {network.name} has the subnet {present[0]}, not {subnet}")
    return subnet


def _with_prefix(address: IPAddress, pool: PoolRecord) -> IPInterface:
    return ip_interface(f"{address}/{ip_network(pool.subnet).prefixlen}")


def _new_id(host: Host, subnet: IPNetwork, network_name: str) -> str:
    """An unused pool id. It names a file and, until the network is made, a folder of leases."""
    base = f"docker-{network_name or subnet.network_address}-{subnet.prefixlen}".replace(":", "_")
    taken = set(host.store.names(POOLS))
    return next(one for n in range(len(taken) + 1) if (one := f"{base}.{n}" if n else base) not in taken)


def _is_inside(ip_range: IPNetwork, subnet: IPNetwork) -> bool:
    return ip_range.version == subnet.version and ip_range.subnet_of(subnet)  # type: ignore[arg-type]
