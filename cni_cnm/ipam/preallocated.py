"""Addresses that Docker has allocated with another IPAM driver, and releases itself once the endpoint is gone.

`configure` reads the same ranges as host-local for their gateways. No address is allocated here.
"""

from __future__ import annotations

from ipaddress import ip_address

from cni_cnm.errors import NotReady
from cni_cnm.fields import Fields
from cni_cnm.ipam import ranges
from cni_cnm.ipam.none import NoAddresses, release_unrecorded
from cni_cnm.model import Lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.ipam.contract import IpamHost
    from cni_cnm.ipam.ranges import RangeSet
    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json


__all__ = ["configure", "release_unrecorded", "restore"]


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, host: IpamHost) -> Preallocated:  # noqa: ARG001
    return Preallocated(ranges.parse(Fields(spec.config, "ipam.")))


def restore(network: str, record: Mapping[str, Json], host: IpamHost) -> Preallocated:  # noqa: ARG001
    return Preallocated(held=tuple(ip_address(text) for text in record.get("addresses", ())))


class Preallocated(NoAddresses):
    type = "given"
    """As network records name it."""

    def __init__(self, sets: Sequence[RangeSet] = (), held: tuple[IPAddress, ...] = ()) -> None:
        self.families: tuple[int, ...] | None = tuple(range_set[0].version for range_set in sets)
        self._sets = sets
        self._held = held

    def gateways(self) -> Sequence[IPInterface]:
        return ranges.gateways(self._sets)

    def validate(self, endpoint: EndpointSpec) -> None:
        raise NotReady(
            f"{endpoint.container_id} cannot get an address: another IPAM driver of Docker allocates this network's",
            hint="create the network with --ipam-driver cni-cnm --ipam-opt cni-cnm.network=NAME to share it",
        )

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:  # noqa: ARG002
        self.validate(endpoint)
        return Lease()

    def release(
        self,
        key: EndpointKey,  # noqa: ARG002
        environ: Mapping[str, str],  # noqa: ARG002
        before_release: Callable[[frozenset[IPAddress]], None],
    ) -> None:
        before_release(frozenset(self._held))

    def record(self) -> Mapping[str, Json]:
        return {"addresses": [str(address) for address in self._held]}
