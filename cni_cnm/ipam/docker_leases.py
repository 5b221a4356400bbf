"""Leases that Docker requests one by one, in the same folder as those of CNI endpoints.

Container id and interface in a lease file:

    docker, reserved        for no endpoint; never void
    docker, requested       for an endpoint that Docker has not named yet
    docker, ENDPOINT ID     for that endpoint
"""

from __future__ import annotations

from ipaddress import ip_address

from cni_cnm.errors import AddressesExhausted, Conflict, InvalidConfig
from cni_cnm.ipam import ranges, special_ranges
from cni_cnm.ipam.lease_index import SEPARATOR
from cni_cnm.ipam.leases import DOCKER, REQUESTED, RESERVED
from cni_cnm.model import EndpointKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.ipam.host_local import HostLocal
    from cni_cnm.ipam.ranges import Range, RangeSet
    from cni_cnm.model import IPAddress, IPNetwork


class DockerLeases:
    """The leases of one subnet of a network. `part`: only addresses in it are chosen."""

    def __init__(self, network: str, pool: HostLocal, subnet: IPNetwork, part: IPNetwork | None = None) -> None:
        """InvalidConfig if the network does not have the subnet, or the subnet no address in `part`."""
        self._network = network
        self._subnet = subnet
        self.leases = pool.leases
        for index, range_set in enumerate(pool.sets):
            found = next((member for member in range_set if member.subnet == subnet), None)
            if found is not None:
                self._index, self._member = index, found
                self._set = range_set if part is None else (_within(found, part),)
                return
        shown = ", ".join(str(member.subnet) for members in pool.sets for member in members)
        raise InvalidConfig(f"the network {network} has the subnet {shown}, not {subnet}")

    _set: RangeSet
    _member: Range

    @property
    def gateway(self) -> IPAddress | None:
        return self._member.gateway

    def reserve(self, address: IPAddress) -> None:
        """Lease the address to no endpoint. No error if it is reserved already; Conflict if it is leased otherwise."""
        self._refuse_outside(address)
        with self.leases:
            if self.holder(address) != (DOCKER, RESERVED) and not self.leases.reserve(address, self._key(RESERVED)):
                raise self._taken(address)

    def request(self, address: IPAddress | None) -> IPAddress:
        """Lease that address, or the next free one. AddressesExhausted; Conflict if the address is leased."""
        if address is not None:
            self._refuse_outside(address)
        with self.leases:
            if address is None:
                return self._next()
            if not self.leases.reserve(address, self._key(REQUESTED)):
                raise self._taken(address)
        return address

    def assign(self, address: IPAddress, endpoint_id: str) -> None:
        """Lease a requested address to the endpoint. Conflict if it is neither requested nor free."""
        with self.leases:
            holder = self.holder(address)
            if holder == (DOCKER, endpoint_id):
                return
            if holder == (DOCKER, REQUESTED):
                self.leases.set_owner(address, self._key(endpoint_id))
            elif not self.leases.reserve(address, self._key(endpoint_id)):
                raise self._taken(address)

    def release(self, address: IPAddress) -> None:
        """Remove Docker's lease of the address. No error if there is none, or if it is another owner's."""
        with self.leases:
            if self.holder(address)[0] == DOCKER:
                self.leases.remove(address)

    def release_all(self) -> None:
        """Remove all leases that Docker has in the subnet."""
        with self.leases:
            for address in map(ip_address, list(self.leases.names())):
                if address in self._subnet and self.holder(address)[0] == DOCKER:
                    self.leases.remove(address)

    def holder(self, address: IPAddress) -> tuple[str, str]:
        """Container id and interface in the lease file; both empty if the address is free."""
        container_id, _, ifname = self.leases.owner(str(address)).partition(SEPARATOR)
        return container_id, ifname

    def age(self, address: IPAddress) -> float:
        """Seconds since the lease was written; 0 if there is none."""
        return self.leases.age(str(address))

    def _next(self) -> IPAddress:
        key = self._key(REQUESTED)
        for address in self._candidates():
            if self.leases.reserve(address, key):
                self.leases.set_last_reserved(self._index, address)
                return address
        raise AddressesExhausted(
            f"the network {self._network} has no free address in {ranges.shown(self._set)}",
            hint=f"remove containers or widen the range; `cni-cnm ipam show {self._network}` shows who has them",
        )

    def _candidates(self) -> Iterator[IPAddress]:
        """Addresses without a lease, then those whose lease is void."""
        taken = self.leases.numbers(self._member.version)
        last = self.leases.last_reserved(self._index)
        for member, number in ranges.in_order(self._set, last):
            if number not in taken:
                yield member.address(number)
        for member, number in ranges.in_order(self._set, last):
            if number in taken and self.leases.void(str(member.address(number))):
                yield member.address(number)

    def _key(self, what: str) -> EndpointKey:
        return EndpointKey(self._network, DOCKER, what)

    def _refuse_outside(self, address: IPAddress) -> None:
        member = self._member
        if address not in self._subnet or any(address == one for one, _ in special_ranges.reserved(self._subnet)):
            raise InvalidConfig(f"the address {address} cannot be a host's in the subnet {self._subnet}")
        if address == member.gateway:
            raise Conflict(f"the address {address} is the gateway of {self._subnet}")

    def _taken(self, address: IPAddress) -> Conflict:
        holder = " ".join(part for part in self.holder(address) if part) or "an unknown holder"
        return Conflict(
            f"the address {address} of the network {self._network} is leased to {holder}",
            hint=f"the lease is {self.leases.folder}/{address}",
        )


def _within(member: Range, part: IPNetwork) -> Range:
    start, end = max(member.start, int(part[0])), min(member.end, int(part[-1]))
    if end < start:
        raise InvalidConfig(f"{part} has no address of {member}")
    return member._replace(start=start, end=end)
