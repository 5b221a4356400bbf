"""NetworkDriver: Docker's networks and endpoints, each a step of the engine.

Docker sends ids, never names. With `-o cni-cnm.network=NAME` a network of Docker's is the one that CNI calls NAME;
without, it is one of its own, named after its id. Errors of Delete*, Leave and Revoke reach nobody, so nothing there
being what they are about is success, and what can be removed is.
"""

from __future__ import annotations

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
)
from cni_cnm.docker_protocol.network_messages import (
    CREATE_NETWORK,
    DELETE_NETWORK,
    CreateNetwork,
    DeleteNetwork,
    IpamData,
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
from cni_cnm.errors import InvalidConfig, NoSuchEndpoint, NoSuchNetwork, NotFound
from cni_cnm.model import IpamSpec, NetworkSpec, PortMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.docker.docker_endpoint import DockerEndpoint
    from cni_cnm.cnm.records import PoolRecord
    from cni_cnm.docker_protocol.options import EndpointOptions
    from cni_cnm.model import Json

NETWORK = "cni-cnm.network"
"""The option that names a network to share, of `-o` and of `--ipam-opt`."""
SPACE = "cni-cnm"
"""Our address space: what has another one was allocated by another IPAM driver."""
DST_PREFIX = "eth"
BRIDGE_NAME = "com.docker.network.bridge.name"


def get_capabilities(controller: Controller, raw: Json) -> DriverCapabilities:  # noqa: ARG001
    return DriverCapabilities(LOCAL)


def create_network(controller: Controller, raw: Json) -> None:
    asked = CreateNetwork.from_json(raw)
    require_id(asked.network_id, "a network's id")
    labels = dict(asked.options.generic)
    shared = labels.pop(NETWORK, "")
    for label in labels:
        if not label.startswith("com.docker.network."):
            raise InvalidConfig(
                f"the option {label} is not known",
                hint=f"known: {NETWORK} and the bridge driver's com.docker.network.*",
            )
    data = (*asked.ipv4, *asked.ipv6)
    if not data or not all(one.pool.prefixlen for one in data):
        raise InvalidConfig("a network of this driver needs a subnet", hint="leave out --ipam-driver null")
    pools = [pool for one in data if one.address_space == SPACE and (pool := _pool(controller, one, shared))]
    foreign = [str(one.pool) for one in data if one.address_space != SPACE]
    if shared and (foreign or len(pools) != len(data)):
        raise InvalidConfig(
            f"the network {shared} is shared, and only this plugin knows which of its addresses are free",
            hint=f"add --ipam-driver cni-cnm --ipam-opt {NETWORK}={shared}",
        )
    if foreign and pools:
        raise InvalidConfig(f"{', '.join(foreign)} was allocated by another IPAM driver, the rest by this one")
    ranges = [[_range(one, pools)] for one in data]
    spec = NetworkSpec(
        shared or f"docker-{asked.network_id[:12]}",
        "bridge",
        {"profile": "cnm", "labels": labels},
        IpamSpec("given" if foreign else "host-local", {"ranges": ranges}),
        asked.options.internal,
    )
    if shared:
        network_name(shared)
        docker_networks.share_network(controller.host, spec, asked.network_id, pools)
    else:
        labels.setdefault(BRIDGE_NAME, f"br-{asked.network_id[:12]}")
        docker_networks.create_own_network(controller.host, spec, asked.network_id, pools)


def delete_network(controller: Controller, raw: Json) -> None:
    docker_networks.delete_network(controller.host, DeleteNetwork.from_json(raw).network_id)


def create_endpoint(controller: Controller, raw: Json) -> CreateEndpointResponse:
    asked = CreateEndpoint.from_json(raw)
    require_id(asked.endpoint_id, "an endpoint's id")
    network = docker_networks.find_network(controller.host, asked.network_id)
    given = asked.interface or EndpointInterface()
    addresses = [address for address in (given.address, given.address_ipv6) if address is not None]
    if not addresses:
        raise InvalidConfig("the endpoint has no address", hint="does the network's IPAM driver give any?")
    mac = given.mac or asked.options.mac
    endpoint = docker_endpoint.create_endpoint(
        controller.host, network, asked.endpoint_id, addresses=addresses, mac=mac, docker_network=asked.network_id
    )
    # Only what was left empty may be filled in.
    return CreateEndpointResponse(None if given.mac else EndpointInterface(mac=endpoint.record.mac))


def join(controller: Controller, raw: Json) -> JoinResponse:
    asked = Join.from_json(raw)
    endpoint = _endpoint(controller, asked.network_id, asked.endpoint_id)
    device = endpoint.join(asked.sandbox_key, _wishes(asked.options))
    name = asked.options.other.get(IFNAME)
    interface = InterfaceName(device.container.name, DST_PREFIX, name if isinstance(name, str) else "")
    role = endpoint.record.role
    if role.internal or not role.default_route:
        return JoinResponse(interface, disable_gateway_service=True)
    ways = {a.interface.version: a.gateway for a in endpoint.record.addresses if a.gateway is not None}
    return JoinResponse(interface, ways.get(4), ways.get(6), disable_gateway_service=not ways)


def leave(controller: Controller, raw: Json) -> None:
    """Implies Revoke, which is not sent after a live restore. The sandbox need not exist any more."""
    asked = Leave.from_json(raw)
    _if_there(lambda: _endpoint(controller, asked.network_id, asked.endpoint_id).leave())


def delete_endpoint(controller: Controller, raw: Json) -> None:
    asked = DeleteEndpoint.from_json(raw)
    _if_there(lambda: _endpoint(controller, asked.network_id, asked.endpoint_id).delete())


def program_external_connectivity(controller: Controller, raw: Json) -> None:
    asked = ProgramExternalConnectivity.from_json(raw)
    endpoint = _endpoint(controller, asked.network_id, asked.endpoint_id)
    wanted = _wishes(asked.options)
    role = endpoint.record.role
    if wanted and role.internal:
        raise InvalidConfig(
            f"the network {endpoint.record.network} is internal, so {wanted[0]} cannot be published on it",
            hint="publish on a network that has a way in, or leave out --internal",
        )
    # Docker says so if the sandbox's IPv6 way out is another endpoint: its ports are that one's.
    endpoint.publish(wanted, (4,) if asked.options.no_proxy_6to4 else (4, 6))


def revoke_external_connectivity(controller: Controller, raw: Json) -> None:
    asked = RevokeExternalConnectivity.from_json(raw)
    _if_there(lambda: _endpoint(controller, asked.network_id, asked.endpoint_id).unpublish())


def endpoint_oper_info(controller: Controller, raw: Json) -> EndpointOperInfoResponse:
    asked = EndpointOperInfo.from_json(raw)
    record = _endpoint(controller, asked.network_id, asked.endpoint_id).record
    address = next((a.interface.ip for a in record.addresses), None)
    ports = [binding._replace(ip=address).to_json() for binding in bindings(record.ports)]
    return EndpointOperInfoResponse({MAC: record.mac, **({PORTMAP: ports} if ports else {})})


def discover(controller: Controller, raw: Json) -> None:  # noqa: ARG001
    """Sent to drivers of scope global only; an answer all the same."""
    Discovery.from_json(raw)


CALLS = {
    GET_CAPABILITIES: get_capabilities,
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


def require_id(text: str, what: str) -> None:
    """What names files, links and elements: 12 to 64 lower-case letters and digits (swarm's ids are base 36)."""
    if not 12 <= len(text) <= 64 or not all(c in "0123456789abcdefghijklmnopqrstuvwxyz" for c in text):
        raise InvalidConfig(f"{text[:80]!r} is not {what}", hint="12 to 64 lower-case letters and digits")


def network_name(text: str) -> None:
    if not text[:1].isalnum() or not all(c.isalnum() or c in "_.-" for c in text) or not text.isascii():
        raise InvalidConfig(f"{NETWORK} is {text!r}, which is no network name")


def _pool(controller: Controller, data: IpamData, shared: str) -> PoolRecord | None:
    """The pool that was requested for this network a moment ago."""
    waiting = [
        pool
        for pool in docker_pools.pools(controller.host)
        if pool.subnet == str(data.pool) and not pool.docker_network
    ]
    found = next((pool for pool in waiting if (pool.network if pool.shares_network else "") == shared), None)
    if found is None and waiting and waiting[0].shares_network:
        name = waiting[0].network
        raise InvalidConfig(
            f"the addresses are those of the network {name}, the network is to be another one",
            hint=f"add -o {NETWORK}={name}",
        )
    if found is None and not shared:
        raise NotFound(f"the pool {data.pool} was never requested", hint="docker network create asks for it first")
    return found


def _range(data: IpamData, pools: Sequence[PoolRecord]) -> dict[str, Json]:
    """The range of a network of Docker's. A part (--ip-range) stays Docker's own affair: the pool's record has it."""
    gateway = str(data.gateway.ip) if data.gateway is not None else None
    known = next((pool.gateway for pool in pools if pool.subnet == str(data.pool)), None)
    return {"subnet": str(data.pool), **({"gateway": gateway or known} if gateway or known else {})}


def _endpoint(controller: Controller, network_id: str, endpoint_id: str) -> DockerEndpoint:
    host = controller.host
    return docker_endpoint.find_endpoint(host, docker_networks.find_network(host, network_id), endpoint_id)


def _if_there(step: object) -> None:
    assert callable(step)
    try:
        step()
    except (NoSuchEndpoint, NoSuchNetwork):
        pass


def _wishes(options: EndpointOptions) -> tuple[PortMapping, ...]:
    """HostPort to HostPortEnd are ports to choose one from, 0 any."""
    return tuple(
        PortMapping(one.protocol, one.host_port, one.port, one.host_ip, max(one.host_port_end - one.host_port, 0) + 1)
        for one in options.ports or ()
    )
