"""How full a network's subnets are, and who holds each address: from its leases and the records of its endpoints."""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.network.network_description import spec_of, subnets_of
from cni_cnm.cnm.records import endpoint_records
from cni_cnm.errors import IoFailed
from cni_cnm.find.endpoint_names import named
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.ipam.lease_index import SEPARATOR
from cni_cnm.ipam.leases import DOCKER, HOST_LOCAL, REQUESTED, RESERVED
from cni_cnm.model import ip_address
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.find.endpoint_names import NamedEndpoint
    from cni_cnm.ipam.leases import Leases
    from cni_cnm.ipam.ranges import Range
    from cni_cnm.model import IPAddress, IPNetwork

ENDPOINT, GATEWAY, DOCKER_RESERVED, DOCKER_REQUESTED = "endpoint", "gateway", "docker: reserved", "docker: requested"
OTHER = "another program"
"""A lease that no record names: the reference plugin's, or one that was left."""
VOID = "void"
"""A lease from before the last boot, or an empty one: the address is given again once no other is free."""
_RESERVED = frozenset((GATEWAY, DOCKER_RESERVED))


class Holder(NamedTuple):
    """Who holds one address."""

    address: IPAddress
    kind: str
    container_id: str = ""
    ifname: str = ""
    endpoint: NamedEndpoint | None = None
    leased: bool = True
    """False: an endpoint has the address, and there is no lease that keeps it from others."""


class RangeUse(NamedTuple):
    """A range of addresses, both ends included, and how much of it is free."""

    subnet: IPNetwork
    gateway: IPAddress | None = None
    first: IPAddress | None = None
    """None: another program has the addresses, and what it gives is not known."""
    last: IPAddress | None = None
    used: frozenset[int] = frozenset()
    """Addresses that are held, as numbers."""
    reserved: frozenset[int] = frozenset()
    """The gateway, and what Docker has reserved."""
    lost: str = ""
    """The host that has this block of an overlay network now; "": this host."""

    @property
    def size(self) -> int | None:
        return int(self.last) - int(self.first) + 1 if self.first is not None and self.last is not None else None

    @property
    def free(self) -> int | None:
        return None if self.size is None else self.size - len(self.used) - len(self.reserved)

    @property
    def percent(self) -> int | None:
        """How full it is, rounded down; 100 only without a free address. None if it is not known."""
        return None if not self.size else (self.size - (self.free or 0)) * 100 // self.size

    def bar(self, width: int) -> str:
        """The range as `width` characters or less. Each stands for as many addresses, in order.

        `#` all held, `+` half or more, `:` some, `.` none, `R` reserved ones alone. "" if it is not known.
        """
        if not self.size or self.first is None:
            return ""
        start, width = int(self.first), min(width, self.size)
        used, reserved = ([0] * width for _ in range(2))
        for counts, numbers in ((used, self.used), (reserved, self.reserved)):
            for number in numbers:
                counts[(number - start) * width // self.size] += 1
        return "".join(
            _drawn(used[cell], reserved[cell], _ceil((cell + 1) * self.size, width) - _ceil(cell * self.size, width))
            for cell in range(width)
        )


class NetworkUse(NamedTuple):
    """What `use_of` finds."""

    ranges: Sequence[RangeUse]
    holders: Sequence[Holder]
    """In the order of their addresses, IPv4 first."""
    folder: str = ""
    """Of the leases; "" for an IPAM that keeps none here."""


def use_of(host: Host, network: NetworkRecord, records: Iterable[EndpointRecord] | None = None) -> NetworkUse:
    """The ranges of a network and the holders of its addresses. Takes no lock, so a call under way may be half seen.

    Of an IPAM plugin, an executable and `static` only what endpoints hold is known. `records`: of all endpoints, where
    the caller has read them; None: they are read.
    """
    records = endpoint_records(host.store) if records is None else records
    records = [record for record in records if record.network_id == network.id]
    endpoints = {each.interface.ip: one for one in named(host, records) for each in one.record.addresses}
    pool = ipam.configure(network.name, spec_of(network).ipam, None, host) if network.ipam_type == HOST_LOCAL else None
    if not isinstance(pool, HostLocal):
        found = [Holder(address, ENDPOINT, *_container(one), one) for address, one in endpoints.items()]
        uses = [RangeUse(subnet, used=_inside(found, subnet)) for subnet in subnets_of(network)]
        return NetworkUse(uses, _ordered(found))
    members = [member for range_set in pool.sets for member in range_set]
    holders = {holder.address: holder for holder in _holders(pool.leases, endpoints)}
    gateways = {member.gateway for member in members if member.gateway is not None}
    holders.update({gateway: Holder(gateway, GATEWAY) for gateway in gateways if gateway not in endpoints})
    found = list(holders.values())
    return NetworkUse([_range_use(member, found) for member in members], _ordered(found), pool.leases.folder)


def _holders(leases: Leases, endpoints: Mapping[IPAddress, NamedEndpoint]) -> Iterator[Holder]:
    """Of all leases, and of addresses of endpoints that have none."""
    left = dict(endpoints)
    for name in leases.names():
        address = ip_address(name)
        try:
            container_id, _, ifname = leases.owner(name).partition(SEPARATOR)
        except IoFailed:
            container_id, ifname = "", ""
        endpoint = left.get(address)
        if endpoint is not None and _is_of(endpoint, container_id, ifname):
            del left[address]
            yield Holder(address, ENDPOINT, *_container(endpoint), endpoint)
        elif leases.void(name):
            yield Holder(address, VOID, container_id, ifname)
        elif container_id == DOCKER:
            kind = {RESERVED: DOCKER_RESERVED, REQUESTED: DOCKER_REQUESTED}.get(ifname, OTHER)
            yield Holder(address, kind, "", ifname if kind == OTHER else "")
        else:
            yield Holder(address, OTHER, container_id, ifname)
    for address, endpoint in left.items():  # last: what an endpoint has counts for more than another's lease
        yield Holder(address, ENDPOINT, *_container(endpoint), endpoint, leased=False)


def _is_of(endpoint: NamedEndpoint, container_id: str, ifname: str) -> bool:
    """Whether a lease names the endpoint. Old releases of the reference plugin write no interface."""
    holder = endpoint.record.holder
    return container_id == holder[0] and ifname in (holder[1], "")


def _container(endpoint: NamedEndpoint) -> tuple[str, str]:
    return endpoint.container_id, endpoint.record.ifname


def _range_use(member: Range, holders: Collection[Holder]) -> RangeUse:
    inside = [holder for holder in holders if member.holds(holder.address) and holder.kind != VOID]
    return RangeUse(
        member.subnet,
        member.gateway,
        member.address(member.start),
        member.address(member.end),
        frozenset(int(holder.address) for holder in inside if holder.kind not in _RESERVED),
        frozenset(int(holder.address) for holder in inside if holder.kind in _RESERVED),
        member.lost,
    )


def _inside(holders: Collection[Holder], subnet: IPNetwork) -> frozenset[int]:
    return frozenset(int(holder.address) for holder in holders if holder.address in subnet)


def _ordered(holders: Collection[Holder]) -> list[Holder]:
    return sorted(holders, key=lambda holder: (holder.address.version, int(holder.address)))


def _ceil(number: int, by: int) -> int:
    return -(-number // by)


def _drawn(used: int, reserved: int, size: int) -> str:
    if not used:
        return "R" if reserved else "."
    taken = used + reserved
    return "#" if taken == size else "+" if 2 * taken >= size else ":"
