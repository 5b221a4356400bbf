"""IpamDriver: pools and single addresses, in the same leases that CNI pods have.

`--ipam-opt cni-cnm.network=NAME` says whose: RequestPool names no network otherwise.
"""

from __future__ import annotations

from cni_cnm.cnm.docker import docker_pools
from cni_cnm.docker_protocol import ipam_messages as messages
from cni_cnm.docker_server.network_driver import NETWORK, SPACE, network_name
from cni_cnm.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.controller import Controller
    from cni_cnm.model import Json


def get_capabilities(controller: Controller, raw: Json) -> messages.IpamCapabilities:  # noqa: ARG001
    """No replay: everything is on record, and a gateway that could not be had again would cost the pool."""
    return messages.IpamCapabilities()


def get_default_address_spaces(controller: Controller, raw: Json) -> messages.DefaultAddressSpaces:  # noqa: ARG001
    return messages.DefaultAddressSpaces(SPACE, f"{SPACE}-global")


def request_pool(controller: Controller, raw: Json) -> messages.RequestPoolResponse:
    asked = messages.RequestPool.from_json(raw)
    for option in asked.options:
        if option != NETWORK:
            raise InvalidConfig(f"the IPAM option {option} is not known", hint=f"known: {NETWORK}")
    name = asked.options.get(NETWORK, "")
    if name:
        network_name(name)
    if asked.pool is not None and not asked.pool.prefixlen:
        raise InvalidConfig("a network of this driver needs a subnet of its own, and 0.0.0.0/0 is none")
    family = asked.pool.version if asked.pool is not None else 6 if asked.v6 else 4
    pool = docker_pools.request_pool(controller.host, asked.pool, asked.sub_pool, family, name)
    return messages.RequestPoolResponse.from_json({"PoolID": pool.id, "Pool": pool.subnet})


def release_pool(controller: Controller, raw: Json) -> None:
    docker_pools.release_pool(controller.host, messages.ReleasePool.from_json(raw).pool_id)


def request_address(controller: Controller, raw: Json) -> messages.RequestAddressResponse:
    asked = messages.RequestAddress.from_json(raw)
    if asked.options.get(messages.REQUEST_ADDRESS_TYPE) == messages.GATEWAY:
        return messages.RequestAddressResponse(
            docker_pools.request_gateway(controller.host, asked.pool_id, asked.address)
        )
    for_endpoint = messages.ENDPOINT_NAME in asked.options
    return messages.RequestAddressResponse(
        docker_pools.request_address(controller.host, asked.pool_id, asked.address, for_endpoint=for_endpoint),
    )


def release_address(controller: Controller, raw: Json) -> None:
    asked = messages.ReleaseAddress.from_json(raw)
    docker_pools.release_address(controller.host, asked.pool_id, asked.address)


CALLS = {
    messages.GET_CAPABILITIES: get_capabilities,
    messages.GET_DEFAULT_ADDRESS_SPACES: get_default_address_spaces,
    messages.REQUEST_POOL: request_pool,
    messages.RELEASE_POOL: release_pool,
    messages.REQUEST_ADDRESS: request_address,
    messages.RELEASE_ADDRESS: release_address,
}
