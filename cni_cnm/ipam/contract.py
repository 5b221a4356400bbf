"""The contract of address management: what an IPAM offers a network, and what its module offers the package.

The texts of the methods say what every IPAM promises; __init__.py finds the module for a type.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json, Lease, Subnet
    from cni_cnm.settings import Settings

ALLOCATED = "Allocated"
"""Key of a network's record beside its ipam's own, which are in lower case: what a plugin gave the network."""
LOCAL_SPACE = "LocalDefault"
"""libnetwork's name for the address space of a host's own networks."""


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
