"""The leases of a pool: its own folder until the network is made, then the network's."""

from __future__ import annotations

from ipaddress import ip_network

from cni_cnm import ipam
from cni_cnm.cnm.records import load_network
from cni_cnm.errors import InvalidConfig
from cni_cnm.ipam.docker_leases import DockerLeases
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.ipam.ranges import NO_GATEWAY
from cni_cnm.model import IpamSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord, PoolRecord
    from cni_cnm.model import IPNetwork


def leases_of(host: Host, pool: PoolRecord) -> DockerLeases:
    """Before its network is made a pool has the gateway that Docker has requested, which comes first, or none."""
    subnet, ip_range = ip_network(pool.subnet), ip_network(pool.ip_range) if pool.ip_range else None
    network = network_of(host, pool)
    if network is not None:
        return network_leases(host, network, subnet, ip_range)
    gateway = {"gateway": pool.gateway} if pool.gateway else {NO_GATEWAY: True}
    config = {"ranges": [[{"subnet": pool.subnet, **gateway}]]}
    folder = pool.network or pool.id
    found = ipam.configure(folder, IpamSpec("host-local", config), None, host)
    assert isinstance(found, HostLocal)
    return DockerLeases(folder, found, subnet, ip_range)


def network_of(host: Host, pool: PoolRecord) -> NetworkRecord | None:
    return load_network(host.store, pool.network) if pool.network else None


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


def remove_folder(folder: str) -> None:
    from shutil import rmtree

    rmtree(folder, ignore_errors=True)
