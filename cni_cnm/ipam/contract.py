"""The contract of IP address management: what an IPAM does for a network, and what its module offers the package."""

from __future__ import annotations

from cni_cnm.bases import Protocol
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json, Lease
    from cni_cnm.settings import Settings
    from cni_cnm.state.store import Store

ALLOCATED = "Allocated"
"""Key in a network's record for the pools that a plugin gave it. The ipam's own keys are in lower case."""
LOCAL_SPACE = "LocalDefault"
"""libnetwork's name for the address space of a host's own networks."""


class PoolStatus(NamedTuple):
    """`free`: at least so many addresses can be allocated now, 0: none; None if the IPAM does not know.

    `detail`: which are left, where few are.
    """

    free: int | None
    detail: str = ""


class IpamHost(Protocol):
    """What an IPAM uses of the host. `settings` has the folders, `store` the records, which are of `epoch`."""

    @property
    def settings(self) -> Settings: ...
    @property
    def store(self) -> Store: ...
    @property
    def epoch(self) -> str: ...


class Ipam(Protocol):
    """The addresses of one network. One object a request; its only state is in its store.

    One that knows its subnets, and not only their gateways, also has `subnets() -> Sequence[Subnet]`.
    """

    type: str

    families: tuple[int, ...] | None
    """IP versions (4, 6) of the addresses that `acquire` returns, in order; None: not known before."""
    wants_mac: bool
    """It may need the endpoint's MAC before it reserves an address."""
    needs_interface: bool
    """It may use the container's interface while it reserves or releases an address, such as DHCP.

    It is called while the interface is there, under its final name and with its MAC.
    """

    def gateways(self) -> Sequence[IPInterface]:
        """Gateways that are configured or follow from it, with the prefix length of their subnet."""

    def validate(self, endpoint: EndpointSpec) -> None:
        """InvalidConfig if the endpoint requests what this network can never allocate."""

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:
        """Reserve addresses for an endpoint. On failure nothing of it stays reserved.

        Conflict if it has addresses already; AddressesExhausted; InvalidConfig if a requested one cannot be reserved.
        """

    def release(
        self, key: EndpointKey, environ: Mapping[str, str], before_release: Callable[[frozenset[IPAddress]], None]
    ) -> None:
        """Release all addresses of the endpoint. No error if it has none.

        `before_release` is called once with the addresses that are still the endpoint's, while no other allocator can
        reserve them: it removes what is keyed by an address (nft elements). If it raises, nothing is released.
        """

    def check(self, key: EndpointKey, lease: Lease, environ: Mapping[str, str]) -> None:
        """CheckFailed if an address of the lease is not reserved for this endpoint. Writes nothing."""

    def collect(self, valid: Sequence[EndpointKey], environ: Mapping[str, str]) -> None:
        """GC of a CNI executable. Built-in IPAMs do nothing: the caller releases what its endpoint records name."""

    def status(self) -> PoolStatus:
        """Takes no locks. NotReady if `acquire` cannot work at all."""

    def record(self) -> Mapping[str, Json]:
        """What `release` needs, as JSON for the endpoint's record. `restore` makes an Ipam of it."""


class Module(Protocol):
    """An implementation in the registry."""

    def configure(self, network: str, spec: IpamSpec, endpoint: EndpointSpec | None, host: IpamHost) -> Ipam: ...
    def restore(self, network: str, record: Mapping[str, Json], host: IpamHost) -> Ipam: ...
    def release_unrecorded(
        self,
        network: str,
        spec: IpamSpec,
        key: EndpointKey,
        environ: Mapping[str, str],
        before_release: Callable[[frozenset[IPAddress]], None],
        host: IpamHost,
    ) -> None: ...
