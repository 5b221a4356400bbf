"""What Docker requested and forgot: addresses that no endpoint has, and subnets of which no network was made.

Docker makes the endpoint or the network at once after its request. If it, or the service, was killed between the two,
nothing releases what was requested.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from time import time

from cni_cnm.cnm.docker import lost_endpoints
from cni_cnm.cnm.docker.pool_leases import leases_of, network_of, remove_folder
from cni_cnm.cnm.records import load_endpoint, pool_records
from cni_cnm.ipam.leases import DOCKER, RESERVED
from cni_cnm.state.store import POOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import PoolRecord
    from cni_cnm.ipam.docker_leases import DockerLeases
    from cni_cnm.model import IPAddress, IPNetwork

REQUEST_S = 60.0
"""From a request of Docker's to the endpoint or the network. It needs less, unless it was killed."""


def release_addresses(host: Host) -> Iterator[str]:
    """Release addresses that Docker requested and gave to no endpoint. Yields a sentence for each."""
    for pool in [pool for pool in pool_records(host.store) if pool.docker_network]:
        leases = leases_of(host, pool)
        for address in map(ip_address, list(leases.leases.names())):
            if _is_unused(host, pool, leases, address):
                leases.release(address)
                yield f"released {address} of the network {pool.network}, which Docker requested and did not use"


def _is_unused(host: Host, pool: PoolRecord, leases: DockerLeases, address: IPAddress) -> bool:
    """Docker names the endpoint at once, on a network of this plugin. With another driver it never does."""
    container_id, endpoint_id = leases.holder(address)
    if container_id != DOCKER or endpoint_id == RESERVED or not pool.docker_network:
        return False
    return load_endpoint(host.store, endpoint_id) is None and leases.age(address) > REQUEST_S


def take_from_lost_holder(host: Host, pool: PoolRecord, leases: DockerLeases, address: IPAddress) -> bool:
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


def remove_pools(host: Host, subnet: IPNetwork) -> None:
    """Remove pools that Docker requested and forgot: no network was made of them, and nothing uses an address.

    A pool for a network of another driver has leases of its containers, or its gateway is an address of the host.
    """
    for pool in list(pool_records(host.store)):
        there = ip_network(pool.subnet)
        if pool.docker_network or not there.overlaps(subnet) or time() - pool.requested < REQUEST_S:
            continue
        if network_of(host, pool) is None and not list(leases_of(host, pool).leases.names()):
            links = host.stack.links()
            if not any(address.ip in there for link in links for address in host.stack.addresses(link.ifindex)):
                host.store.delete(POOLS, pool.id)
                if not pool.network:
                    remove_folder(leases_of(host, pool).leases.folder)
