"""Address management: the contract, and the names.

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

from typing import Any, NamedTuple, Protocol, runtime_checkable

from cni_cnm.model import IpamSpec, Subnet
from cni_cnm.registry import Registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.model import (
        EndpointKey,
        EndpointSpec,
        IPAddress,
        IPInterface,
        IPNetwork,
        Json,
        Lease,
    )
    from cni_cnm.settings import Settings

ALLOCATED = "Allocated"
"""Key of a network's record beside its ipam's own, which are in lower case: what a plugin gave the network."""
LOCAL_SPACE = "LocalDefault"
"""libnetwork's name for the address space of a host's own networks."""
NOTHING: Mapping[str, Any] = {}

BUILT_IN = {
    "": "cni_cnm.ipam.none",
    "none": "cni_cnm.ipam.none",
    "host-local": "cni_cnm.ipam.host_local",
    "static": "cni_cnm.ipam.static",
    "given": "cni_cnm.ipam.given",
}


class PoolStatus(NamedTuple):
    """`free` counts addresses an ADD could get now; None: this IPAM cannot tell."""

    free: int | None
    detail: str = ""


class Ipam(Protocol):
    """Addresses of one network. One instance per request; no state of its own beside its store."""

    type: str

    families: tuple[int, ...] | None
    """IP versions (4, 6) of the addresses one acquire gives, in order; None: not known before asking."""

    def gateways(self) -> Sequence[IPInterface]:
        """Gateways the configuration names or implies, with their subnet's prefix: the bridge's addresses."""

    def validate(self, endpoint: EndpointSpec) -> None:
        """Refuse (InvalidConfig) what this endpoint asks for and this pool can never give."""

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:
        """Addresses for an endpoint; Conflict if it has some already.

        AddressesExhausted, or InvalidConfig for a requested one that cannot be had.
        All or nothing: on failure nothing of this endpoint stays reserved.
        """

    def release(
        self, key: EndpointKey, environ: Mapping[str, str], last: Callable[[frozenset[IPAddress]], None]
    ) -> None:
        """Give back everything the endpoint holds; nothing held is success.

        `last` is called once, with the addresses that are still this endpoint's, while no other allocator can
        hand them out: what is keyed by an address (nft elements) is taken down there, and only there. If
        `last` raises, nothing is released and the error goes on: the next call finds both, and can tell whose.
        """

    def check(self, key: EndpointKey, lease: Lease, environ: Mapping[str, str]) -> None:
        """CheckFailed if an address of the lease is not reserved for this endpoint. Writes nothing."""

    def collect(self, valid: Sequence[EndpointKey], environ: Mapping[str, str]) -> None:
        """CNI GC for executables that have it; for built-in IPAMs the records drive the release."""

    def status(self) -> PoolStatus:
        """Without locks and in time bounded by the store's size. NotReady if acquire cannot work at all."""

    def record(self) -> Mapping[str, Json]:
        """What a release needs, as JSON, for the endpoint's record; `restore` gives an Ipam back."""


@runtime_checkable
class WantsMac(Protocol):
    """An IPAM that may have to be told an endpoint's MAC before it gives an address."""

    wants_mac: bool


@runtime_checkable
class HasSubnets(Protocol):
    """An IPAM that knows more of its subnets than their gateways."""

    def subnets(self) -> Sequence[Subnet]: ...


class Module(Protocol):
    """What a name in the registry stands for."""

    def configure(self, network: str, spec: IpamSpec, endpoint: EndpointSpec | None, settings: Settings) -> Ipam: ...
    def restore(self, network: str, record: Mapping[str, Json], settings: Settings) -> Ipam: ...
    def release_unrecorded(
        self,
        network: str,
        spec: IpamSpec,
        key: EndpointKey,
        environ: Mapping[str, str],
        last: Callable[[frozenset[IPAddress]], None],
        settings: Settings,
    ) -> None: ...


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
