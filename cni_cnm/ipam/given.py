"""Addresses that another engine has allocated and will release itself, after the endpoint is gone (Docker).

`configure` reads the same ranges as host-local, for the gateways in them; nothing is ever given out.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from cni_cnm.errors import NotReady
from cni_cnm.ipam import ranges
from cni_cnm.ipam.none import NoAddresses, release_unrecorded
from cni_cnm.model import Lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.ipam.ranges import RangeSet
    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json
    from cni_cnm.settings import Settings


__all__ = ["configure", "release_unrecorded", "restore"]


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, settings: Settings) -> Given:  # noqa: ARG001
    return Given(ranges.parse(spec.config))


def restore(network: str, record: Mapping[str, Json], settings: Settings) -> Given:  # noqa: ARG001
    return Given(held=tuple(ip_address(text) for text in record.get("addresses", ())))


class Given(NoAddresses):
    type = "given"

    def __init__(self, sets: Sequence[RangeSet] = (), held: tuple[IPAddress, ...] = ()) -> None:
        self.families: tuple[int, ...] | None = tuple(range_set[0].version for range_set in sets)
        self._sets = sets
        self._held = held

    def gateways(self) -> Sequence[IPInterface]:
        return [ip_interface(f"{one.gateway}/{one.subnet.prefixlen}") for members in self._sets for one in members]

    def validate(self, endpoint: EndpointSpec) -> None:
        raise NotReady(
            f"Docker gives out the addresses of this network, so none can be had for {endpoint.container_id}",
            hint="a network to share is made with --ipam-driver cni-cnm --ipam-opt cni-cnm.network=NAME",
        )

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:  # noqa: ARG002
        self.validate(endpoint)
        return Lease()

    def release(
        self,
        key: EndpointKey,  # noqa: ARG002
        environ: Mapping[str, str],  # noqa: ARG002
        last: Callable[[frozenset[IPAddress]], None],
    ) -> None:
        """They are released after this, by whoever gave them."""
        last(frozenset(self._held))

    def record(self) -> Mapping[str, Json]:
        return {"addresses": [str(address) for address in self._held]}
