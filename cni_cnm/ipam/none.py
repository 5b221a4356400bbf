"""No addresses: the network is a wire (L2), or addresses come from inside the container."""

from __future__ import annotations

from cni_cnm.ipam.contract import PoolStatus
from cni_cnm.model import Lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json
    from cni_cnm.settings import Settings


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, settings: Settings) -> NoAddresses:  # noqa: ARG001
    return NoAddresses()


def restore(network: str, record: Mapping[str, Json], settings: Settings) -> NoAddresses:  # noqa: ARG001
    return NoAddresses()


def release_unrecorded(
    network: str,  # noqa: ARG001
    spec: IpamSpec,  # noqa: ARG001
    key: EndpointKey,  # noqa: ARG001
    environ: Mapping[str, str],  # noqa: ARG001
    last: Callable[[frozenset[IPAddress]], None],
    settings: Settings,  # noqa: ARG001
) -> None:
    last(frozenset())


class NoAddresses:
    """Also the common part of IPAMs that reserve nothing (static.py)."""

    type = "none"

    def __init__(self) -> None:
        self.families: tuple[int, ...] | None = ()

    def gateways(self) -> Sequence[IPInterface]:
        return ()

    def validate(self, endpoint: EndpointSpec) -> None:
        """Nothing to refuse: requests may be meant for another network of the same container."""

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:  # noqa: ARG002
        return Lease()

    def release(
        self,
        key: EndpointKey,  # noqa: ARG002
        environ: Mapping[str, str],  # noqa: ARG002
        last: Callable[[frozenset[IPAddress]], None],
    ) -> None:
        last(frozenset())

    def check(self, key: EndpointKey, lease: Lease, environ: Mapping[str, str]) -> None:
        """Nothing is reserved."""

    def collect(self, valid: Sequence[EndpointKey], environ: Mapping[str, str]) -> None:
        """Nothing is reserved."""

    def status(self) -> PoolStatus:
        return PoolStatus(None)

    def record(self) -> Mapping[str, Json]:
        return {}
