"""IP address management: which implementation an IPAM type has. contract.py says what each of them does.

    host_local      addresses from ranges, in the reference executable's lease folder (default)
    static          the addresses in the configuration
    none            no addresses (L2)
    preallocated    addresses that the runtime allocates: Docker with another IPAM driver, podman; `given` in records
    delegated       any other CNI IPAM executable, found on CNI_PATH
    remote          any Docker IPAM plugin: remote_pools has the network's pools, remote_leases the endpoints' addresses
    pools           a subnet from the default address pools, for a network that names none
    docker_leases   leases that Docker requests one by one in a host-local lease folder

An implementation is a module with `configure`, `restore` and `release_unrecorded`; the functions of those names here
choose the module. `configure` parses once: an `Ipam` that was made is valid.
"""

from __future__ import annotations

from cni_cnm.ipam.contract import ALLOCATED, LOCAL_SPACE
from cni_cnm.model import IpamSpec, Subnet
from cni_cnm.registry import Registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from cni_cnm.ipam.contract import Ipam, IpamHost, Module
    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IPNetwork, Json
    from cni_cnm.settings import Settings

NOTHING: Mapping[str, Any] = {}

BUILT_IN = {
    "": "cni_cnm.ipam.none",
    "none": "cni_cnm.ipam.none",
    "host-local": "cni_cnm.ipam.host_local",
    "static": "cni_cnm.ipam.static",
    "given": "cni_cnm.ipam.preallocated",
}


ipams: Registry[Module] = Registry("ipam", BUILT_IN, attribute="")


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, host: IpamHost) -> Ipam:
    """The IPAM of a network, with the ranges that the endpoint's runtime adds.

    InvalidConfig for a wrong value; NoSuchDriver if the type is neither built in, nor an executable on CNI_PATH, nor a
    Docker plugin.
    """
    return _module(spec).configure(network, spec, endpoint, host)


def restore(network: str, kind: str, record: Mapping[str, Json], host: IpamHost) -> Ipam:
    """The IPAM of an endpoint's record: it can release, check and record again.

    A damaged record raises what reading a value of another shape raises: `parsed` of state/record_reader.py says so.
    """
    return _module(IpamSpec(kind), record).restore(network, record, host)


def release_unrecorded(
    network: str,
    spec: IpamSpec,
    key: EndpointKey,
    environ: Mapping[str, str],
    before_release: Callable[[frozenset[IPAddress]], None],
    host: IpamHost,
) -> None:
    """`Ipam.release` for an endpoint without a record. The rest of the configuration may be invalid."""
    module = _module(spec)
    if spec.type not in ipams:
        from cni_cnm.ipam import remote

        if remote.has_lease(network, key, host):
            module = remote
    module.release_unrecorded(network, spec, key, environ, before_release, host)


def choose_subnet(
    family: int,
    settings: Settings,
    used: Sequence[IPNetwork],
    routed: Sequence[IPNetwork] = (),
    prefixlen: int = 0,
) -> IPNetwork:
    """A subnet of IP version `family` from the default address pools; see pools.choose."""
    from cni_cnm.ipam import pools

    return pools.choose(family, settings.default_address_pools, used, routed, prefixlen)


def subnets(pool: Ipam) -> Sequence[Subnet]:
    """A network's subnets, as its driver is told them."""
    if hasattr(pool, "subnets"):
        known: Sequence[Subnet] = pool.subnets()
        return known
    return [Subnet(gateway.network, gateway, LOCAL_SPACE) for gateway in pool.gateways()]


def allocates(spec: IpamSpec) -> bool:
    """Whether a plugin allocates the network's pools: `allocate` requests them and `free` releases them."""
    return spec.type not in ipams and _is_plugin(spec)


def allocate(
    spec: IpamSpec, families: Sequence[int], skipped: frozenset[int], used: Sequence[IPNetwork]
) -> Mapping[str, Json]:
    """Request a network's pools. Returns the keys for its record; see remote_pools.allocate."""
    from cni_cnm.ipam import remote

    return remote.allocate(spec, families, skipped, used)


def free(network: str, spec: IpamSpec, host: IpamHost, *, force: bool = False) -> None:
    """Release a network's pools. `force`: delete the leases' records also if the plugin does not answer."""
    from cni_cnm.ipam import remote

    remote.free(network, spec, host, force=force)


def allocated(config: Mapping[str, Json]) -> Mapping[str, Json]:
    """The keys in a network's record that are from `allocate`."""
    return {key: config[key] for key in (ALLOCATED,) if key in config}


def allocated_subnets(config: Mapping[str, Json]) -> Sequence[IPNetwork]:
    """The subnets in those keys. None for a plugin that manages no addresses."""
    if ALLOCATED not in config:
        return ()
    from cni_cnm.ipam.remote_pools import Allocated

    return [pool.pool for pool in Allocated.from_json(config[ALLOCATED]).pools if pool.managed]


def needs_interface(kind: str, record: Mapping[str, Json]) -> bool:
    """`Ipam.needs_interface` of the IPAM in an endpoint's record."""
    if kind in ipams:
        return False
    from cni_cnm.ipam import delegated

    return _module(IpamSpec(kind), record) is delegated


def _module(spec: IpamSpec, record: Mapping[str, Json] = NOTHING) -> Module:
    """The built-in module, else an executable on CNI_PATH, else a plugin. `delegated` raises if there is none."""
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
