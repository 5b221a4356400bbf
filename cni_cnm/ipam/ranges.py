"""Ranges of addresses and their order. An endpoint gets one address from each range set.

Addresses are whole numbers here. Both ends of a range are included; its gateway is never allocated. A subnet of two
addresses (RFC 3021, RFC 6164) has no address with a meaning of its own. Its gateway is the first, as Docker chooses it.
"""

from __future__ import annotations

from itertools import pairwise

from cni_cnm import validate
from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import objects
from cni_cnm.model import ip_interface
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from cni_cnm.fields import Fields
    from cni_cnm.model import IPAddress, IPInterface, IPNetwork, Json

NO_GATEWAY = "NoGateway"
"""Key, in the records of Docker's networks, of a range that has no gateway. No key of a configuration."""


LOST = "Lost"
"""Key of a range in a network's record. A configuration cannot have it: its keys are in lower case."""


class Range(NamedTuple):
    subnet: IPNetwork
    start: int
    end: int
    gateway: IPAddress | None
    key: str = ""
    """Where the configuration has it, such as `ipam.ranges[0][0]`."""
    lost: str = ""
    """The host that has this block of an overlay network now; "": this host. A lost range has no address to give."""

    @property
    def version(self) -> int:
        return self.subnet.version

    @property
    def gateway_interface(self) -> IPInterface | None:
        """The gateway with the subnet's prefix length."""
        return ip_interface(f"{self.gateway}/{self.subnet.prefixlen}") if self.gateway is not None else None

    @property
    def capacity(self) -> int:
        """How many addresses can be allocated."""
        return self.end - self.start + 1 - (self.gateway is not None and self.holds(self.gateway))

    def allocates(self, number: int) -> bool:
        return self.start <= number <= self.end and (self.gateway is None or number != int(self.gateway))

    def holds(self, address: IPAddress) -> bool:
        return address.version == self.version and self.start <= int(address) <= self.end

    def address(self, number: int) -> IPAddress:
        return type(self.subnet.network_address)(number)

    def overlaps(self, other: Range) -> bool:
        return self.version == other.version and self.start <= other.end and other.start <= self.end

    def __str__(self) -> str:
        if self.lost:
            return f"{self.subnet}, which is {self.lost}'s now"
        return f"{self.address(self.start)}-{self.address(self.end)}"


RangeSet: TypeAlias = tuple[Range, ...]


def shown(range_set: RangeSet) -> str:
    return ",".join(map(str, range_set))


def gateways(sets: Sequence[RangeSet]) -> list[IPInterface]:
    """The gateways of range sets, each once."""
    found = (member.gateway_interface for range_set in sets for member in range_set)
    return list(dict.fromkeys(gateway for gateway in found if gateway is not None))


def holder(range_set: RangeSet, address: IPAddress) -> Range | None:
    """The range of the set that holds the address."""
    return next((member for member in range_set if member.holds(address)), None)


def in_order(range_set: RangeSet, last: IPAddress | None) -> Iterator[tuple[Range, int]]:
    """Every address of the set except the gateways, once: from the one after `last`, or from the first one.

    The order is that of the reference host-local: an address is allocated again as late as possible.
    """
    first, begin = 0, range_set[0].start
    for index, member in enumerate(range_set):
        if last is not None and member.holds(last):
            first, begin = index, int(last) + 1
            break
    turns = [*range_set[first:], *range_set[:first]]
    spans = [(member, member.start, member.end) for member in turns]
    spans[0] = (turns[0], begin, turns[0].end)
    spans.append((turns[0], turns[0].start, begin - 1))
    for member, start, end in spans:
        for number in range(start, end + 1):
            if member.allocates(number):
                yield member, number


def parse(ipam: Fields, requested: Sequence[Json] = ()) -> tuple[RangeSet, ...]:
    """The range sets of an ipam object: those of the runtime (`requested`), then `subnet`, then `ranges`.

    InvalidConfig for what cannot be right: no set, host bits, ends outside the subnet, overlaps. The runtime's ranges
    have the reference host-local's limit of `refuse_point_to_point`.
    """
    named = [_range_set(f"runtimeConfig.ipRanges[{n}]", raw) for n, raw in enumerate(requested)]
    for _, range_set in named:
        for member in range_set:
            refuse_point_to_point(member.key, member.subnet)
    if ipam.raw("subnet"):
        named.append(("ipam", (_range(ipam),)))
    named += [_range_set(ipam.name(f"ranges[{n}]"), raw) for n, raw in enumerate(ipam.items("ranges"))]
    if not named:
        raise InvalidConfig("the ipam has no addresses", hint='give it "subnet" or "ranges"')
    clash = _overlap([(member, index) for index, (_, range_set) in enumerate(named) for member in range_set])
    if clash:
        (where, range_set), (other_place, other) = (named[index] for index in sorted(clash))
        raise InvalidConfig(f"{where} ({shown(range_set)}) overlaps with {other_place} ({shown(other)})")
    return tuple(range_set for _, range_set in named)


def _range_set(where: str, raw: Json) -> tuple[str, RangeSet]:
    """Where it stands, and the set."""
    members = objects(raw, where)
    if not members:
        raise InvalidConfig(f"{where} is empty, it must list at least one range")
    found = tuple(map(_range, members))
    if any(member.version != found[0].version for member in found):
        raise InvalidConfig(
            f"{where} mixes IPv4 and IPv6", hint="use two range sets: an endpoint gets one address from each"
        )
    clash = _overlap([(member, index) for index, member in enumerate(found)])
    if clash:
        one, other = (found[index] for index in sorted(clash))
        raise InvalidConfig(f"in {where} the ranges {one} and {other} overlap")
    return where, found


def _overlap(members: list[tuple[Range, int]]) -> tuple[int, int] | None:
    """The numbers of two ranges that overlap; None if no two do. Of thousands, only neighbours are compared."""
    members.sort(key=lambda each: (each[0].version, each[0].start))
    for (one, number), (other, other_number) in pairwise(members):
        if one.overlaps(other):
            return number, other_number
    return None


def _range(fields: Fields) -> Range:
    subnet = fields.required("subnet", validate.network)
    _refuse_longer(fields.name("subnet"), subnet, subnet.max_prefixlen - 1)
    reserved = int(not is_point_to_point(subnet))
    first = int(subnet.network_address)
    last = int(subnet.broadcast_address) - (reserved if subnet.version == 4 else 0)
    default = None if fields.spelled.get(NO_GATEWAY) is True else first_gateway(subnet)
    gateway = fields.address("gateway") or default
    if gateway is not None and gateway.version != subnet.version:
        raise InvalidConfig(
            f"{fields.name('gateway')} is {gateway}, which is not of the IP version of its subnet {subnet}"
        )
    key = fields.name("subnet").removesuffix(".subnet")
    if holder := fields.spelled.get(LOST):  # there is nothing to give
        return Range(subnet, first, first - 1, gateway, key, str(holder))
    found = Range(
        subnet,
        _end(fields, "rangeStart", subnet, first + reserved),
        _end(fields, "rangeEnd", subnet, last),
        gateway,
        key,
    )
    if found.end < found.start:
        raise InvalidConfig(f"{fields.name('rangeEnd')} is before rangeStart: {found}")
    return found


def first_gateway(subnet: IPNetwork) -> IPAddress:
    """The gateway of a subnet for which none is named."""
    return subnet.network_address + int(not is_point_to_point(subnet))


def is_point_to_point(subnet: IPNetwork) -> bool:
    """Whether it has two addresses: a /31 or a /127."""
    return subnet.prefixlen == subnet.max_prefixlen - 1


def refuse_point_to_point(key: str, subnet: IPNetwork) -> None:
    """InvalidConfig for a subnet of two addresses, which the reference host-local refuses. `key` is for the message."""
    _refuse_longer(f"{key}.subnet", subnet, subnet.max_prefixlen - 2)


def _refuse_longer(key: str, subnet: IPNetwork, longest: int) -> None:
    if subnet.prefixlen > longest:
        raise InvalidConfig(f"{key} {subnet} is too small to allocate from", hint=f"use /{longest} or shorter")


def _end(fields: Fields, key: str, subnet: IPNetwork, default: int) -> int:
    found = fields.address(key)
    if found is None:
        return default
    if found.version != subnet.version or found not in subnet:
        raise InvalidConfig(f"{fields.name(key)} {found} is not in the subnet {subnet}")
    return int(found)
