"""Address management: which IPAM a type stands for. contract.py says what each of them offers.

    host_local   host-local's store, shared with the reference executable byte for byte (default)
    pools        a subnet from the default address pools for a network that names none
    static       addresses written in the configuration
    none         no addresses (L2)
    given        addresses that another engine (Docker) has allocated
    single       host-local's addresses one by one, for an engine that asks before it names the endpoint
    delegated    any other CNI IPAM executable, by CNI_PATH
    remote       any other Docker IPAM plugin

A module offers `configure`, `restore` and `release_unrecorded`, which the functions of those names here
dispatch to. `configure` parses once; an `Ipam` in hand is valid.
"""

from __future__ import annotations

from typing import Any

from cni_cnm.ipam.contract import ALLOCATED, LOCAL_SPACE, HasSubnets
from cni_cnm.model import IpamSpec, Subnet
from cni_cnm.registry import Registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.ipam.contract import Ipam, Module
    from cni_cnm.model import (
        EndpointKey,
        EndpointSpec,
        IPAddress,
        IPNetwork,
        Json,
    )
    from cni_cnm.settings import Settings

NOTHING: Mapping[str, Any] = {}

BUILT_IN = {
    "": "cni_cnm.ipam.none",
    "none": "cni_cnm.ipam.none",
    "host-local": "cni_cnm.ipam.host_local",
    "static": "cni_cnm.ipam.static",
    "given": "cni_cnm.ipam.given",
}


ipams: Registry[Module] = Registry("ipam", BUILT_IN, attribute="")


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, settings: Settings | None = None) -> Ipam:
    """The IPAM of a network, with what the endpoint's runtime adds to its configuration.

    InvalidConfig for a wrong value; NoSuchDriver if the type is neither built in nor an executable on
    CNI_PATH.
    """
    return _module(spec).configure(network, spec, endpoint, settings or _settings())


def restore(network: str, kind: str, record: Mapping[str, Json], settings: Settings | None = None) -> Ipam:
    """From an endpoint's record: enough to release, check and record again."""
    return _module(IpamSpec(kind), record).restore(network, record, settings or _settings())


def release_unrecorded(
    network: str,
    spec: IpamSpec,
    key: EndpointKey,
    environ: Mapping[str, str],
    last: Callable[[frozenset[IPAddress]], None],
    settings: Settings | None = None,
) -> None:
    """`Ipam.release` for an endpoint without a record; the configuration may be invalid otherwise."""
    settings = settings or _settings()
    module = _module(spec)
    if spec.type not in ipams:
        from cni_cnm.ipam import remote

        if remote.leased(network, key, settings):
            module = remote
    module.release_unrecorded(network, spec, key, environ, last, settings)


def choose_subnet(family: int, settings: Settings, used: Sequence[IPNetwork]) -> IPNetwork:
    """A subnet of IP version `family` from the default address pools; see pools.choose."""
    from cni_cnm.ipam import pools

    return pools.choose(family, settings.default_address_pools, used)


def subnets(pool: Ipam) -> Sequence[Subnet]:
    """What a driver is told of a network's addresses."""
    if isinstance(pool, HasSubnets):
        return pool.subnets()
    return [Subnet(gateway.network, gateway, LOCAL_SPACE) for gateway in pool.gateways()]


def allocates(spec: IpamSpec) -> bool:
    """Whether a network gets its pools of a plugin, with `allocate`, and must give them back, with `free`."""
    return spec.type not in ipams and _is_plugin(spec)


def allocate(
    spec: IpamSpec, families: Sequence[int], skipped: frozenset[int], used: Sequence[IPNetwork]
) -> Mapping[str, Json]:
    """Keys for the network's record; see remote_pools.allocate."""
    from cni_cnm.ipam import remote

    return remote.allocate(spec, families, skipped, used)


def free(network: str, spec: IpamSpec, settings: Settings, *, force: bool = False) -> None:
    """`spec` as the network's record has it; `force` where nobody is there to take it back."""
    from cni_cnm.ipam import remote

    remote.free(network, spec, settings, force=force)


def allocated(config: Mapping[str, Json]) -> Mapping[str, Json]:
    """The keys of a network's record that came from `allocate`."""
    return {key: config[key] for key in (ALLOCATED,) if key in config}


def _module(spec: IpamSpec, record: Mapping[str, Json] = NOTHING) -> Module:
    """Built in, else an executable on CNI_PATH, else a plugin; `delegated` says what was looked for in vain."""
    if spec.type in ipams:
        return ipams.get(spec.type)
    if "plugin" in record or _is_plugin(spec):
        from cni_cnm.ipam import remote

        return remote
    from cni_cnm.ipam import delegated

    return delegated


def _is_plugin(spec: IpamSpec) -> bool:
    from cni_cnm.docker_protocol import discovery
    from cni_cnm.ipam import delegated

    if ALLOCATED in spec.config:
        return True
    return not delegated.exists(spec.type, spec.cni_path) and discovery.find(spec.type) is not None


def _settings() -> Settings:
    from cni_cnm import settings

    return settings.load()
