"""NetworkDriver: each call of Docker about networks and endpoints is a step of the engine.

Docker sends ids, never names. It ignores errors of Delete, Leave and Revoke. So in these calls an absent object is
no error, and all that can be removed is removed.
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.cnm.docker import docker_endpoint, docker_networks, docker_pools
from cni_cnm.docker_protocol.endpoint_messages import (
    CREATE_ENDPOINT,
    DELETE_ENDPOINT,
    ENDPOINT_OPER_INFO,
    CreateEndpoint,
    CreateEndpointResponse,
    DeleteEndpoint,
    EndpointInterface,
    EndpointOperInfo,
    EndpointOperInfoResponse,
)
from cni_cnm.docker_protocol.join_messages import (
    JOIN,
    LEAVE,
    PROGRAM_EXTERNAL_CONNECTIVITY,
    REVOKE_EXTERNAL_CONNECTIVITY,
    InterfaceName,
    Join,
    JoinResponse,
    Leave,
    ProgramExternalConnectivity,
    RevokeExternalConnectivity,
    StaticRoute,
)
from cni_cnm.docker_protocol.network_messages import (
    CREATE_NETWORK,
    DELETE_NETWORK,
    GW_ALLOC_CHECK,
    CreateNetwork,
    DeleteNetwork,
    GwAllocCheck,
    GwAllocCheckResponse,
)
from cni_cnm.docker_protocol.options import IFNAME, MAC, PORTMAP
from cni_cnm.docker_protocol.plugin_messages import (
    DISCOVER_DELETE,
    DISCOVER_NEW,
    GET_CAPABILITIES,
    LOCAL,
    Discovery,
    DriverCapabilities,
)
from cni_cnm.docker_protocol.ports import bindings
from cni_cnm.docker_server import network_spec
from cni_cnm.drivers import drivers
from cni_cnm.errors import InvalidConfig, NoSuchEndpoint, NoSuchNetwork
from cni_cnm.model import PortMapping, ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.docker.docker_endpoint import DockerEndpoint
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.docker_protocol.options import EndpointOptions
    from cni_cnm.model import Json

_INTERFACE_PREFIX = "eth"


def get_capabilities(controller: Controller, raw: Json) -> DriverCapabilities:  # noqa: ARG001
    return DriverCapabilities(LOCAL, gw_alloc_checker=True)


def check_gateway_allocation(controller: Controller, raw: Json) -> GwAllocCheckResponse:  # noqa: ARG001
    """Docker 28 and later ask before CreateNetwork. Earlier ones reserve a gateway in any case."""
    skipped = network_spec.skipped_gateways(GwAllocCheck.from_json(raw).options)
    return GwAllocCheckResponse(4 in skipped, 6 in skipped)


def create_network(controller: Controller, raw: Json) -> None:
    message = CreateNetwork.from_json(raw)
    validate.require(network_spec.docker_id, message.network_id, "the network's id")
    host, shared = controller.host, network_spec.shared_network(message.options)
    requested = [
        docker_pools.requested_pool(host, data.pool, shared, message.network_id)
        for data in network_spec.subnets(message)
        if data.address_space == network_spec.SPACE
    ]
    pools = [pool for pool in requested if pool is not None]
    spec = network_spec.network_spec(message, pools)
    make = docker_networks.share_network if shared else docker_networks.create_own_network
    make(host, spec, message.network_id, pools)


def delete_network(controller: Controller, raw: Json) -> None:
    docker_networks.delete_network(controller.host, DeleteNetwork.from_json(raw).network_id)


def create_endpoint(controller: Controller, raw: Json) -> CreateEndpointResponse:
    message = CreateEndpoint.from_json(raw)
    validate.require(network_spec.docker_id, message.endpoint_id, "the endpoint's id")
    network = docker_networks.find_network(controller.host, message.network_id)
    interface = message.interface or EndpointInterface()
    addresses = [address for address in (interface.address, interface.address_ipv6) if address is not None]
    if not addresses:
        raise InvalidConfig("the endpoint has no address", hint="use an IPAM driver that gives addresses")
    endpoint = docker_endpoint.create_endpoint(
        controller.host,
        network,
        message.endpoint_id,
        addresses=addresses,
        mac=interface.mac or message.options.mac,
        ifname=_requested_ifname(message.options),
        docker_network=message.network_id,
    )
    # Only fields that the request leaves empty may be filled in.
    return CreateEndpointResponse(None if interface.mac else EndpointInterface(mac=endpoint.record.mac))


def join(controller: Controller, raw: Json) -> JoinResponse:
    message = Join.from_json(raw)
    network, endpoint = _network_and_endpoint(controller, message.network_id, message.endpoint_id)
    device = endpoint.join(message.sandbox_key, _requested_ports(message.options, network))
    prefix = network.labels.get(network_spec.IFACE_PREFIX) or _INTERFACE_PREFIX
    interface = InterfaceName(device.container.name, prefix, endpoint.record.requested_ifname)
    role, routes = endpoint.record.role, _routes(endpoint.record)
    if role.internal or not role.default_route:
        return JoinResponse(interface, static_routes=routes, disable_gateway_service=True)
    gateways = {a.interface.version: a.gateway for a in endpoint.record.addresses if a.gateway is not None}
    for version, label in network_spec.DEFAULT_GATEWAYS.items():
        if version in gateways and label in network.labels:
            gateways[version] = ip_address(network.labels[label])
    return JoinResponse(interface, gateways.get(4), gateways.get(6), routes, disable_gateway_service=not gateways)


def leave(controller: Controller, raw: Json) -> None:
    """Implies Revoke, which Docker does not send after a live restore. The sandbox may be gone."""
    message = Leave.from_json(raw)
    _ignore_absent(lambda: _endpoint(controller, message.network_id, message.endpoint_id).leave())


def delete_endpoint(controller: Controller, raw: Json) -> None:
    message = DeleteEndpoint.from_json(raw)
    _ignore_absent(lambda: _endpoint(controller, message.network_id, message.endpoint_id).delete())


def program_external_connectivity(controller: Controller, raw: Json) -> None:
    message = ProgramExternalConnectivity.from_json(raw)
    network, endpoint = _network_and_endpoint(controller, message.network_id, message.endpoint_id)
    endpoint.publish(_requested_ports(message.options, network), ipv6_elsewhere=message.options.no_proxy_6to4)


def revoke_external_connectivity(controller: Controller, raw: Json) -> None:
    message = RevokeExternalConnectivity.from_json(raw)
    _ignore_absent(lambda: _endpoint(controller, message.network_id, message.endpoint_id).unpublish())


def endpoint_oper_info(controller: Controller, raw: Json) -> EndpointOperInfoResponse:
    message = EndpointOperInfo.from_json(raw)
    record = _endpoint(controller, message.network_id, message.endpoint_id).record
    address = next((a.interface.ip for a in record.addresses), None)
    ports = [binding._replace(ip=address).to_json() for binding in bindings(record.ports)]
    return EndpointOperInfoResponse({MAC: record.mac, **({PORTMAP: ports} if ports else {})})


def discover(controller: Controller, raw: Json) -> None:  # noqa: ARG001
    """Docker sends it only to drivers of scope global."""
    Discovery.from_json(raw)


CALLS = {
    GET_CAPABILITIES: get_capabilities,
    GW_ALLOC_CHECK: check_gateway_allocation,
    CREATE_NETWORK: create_network,
    DELETE_NETWORK: delete_network,
    CREATE_ENDPOINT: create_endpoint,
    DELETE_ENDPOINT: delete_endpoint,
    JOIN: join,
    LEAVE: leave,
    PROGRAM_EXTERNAL_CONNECTIVITY: program_external_connectivity,
    REVOKE_EXTERNAL_CONNECTIVITY: revoke_external_connectivity,
    ENDPOINT_OPER_INFO: endpoint_oper_info,
    DISCOVER_NEW: discover,
    DISCOVER_DELETE: discover,
}


def _endpoint(controller: Controller, network_id: str, endpoint_id: str) -> DockerEndpoint:
    return _network_and_endpoint(controller, network_id, endpoint_id)[1]


def _network_and_endpoint(
    controller: Controller, network_id: str, endpoint_id: str
) -> tuple[NetworkRecord, DockerEndpoint]:
    network = docker_networks.find_network(controller.host, network_id)
    return network, docker_endpoint.find_endpoint(controller.host, network, endpoint_id)


def _routes(record: EndpointRecord) -> tuple[StaticRoute, ...]:
    """To the addresses of other hosts, through the gateway. A container of Docker's has its own block on the link."""
    whole = drivers.get(record.driver).all_subnets(record.options)
    return tuple(
        StaticRoute(subnet, address.gateway)
        for address in record.addresses
        for subnet in whole
        if address.gateway in subnet and subnet != address.interface.network
    )


def _ignore_absent(step: Callable[[], object]) -> None:
    try:
        step()
    except (NoSuchEndpoint, NoSuchNetwork):
        pass


def _requested_ifname(options: EndpointOptions) -> str:
    """Docker says it to CreateEndpoint alone."""
    name = options.other.get(IFNAME)
    return validate.require(validate.new_interface_name, name, IFNAME) if isinstance(name, str) and name else ""


def _requested_ports(options: EndpointOptions, network: NetworkRecord) -> tuple[PortMapping, ...]:
    """From each range of host ports (HostPort to HostPortEnd) one is chosen; 0: any port."""
    text = network.labels.get(network_spec.HOST_BINDING, "")
    binding = ip_address(text) if text and text != "0.0.0.0" else None  # noqa: S104 - every address is the default
    return tuple(
        PortMapping(
            one.protocol,
            one.host_port,
            one.port,
            one.host_ip or binding,
            max(one.host_port_end - one.host_port, 0) + 1,
        )
        for one in options.ports or ()
    )
