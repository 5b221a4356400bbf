"""IpamDriver: each call of Docker about pools and addresses is a step of the engine.

The addresses are in the same lease folders as those of CNI endpoints. RequestPool names no network, unless the user
does with `--ipam-opt cni-cnm.network=NAME`. With `--ipam-opt cni-cnm.driver=overlay` that is a network of several
hosts: the subnet of all hosts is requested, and the answer is this host's block.
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.cnm.docker import docker_networks, docker_pools
from cni_cnm.docker_protocol import ipam_messages as messages
from cni_cnm.docker_server.network_spec import DRIVER, DRIVERS, NETWORK, SPACE
from cni_cnm.drivers import OVERLAY
from cni_cnm.errors import Forbidden, InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.controller import Controller
    from cni_cnm.model import Json

_AGREED = {f"cni-cnm.{key}": key for key in ("block", "block6", "direct", "port", "vni")}
"""Options about an overlay network that is not made yet, and their keys in a configuration."""
_OPTIONS = (NETWORK, DRIVER, *_AGREED)


def get_capabilities(controller: Controller, raw: Json) -> messages.IpamCapabilities:  # noqa: ARG001
    """RequiresRequestReplay is false, because everything is recorded.

    With it a replayed gateway request that fails makes Docker drop the pool.
    """
    return messages.IpamCapabilities()


def get_default_address_spaces(controller: Controller, raw: Json) -> messages.DefaultAddressSpaces:  # noqa: ARG001
    return messages.DefaultAddressSpaces(SPACE, f"{SPACE}-global")


def request_pool(controller: Controller, raw: Json) -> messages.RequestPoolResponse:
    message = messages.RequestPool.from_json(raw)
    for option in message.options:
        if option not in _OPTIONS:
            raise InvalidConfig(f"the IPAM option {option} is not known", hint=f"known: {', '.join(_OPTIONS)}")
    name = message.options.get(NETWORK, "")
    if name:
        validate.require(validate.network_name, name, NETWORK)
    if message.pool is not None and not message.pool.prefixlen:
        raise InvalidConfig(
            f"the subnet {message.pool} is all addresses", hint="leave out --subnet, or name a smaller one"
        )
    family = message.pool.version if message.pool is not None else 6 if message.v6 else 4
    host = controller.host
    if _is_overlay(message):
        from cni_cnm.cnm.docker import docker_overlay

        agreed = {key: message.options[option] for option, key in _AGREED.items() if option in message.options}
        docker_overlay.join(host, name, message.pool, agreed)
    try:
        pool = docker_pools.request_pool(host, message.pool, message.sub_pool, family, name)
    except Forbidden:
        if not list(docker_networks.remove_unfinished(host)):
            raise
        pool = docker_pools.request_pool(host, message.pool, message.sub_pool, family, name)
    return messages.RequestPoolResponse.from_json({"PoolID": pool.id, "Pool": pool.subnet})


def release_pool(controller: Controller, raw: Json) -> None:
    docker_pools.release_pool(controller.host, messages.ReleasePool.from_json(raw).pool_id)


def request_address(controller: Controller, raw: Json) -> messages.RequestAddressResponse:
    message = messages.RequestAddress.from_json(raw)
    if message.options.get(messages.REQUEST_ADDRESS_TYPE) == messages.GATEWAY:
        return messages.RequestAddressResponse(
            docker_pools.request_gateway(controller.host, message.pool_id, message.address)
        )
    for_endpoint = messages.ENDPOINT_NAME in message.options
    return messages.RequestAddressResponse(
        docker_pools.request_address(controller.host, message.pool_id, message.address, for_endpoint=for_endpoint),
    )


def release_address(controller: Controller, raw: Json) -> None:
    message = messages.ReleaseAddress.from_json(raw)
    docker_pools.release_address(controller.host, message.pool_id, message.address)


def _is_overlay(message: messages.RequestPool) -> bool:
    """Whether an overlay network is named. InvalidConfig for options that only such a network has, and for no name."""
    driver = message.options.get(DRIVER, "")
    if driver not in DRIVERS:
        raise InvalidConfig(f"{DRIVER} is {driver!r}, it must be {' or '.join(filter(None, DRIVERS))}")
    given = [option for option in _AGREED if option in message.options]
    if driver != OVERLAY:
        if given:
            raise InvalidConfig(f"{given[0]} is for an overlay network", hint=f"add --ipam-opt {DRIVER}={OVERLAY}")
        return False
    if not message.options.get(NETWORK):
        raise InvalidConfig(
            "an overlay network needs the name that all hosts know it by, which Docker does not send",
            hint=f"add --ipam-opt {NETWORK}=NAME -o {NETWORK}=NAME",
        )
    return True


CALLS = {
    messages.GET_CAPABILITIES: get_capabilities,
    messages.GET_DEFAULT_ADDRESS_SPACES: get_default_address_spaces,
    messages.REQUEST_POOL: request_pool,
    messages.RELEASE_POOL: release_pool,
    messages.REQUEST_ADDRESS: request_address,
    messages.RELEASE_ADDRESS: release_address,
}
