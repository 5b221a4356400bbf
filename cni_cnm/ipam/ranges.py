"""Ranges of addresses and their order. An endpoint gets one address from each range set.

Addresses are whole numbers in here; both ends of a range are inclusive, and its gateway is never given out.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from cni_cnm.errors import InvalidConfig
from cni_cnm.ipam import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cni_cnm.model import IPAddress, IPNetwork, Json


class Range(NamedTuple):
    subnet: IPNetwork
    start: int
    end: int
    gateway: IPAddress

    @property
    def version(self) -> int:
        return self.subnet.version

    @property
    def capacity(self) -> int:
        """How many addresses it can give out."""
        return self.end - self.start + 1 - self.holds(self.gateway)

    def gives(self, number: int) -> bool:
        return self.start <= number <= self.end and number != self._skipped

    @property
    def _skipped(self) -> int:
        return int(self.gateway) if self.gateway.version == self.version else -1

    def holds(self, address: IPAddress) -> bool:
        return address.version == self.version and self.start <= int(address) <= self.end

    def address(self, number: int) -> IPAddress:
        return type(self.subnet.network_address)(number)

    def overlaps(self, other: Range) -> bool:
        return self.version == other.version and self.start <= other.end and other.start <= self.end

    def __str__(self) -> str:
        return f"{self.address(self.start)}-{self.address(self.end)}"


RangeSet: TypeAlias = tuple[Range, ...]


def shown(range_set: RangeSet) -> str:
    return ",".join(map(str, range_set))


def holder(range_set: RangeSet, address: IPAddress) -> Range | None:
    """The range of the set that holds the address."""
    return next((member for member in range_set if member.holds(address)), None)


def ring(range_set: RangeSet, last: IPAddress | None) -> Iterator[tuple[Range, int]]:
    """Every address of the set but the gateways, once: from the one after `last`, else from the beginning,
    wrapping.

    The order is host-local's own, because it shows: an address comes back as late as possible.
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
            if member.gives(number):
                yield member, number


def parse(config: Mapping[str, Json], runtime: Sequence[Json] = ()) -> tuple[RangeSet, ...]:
    """The range sets of an ipam object: the runtime's, then the old-style single `subnet`, then `ranges`.

    InvalidConfig for what cannot be right: no set, host bits, ends outside the subnet, overlaps.
    """
    raw_sets = [(f"runtimeConfig.ipRanges[{n}]", item) for n, item in enumerate(runtime)]
    if config.get("subnet"):
        raw_sets.append(("ipam", [config]))
    raw_sets += [
        (f"ipam.ranges[{n}]", item) for n, item in enumerate(values.items(config.get("ranges"), "ipam.ranges"))
    ]
    if not raw_sets:
        raise InvalidConfig("the ipam names no addresses", hint='give it "subnet" or "ranges"')
    sets = tuple(_parse_set(where, raw) for where, raw in raw_sets)
    for index, range_set in enumerate(sets):
        for later, other in enumerate(sets[index + 1 :], index + 1):
            if any(one.overlaps(two) for one in range_set for two in other):
                raise InvalidConfig(
                    f"{raw_sets[index][0]} ({shown(range_set)}) overlaps with {raw_sets[later][0]} ({shown(other)})"
                )
    return sets


def _parse_set(where: str, raw: Json) -> RangeSet:
    members = values.items(raw, where)
    if not members:
        raise InvalidConfig(f"{where} is empty, it must list at least one range")
    places = [where] if where == "ipam" else [f"{where}[{n}]" for n in range(len(members))]
    found = tuple(_parse(place, values.mapping(member, place)) for place, member in zip(places, members, strict=True))
    if any(member.version != found[0].version for member in found):
        raise InvalidConfig(f"{where} mixes IPv4 and IPv6", hint="an endpoint gets one address a set: use two sets")
    for index, member in enumerate(found):
        clash = next((other for other in found[index + 1 :] if member.overlaps(other)), None)
        if clash:
            raise InvalidConfig(f"in {where} the ranges {member} and {clash} overlap")
    return found


def _parse(where: str, raw: Mapping[str, Json]) -> Range:
    subnet = values.network(raw.get("subnet"), f"{where}.subnet")
    longest = subnet.max_prefixlen - 2
    if subnet.prefixlen > longest:
        raise InvalidConfig(f"{where}.subnet {subnet} is too small to allocate from", hint=f"at most /{longest}")
    network = int(subnet.network_address)
    last = int(subnet.broadcast_address) - (subnet.version == 4)
    start = _end(where, raw, "rangeStart", subnet, network + 1)
    end = _end(where, raw, "rangeEnd", subnet, last)
    gateway = raw.get("gateway")
    found = Range(
        subnet,
        start,
        end,
        values.address(gateway, f"{where}.gateway") if gateway else subnet.network_address + 1,
    )
    if end < start:
        raise InvalidConfig(f"{where} ends before it starts: {found}")
    return found


def _end(where: str, raw: Mapping[str, Json], key: str, subnet: IPNetwork, default: int) -> int:
    given = raw.get(key.lower())
    if not given:
        return default
    found = values.address(given, f"{where}.{key}")
    if found.version != subnet.version or found not in subnet:
        raise InvalidConfig(f"{where}.{key} {found} is not in the subnet {subnet}")
    return int(found)
