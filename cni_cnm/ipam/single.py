"""Single addresses of a host-local store, for an engine that asks for them before it names the endpoint (Docker).

docker, reserved        for no endpoint; survives reboots
docker, requested       for an endpoint to come
docker, ENDPOINT ID     that endpoint's
"""

from __future__ import annotations

from ipaddress import ip_address

from cni_cnm.errors import AddressesExhausted, Conflict, InvalidConfig
from cni_cnm.ipam import ranges
from cni_cnm.ipam.lease_index import SEPARATOR
from cni_cnm.ipam.leases import DOCKER, REQUESTED, RESERVED
from cni_cnm.model import EndpointKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.ipam.host_local import HostLocal
    from cni_cnm.ipam.ranges import Range, RangeSet
    from cni_cnm.model import IPAddress, IPNetwork


class Single:
    """The addresses of one subnet of a network; with `part` only those in it are chosen."""

    def __init__(self, network: str, pool: HostLocal, subnet: IPNetwork, part: IPNetwork | None = None) -> None:
        """InvalidConfig if the network does not have the subnet."""
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
    def gateway(self) -> IPAddress:
        return self._member.gateway

    def reserve(self, address: IPAddress) -> None:
        """For no endpoint, until it is released. Reserved already is done; Conflict if somebody has it."""
        self._refuse_outside(address)
        with self.leases:
            if self.holder(address) != (DOCKER, RESERVED) and not self.leases.reserve(address, self._key(RESERVED)):
                raise self._taken(address)

    def request(self, address: IPAddress | None) -> IPAddress:
        """That address, or the next free one. AddressesExhausted, Conflict if somebody has it."""
        if address is not None:
            self._refuse_outside(address)
        with self.leases:
            if address is None:
                return self._next()
            if not self.leases.reserve(address, self._key(REQUESTED)):
                raise self._taken(address)
        return address

    def assign(self, address: IPAddress, endpoint_id: str) -> None:
        """A requested address becomes the endpoint's. Conflict if it is neither requested nor free."""
        with self.leases:
            holder = self.holder(address)
            if holder == (DOCKER, endpoint_id):
                return
            if holder == (DOCKER, REQUESTED):
                self.leases.hand_on(address, self._key(endpoint_id))
            elif not self.leases.reserve(address, self._key(endpoint_id)):
                raise self._taken(address)

    def release(self, address: IPAddress) -> None:
        """Whatever Docker has it for; nobody else's is touched, and nobody's is done."""
        with self.leases:
            if self.holder(address)[0] == DOCKER:
                self.leases.remove(address)

    def release_all(self) -> None:
        """Whatever Docker has of the subnet."""
        with self.leases:
            for address in map(ip_address, list(self.leases.names())):
                if address in self._subnet and self.holder(address)[0] == DOCKER:
                    self.leases.remove(address)

    def holder(self, address: IPAddress) -> tuple[str, str]:
        """Container id and interface, or their like; empty if the address is free."""
        container_id, _, ifname = self.leases.owner(str(address)).partition(SEPARATOR)
        return container_id, ifname

    def _next(self) -> IPAddress:
        key = self._key(REQUESTED)
        for address in self._candidates():
            if self.leases.reserve(address, key):
                self.leases.set_last_reserved(self._index, address)
                return address
        raise AddressesExhausted(
            f"the network {self._network} has no free address in {ranges.shown(self._set)}",
            hint=f"remove containers or widen the range; `ls {self.leases.folder}` shows what is leased",
        )

    def _candidates(self) -> Iterator[IPAddress]:
        """Free ones first, then those whose lease may be void."""
        taken = self.leases.numbers(self._member.version)
        last = self.leases.last_reserved(self._index)
        for member, number in ranges.ring(self._set, last):
            if number not in taken:
                yield member.address(number)
        for member, number in ranges.ring(self._set, last):
            if number in taken and self.leases.void(str(member.address(number))):
                yield member.address(number)

    def _key(self, what: str) -> EndpointKey:
        return EndpointKey(self._network, DOCKER, what)

    def _refuse_outside(self, address: IPAddress) -> None:
        member = self._member
        number, first, last = int(address), int(member.subnet[0]), int(member.subnet[-1])
        ends = (first, last) if member.version == 4 else (first,)
        if address.version != member.version or address not in self._subnet or number in ends:
            raise InvalidConfig(f"the address {address} is no host's address of the subnet {self._subnet}")
        if address == member.gateway:
            raise Conflict(f"the address {address} is the gateway of {self._subnet}")

    def _taken(self, address: IPAddress) -> Conflict:
        holder = " ".join(part for part in self.holder(address) if part) or "somebody"
        return Conflict(
            f"the address {address} of the network {self._network} is taken by {holder}",
            hint=f"{self.leases.folder}/{address} tells its holder",
        )


def _within(member: Range, part: IPNetwork) -> Range:
    start, end = max(member.start, int(part[0])), min(member.end, int(part[-1]))
    if end < start:
        raise InvalidConfig(f"{part} has no address of {member}")
    return member._replace(start=start, end=end)
