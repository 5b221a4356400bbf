"""The first record of an endpoint, with every name it is going to use; the IPAM of a record.

It also refuses what a network cannot give an endpoint.
"""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.records import PENDING, EndpointRecord
from cni_cnm.drivers import OVERLAY
from cni_cnm.errors import InvalidConfig
from cni_cnm.ipam.pools import host_id
from cni_cnm.model import PortmapOptions, digest, stable_mac
from cni_cnm.state.record_reader import parsed
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.drivers import Role
    from cni_cnm.ipam.contract import Ipam
    from cni_cnm.model import EndpointKey, EndpointSpec, NameService, NetworkSpec

DEFAULT_PORTMAP = PortmapOptions()
NO_NAMES = EndpointRecord._field_defaults["names"]


def pool_of(host: Host, record: EndpointRecord) -> Ipam:
    """The IPAM that the endpoint's addresses are from. DamagedRecord if what is on record of them cannot be read."""
    kind, allocated = record.ipam_type, record.ipam
    return parsed(host.store, ENDPOINTS, record.id, lambda: ipam.restore(record.network, kind, allocated, host))


def new_record(
    epoch: str,
    network: NetworkRecord,
    key: EndpointKey,
    spec: EndpointSpec,
    *,
    priority: int = 0,
    portmap: PortmapOptions = DEFAULT_PORTMAP,
) -> EndpointRecord:
    """The pending record of an endpoint that is about to be made."""
    return EndpointRecord(
        id=key.id,
        network=network.name,
        network_id=network.id,
        name=spec.ifname,
        driver=network.driver,
        options=network.options,
        owner=spec.owner,
        state=PENDING,
        epoch=epoch,
        holder=(key.container_id, key.ifname),
        request_id=spec.request_id,
        host_ifname=spec.host_ifname or f"veth{key.id[:8]}",
        mac=spec.mac or _mac(network, key.id),
        ipam_type=network.ipam_type,
        priority=priority,
        aliases=spec.aliases,
        ports=spec.ports,
        portmap=portmap,
        bandwidth=spec.bandwidth,
        tuning=spec.tuning,
        source_routing=spec.source_routing,
        pod=spec.pod,
        published_only=network.published_only,
        names=NO_NAMES if network.names is None else _names(network.names, spec),
    )


def _names(names: NameService, spec: EndpointSpec) -> tuple[str, ...]:
    from cni_cnm.cnm.endpoint import endpoint_names

    return endpoint_names.of_spec(names, spec)


def refuse_unsupported(network: NetworkSpec, role: Role, spec: EndpointSpec) -> None:
    """InvalidConfig for a MAC, ports, limits, tuning or ranges that an endpoint of this network cannot have."""
    if spec.ports and (network.internal or role.outside not in ("host", "plugin")):
        why = "is internal" if network.internal else f"has the driver {network.driver}"
        raise InvalidConfig(
            f"the network {network.name} {why}, so {spec.ports[0]} cannot be published on it",
            hint="publish on a network that the host routes to, such as one of the driver bridge",
        )
    if role.interface == "none" and (spec.mac or spec.addresses or spec.bandwidth or spec.tuning):
        raise InvalidConfig(
            f"the network {network.name} has the driver {network.driver}, which gives no interface: "
            f"it cannot have a MAC, addresses, bandwidth or tuning"
        )
    if spec.ranges and network.driver == OVERLAY:
        raise InvalidConfig(
            f"runtimeConfig.ipRanges is given, and addresses of the overlay network {network.name} are from blocks "
            "that its hosts claim",
            hint="leave out ipRanges",
        )
    if spec.mac and role.mac == "inherited":
        raise InvalidConfig(
            f"the MAC {spec.mac} cannot be given on the network {network.name}: its interfaces have their parent's",
            hint="leave out the MAC",
        )
    if spec.bandwidth and role.outside != "host":
        raise InvalidConfig(
            f"bandwidth cannot be limited on the network {network.name}: its interfaces have no end on the host",
            hint="leave out bandwidth, or use a network of the driver bridge",
        )


def derived_macs(endpoint_id: str) -> tuple[str, str]:
    """The MACs that `_mac` gives an endpoint: on a network of the host, and on a physical one."""
    return stable_mac(endpoint_id), stable_mac(digest(host_id(), endpoint_id))


def _mac(network: NetworkRecord, endpoint_id: str) -> str:
    """The MAC of an endpoint that requests none; "" where the device brings its own.

    On a physical network, containers of the same name on two hosts must not get the same MAC.
    """
    role = network.role
    if role.mac != "derived":
        return ""
    return stable_mac(endpoint_id if role.outside == "host" else digest(host_id(), endpoint_id))
