"""Leases for interfaces of other plugins: addresses without an endpoint, as an IPAM executable of CNI gives them."""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.records import load_endpoint
from cni_cnm.errors import DamagedRecord
from cni_cnm.model import EndpointKey, Lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.model import Address, EndpointSpec, IpamSpec


def lease(host: Host, network: str, spec: IpamSpec, endpoint: EndpointSpec) -> Lease:
    """Addresses for an endpoint that another plugin makes. All of them or none."""
    pool = ipam.configure(network, spec, endpoint, host)
    pool.validate(endpoint)
    return pool.acquire(EndpointKey(network, endpoint.container_id, endpoint.ifname), endpoint)


def check(host: Host, network: str, spec: IpamSpec, endpoint: EndpointSpec, addresses: Sequence[Address]) -> None:
    """CheckFailed if one of the addresses is not leased to the endpoint any more."""
    key = EndpointKey(network, endpoint.container_id, endpoint.ifname)
    ipam.configure(network, spec, endpoint, host).check(key, Lease(tuple(addresses)), endpoint.environ)


def release(host: Host, key: EndpointKey, spec: IpamSpec, environ: Mapping[str, str]) -> None:
    """No error if there is nothing. The addresses of an endpoint on record are released with it, not before."""
    try:
        record = load_endpoint(host.store, key.id)
    except DamagedRecord:
        record = None
    if record is None or not record.ipam_type:
        ipam.release_unrecorded(key.network, spec, key, environ, lambda addresses: None, host)  # noqa: ARG005
