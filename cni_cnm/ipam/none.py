"""No addresses: an L2 network, or one whose containers get addresses in another way."""

from __future__ import annotations

from cni_cnm.ipam.contract import PoolStatus
from cni_cnm.model import Lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.ipam.contract import IpamHost
    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, host: IpamHost) -> NoAddresses:  # noqa: ARG001
    return NoAddresses()


def restore(network: str, record: Mapping[str, Json], host: IpamHost) -> NoAddresses:  # noqa: ARG001
    return NoAddresses()


def release_unrecorded(
    network: str,  # noqa: ARG001
    spec: IpamSpec,  # noqa: ARG001
    key: EndpointKey,  # noqa: ARG001
    environ: Mapping[str, str],  # noqa: ARG001
    before_release: Callable[[frozenset[IPAddress]], None],
    host: IpamHost,  # noqa: ARG001
) -> None:
    before_release(frozenset())


class NoAddresses:
    """Also the base class of IPAMs that reserve nothing."""

    type = "none"
    wants_mac = False
    needs_interface = False

    def __init__(self) -> None:
        self.families: tuple[int, ...] | None = ()

    def gateways(self) -> Sequence[IPInterface]:
        return ()

    def validate(self, endpoint: EndpointSpec) -> None:
        """Refuses nothing: a requested address may be meant for another network of the container."""

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:  # noqa: ARG002
        return Lease()

    def release(
        self,
        key: EndpointKey,  # noqa: ARG002
        environ: Mapping[str, str],  # noqa: ARG002
        before_release: Callable[[frozenset[IPAddress]], None],
    ) -> None:
        before_release(frozenset())

    def check(self, key: EndpointKey, lease: Lease, environ: Mapping[str, str]) -> None:
        """Nothing is reserved."""

    def collect(self, valid: Sequence[EndpointKey], environ: Mapping[str, str]) -> None:
        """Nothing is reserved."""

    def status(self) -> PoolStatus:
        return PoolStatus(None)

    def record(self) -> Mapping[str, Json]:
        return {}
