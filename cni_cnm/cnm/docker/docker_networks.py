"""Docker's networks on networks of this host. Docker knows a network by an id of its own, `docker_network` here.

A network of ours is made for one Docker network (`owner` docker) and deleted with it. Or Docker names a network to
share: that one stays when the last Docker network on it is deleted.
"""

from __future__ import annotations

from ipaddress import ip_network

from cni_cnm import ipam
from cni_cnm.cnm.docker import docker_pools, lost_endpoints, pool_leases
from cni_cnm.cnm.docker.docker_endpoint import DockerEndpoint
from cni_cnm.cnm.network import configured_network
from cni_cnm.cnm.network.create_network import create_network
from cni_cnm.cnm.network.delete_network import endpoints_of, remove_network
from cni_cnm.cnm.network.network_description import name_taken, spec_of, subnets_of
from cni_cnm.cnm.records import load_network, network_records, pool_records
from cni_cnm.cnm.rollback import ErrorList, Rollback
from cni_cnm.drivers import OVERLAY, drivers
from cni_cnm.errors import ActiveEndpoints, InvalidConfig, NoSuchNetwork, raise_gathered
from cni_cnm.ipam.leases import DOCKER
from cni_cnm.state.store import NETWORKS, POOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord, PoolRecord
    from cni_cnm.model import IPNetwork, Json, NetworkSpec


def find_network(host: Host, docker_network: str) -> NetworkRecord:
    """The network that a Docker network uses. NoSuchNetwork if there is none."""
    for record in network_records(host.store):
        if docker_network in record.docker_networks:
            return record
    raise NoSuchNetwork(
        f"there is no network of Docker's id {docker_network[:12]}",
        hint="was the state directory emptied? remove the network from Docker and create it again",
    )


def create_own_network(
    host: Host, spec: NetworkSpec, docker_network: str, pools: Sequence[PoolRecord]
) -> NetworkRecord:
    """A network for one Docker network, from the pools that Docker requested. The same call again returns the same."""
    with host.store.lock(f"network/{spec.name}"):
        found = _complete_network(host, spec.name)
        if found is not None:
            if docker_network not in found.docker_networks:
                raise name_taken(spec.name)
            _bind(host, pools, found.name, docker_network)
            return found
        network = configured_network.read(spec._replace(docker_networks=(docker_network,), owner=DOCKER))
        with host.store.lock("pools"):
            ids = {pool.id for pool in pools}
            for subnet in _subnets(spec.ipam.config):
                docker_pools.refuse_overlap(host, subnet, ids)
            with Rollback() as undo:
                made = create_network(host, network, requested_pools=ids).record
                undo.push(lambda: remove_network(host, made))
                for pool in pools:
                    docker_pools.bind_pool(host, pool, spec.name, docker_network)
    return made


def share_network(host: Host, spec: NetworkSpec, docker_network: str, pools: Sequence[PoolRecord]) -> NetworkRecord:
    """The network of that name, which is made if there is none. InvalidConfig if the specification differs from it."""
    with host.store.lock(f"network/{spec.name}"):
        record = _complete_network(host, spec.name)
        if record is None:
            if spec.driver == OVERLAY:
                raise NoSuchNetwork(
                    f"this host has not joined the overlay network {spec.name}",
                    hint="add --ipam-driver cni-cnm --ipam-opt cni-cnm.network=NAME --ipam-opt cni-cnm.driver=overlay",
                )
            with host.store.lock("pools"):
                network = configured_network.read(spec._replace(docker_networks=(docker_network,)))
                record = create_network(host, network, requested_pools={one.id for one in pools}).record
        else:
            _refuse_differences(record, spec)
            others = (other for other in record.docker_networks if other != docker_network)
            record = record._replace(docker_networks=(*others, docker_network))
            pool = ipam.configure(record.name, spec_of(record).ipam, None, host)
            drivers.get(record.driver).create_network(record.options, ipam.subnets(pool), host.stack)
            host.store.put(NETWORKS, spec.name, record.to_json())
        with host.store.lock("pools"):
            for one in pools:
                docker_pools.bind_pool(host, one, spec.name, docker_network)
    return record


def _bind(host: Host, pools: Sequence[PoolRecord], name: str, docker_network: str) -> None:
    """Bind those that a killed call has not bound."""
    with host.store.lock("pools"):
        for pool in pools:
            if not pool.docker_network:
                docker_pools.bind_pool(host, pool, name, docker_network)


def delete_network(host: Host, docker_network: str) -> None:
    """Delete a Docker network's endpoints, pools, and the network if it was made for it. No error if it is not known.

    Docker does not show the errors of this call, so every step is tried.
    """
    try:
        found = find_network(host, docker_network)
    except NoSuchNetwork:
        return
    gathered = ErrorList()
    for endpoint in [one for one in endpoints_of(host, found) if one.docker_network == docker_network]:
        gathered.attempt(DockerEndpoint(host, endpoint).delete)
    with host.store.lock(f"network/{found.name}"):
        record = load_network(host.store, found.name)
        if record is not None:
            others = tuple(other for other in record.docker_networks if other != docker_network)
            left = record._replace(docker_networks=others)
            if left.owner == DOCKER and not others and not any(endpoints_of(host, left)):
                gathered.attempt(lambda: _release_all(host, left))
                gathered.attempt(lambda: remove_network(host, left))
            else:
                host.store.put(NETWORKS, left.name, left.to_json())
                if not others:
                    gathered.attempt(lambda: _release_all(host, left))
    for pool in [pool for pool in pool_records(host.store) if pool.docker_network == docker_network]:
        host.store.delete(POOLS, pool.id)
    raise_gathered(gathered.errors)


def remove_unfinished(host: Host) -> Iterator[str]:
    """Remove networks whose making was killed: Docker was told nothing, so it does not have them. Yields what was done.

    A network that is being made is locked, and waited for.
    """
    for name in [record.name for record in network_records(host.store) if record.owner == DOCKER and record.pending]:
        with host.store.lock(f"network/{name}", shared=True):
            record = load_network(host.store, name)
        if record is not None and record.pending:
            for docker_network in record.docker_networks:
                delete_network(host, docker_network)
            yield f"removed the network {name}, whose making was interrupted"


def forget(host: Host, name: str) -> None:
    """Remove what Docker's networks have on a network, after Docker has lost them: endpoints, pools and addresses.

    A network that was made for one of them is removed as well. ActiveEndpoints if a container of Docker's is on it.
    """
    record = load_network(host.store, name)
    if record is None or not record.docker_networks:
        return
    endpoints = [one for one in endpoints_of(host, record) if one.docker_network]
    for one in endpoints:
        if lost_endpoints.is_in_use(host, one):
            raise ActiveEndpoints(
                f"the network {name} has a container of Docker's: {one.shown}", hint="remove that container first"
            )
    for docker_network in record.docker_networks:
        delete_network(host, docker_network)


def _complete_network(host: Host, name: str) -> NetworkRecord | None:
    """The network of that name. What a killed call left of one is removed. The caller holds `network/NAME`."""
    found = load_network(host.store, name)
    if found is not None and found.pending:
        remove_network(host, found)
        return None
    return found


def _release_all(host: Host, record: NetworkRecord) -> None:
    """Release what Docker requested and never used, as after a kill of dockerd: nothing else would release it."""
    if record.ipam_type == "host-local":
        for subnet in subnets_of(record):
            pool_leases.network_leases(host, record, subnet, None).release_all()


def _refuse_differences(record: NetworkRecord, spec: NetworkSpec) -> None:
    if record.role.interface == "moved":
        raise InvalidConfig(
            f"the network {record.name} is of the Docker plugin {record.driver}, which Docker can use by itself",
            hint=f"docker network create -d {record.driver}",
        )
    if record.role.gateway == "router":
        raise InvalidConfig(
            f"the network {record.name} has the driver {record.driver}: its neighbours are reached through the "
            "gateway, and Docker's containers look for them on the link",
            hint="share a network of the driver bridge",
        )
    if spec.driver == OVERLAY != record.driver:
        raise InvalidConfig(
            f"the network {record.name} of this host has the driver {record.driver}", hint="leave out cni-cnm.driver"
        )
    if record.internal != spec.internal:
        raise InvalidConfig(
            f"the network {record.name} is {'' if record.internal else 'not '}internal",
            hint=f"{'add' if record.internal else 'leave out'} --internal",
        )
    if spec.options.get("labels"):
        raise InvalidConfig(
            f"the network {record.name} exists, so {', '.join(spec.options['labels'])} cannot be chosen any more",
            hint="leave out those options: they are the network's own",
        )
    if record.ipam_type != "host-local":
        raise pool_leases.not_shareable(record)
    requested, present = set(_subnets(spec.ipam.config)), set(subnets_of(record))
    if not requested <= present:
        raise InvalidConfig(
            f"the network {record.name} has the subnets {', '.join(map(str, present))}, "
            f"not {', '.join(map(str, requested))}"
        )


def _subnets(config: Mapping[str, Json]) -> list[IPNetwork]:
    return [ip_network(one["subnet"]) for members in config.get("ranges") or () for one in members]
