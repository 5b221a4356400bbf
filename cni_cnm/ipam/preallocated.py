"""Addresses that a runtime has allocated itself: Docker with another IPAM driver, podman for a netavark plugin.

`configure` reads the same ranges as host-local for their subnets and gateways. No address is allocated here. An
endpoint gets those that its runtime names, and the runtime releases them once the endpoint is gone.
"""

from __future__ import annotations

from cni_cnm.errors import InvalidConfig, NotReady
from cni_cnm.fields import Fields
from cni_cnm.ipam import ranges, routes
from cni_cnm.ipam.contract import LOCAL_SPACE
from cni_cnm.ipam.none import NoAddresses, release_unrecorded
from cni_cnm.model import Address, Lease, Subnet, ip_address, ip_interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.ipam.contract import IpamHost
    from cni_cnm.ipam.ranges import Range, RangeSet
    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json, Route


__all__ = ["configure", "release_unrecorded", "restore"]


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, host: IpamHost) -> Preallocated:  # noqa: ARG001
    ipam = Fields(spec.config, "ipam.")
    return Preallocated(ranges.parse(ipam), routes.read(ipam), held=_requested(endpoint))


def restore(network: str, record: Mapping[str, Json], host: IpamHost) -> Preallocated:  # noqa: ARG001
    return Preallocated(held=tuple(ip_address(text) for text in record.get("addresses", ())))


class Preallocated(NoAddresses):
    type = "given"
    """As network records name it."""

    def __init__(
        self,
        sets: Sequence[RangeSet] = (),
        routes: tuple[Route, ...] = (),
        held: tuple[IPAddress, ...] = (),
    ) -> None:
        self.families: tuple[int, ...] | None = tuple(range_set[0].version for range_set in sets)
        self._sets = sets
        self._routes = routes
        self._held = held

    def subnets(self) -> Sequence[Subnet]:
        members = [member for range_set in self._sets for member in range_set]
        return [Subnet(member.subnet, member.gateway_interface, LOCAL_SPACE) for member in members]

    def gateways(self) -> Sequence[IPInterface]:
        return ranges.gateways(self._sets)

    def validate(self, endpoint: EndpointSpec) -> None:
        if not endpoint.addresses:
            raise NotReady(
                f"{endpoint.container_id} cannot get an address: the runtime that made this network allocates them",
                hint="attach containers of that runtime only, or make a network whose ipam is host-local",
            )
        for address in _requested(endpoint):
            member = self._holder(address)
            if address == member.gateway:
                raise InvalidConfig(f"the requested address {address} is the gateway of {member.subnet}")

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:  # noqa: ARG002
        self.validate(endpoint)
        found = [(address, self._holder(address)) for address in _requested(endpoint)]
        addresses = [Address(ip_interface(f"{one}/{own.subnet.prefixlen}"), own.gateway) for one, own in found]
        return Lease(tuple(addresses), self._routes)

    def release(
        self,
        key: EndpointKey,  # noqa: ARG002
        environ: Mapping[str, str],  # noqa: ARG002
        before_release: Callable[[frozenset[IPAddress]], None],
    ) -> None:
        before_release(frozenset(self._held))

    def record(self) -> Mapping[str, Json]:
        return {"addresses": [str(address) for address in self._held]}

    def _holder(self, address: IPAddress) -> Range:
        """The range whose subnet has the address: a runtime may give one outside the range."""
        members = [member for range_set in self._sets for member in range_set]
        for member in members:
            if address.version == member.version and address in member.subnet:
                return member
        subnets = ", ".join(str(member.subnet) for member in members)
        raise InvalidConfig(f"the requested address {address} is not in {subnets}")


def _requested(endpoint: EndpointSpec | None) -> tuple[IPAddress, ...]:
    addresses = endpoint.addresses if endpoint else ()
    return tuple(dict.fromkeys(getattr(address, "ip", address) for address in addresses))
