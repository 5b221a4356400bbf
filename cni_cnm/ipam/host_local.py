"""host-local: addresses from ranges, leased in the folder that the reference executable of that name uses.

The order of addresses, the files and the lock are the reference's (ranges.py, leases.py), so both can serve a network
at the same time. Four things differ. An endpoint gets addresses from all range sets or from none, under one hold of
the lock. Void leases are reclaimed. A second address for an endpoint is refused, also if it is requested. No cost grows
with the number of leases.
"""

from __future__ import annotations

import os

from cni_cnm import validate
from cni_cnm.errors import AddressesExhausted, CheckFailed, Conflict, InvalidConfig, NotReady
from cni_cnm.fields import Fields
from cni_cnm.ipam import ranges, routes
from cni_cnm.ipam.contract import LOCAL_SPACE, PoolStatus
from cni_cnm.ipam.leases import Leases
from cni_cnm.memo import Memo
from cni_cnm.model import Address, Dns, Lease, Subnet, ip_address, ip_interface
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.ipam.contract import IpamHost
    from cni_cnm.ipam.ranges import RangeSet
    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json, Route

_parsed: Memo[tuple[str, tuple[RangeSet, ...], tuple[Route, ...], str]] = Memo()
_TRIES = 64
"""Addresses that are tried one by one before the folder is listed."""


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, host: IpamHost) -> HostLocal:
    """Keys of `spec.config`: subnet, rangeStart, rangeEnd, gateway, ranges, routes, dataDir, resolvConf."""
    requested = endpoint.ranges if endpoint else ()

    def parse() -> tuple[str, tuple[RangeSet, ...], tuple[Route, ...], str]:
        ipam = Fields(spec.config, "ipam.")
        folder = folder_of(network, ipam, host)
        return folder, ranges.parse(ipam, requested), routes.read(ipam), ipam.text("resolvConf")

    given = spec.config, tuple(requested), host.settings.leases_dir
    folder, sets, listed, resolv_conf = _parsed.get(network, given, parse)
    return HostLocal(Leases(network, folder, host), sets, listed, resolv_conf)


def restore(network: str, record: Mapping[str, Json], host: IpamHost) -> HostLocal:
    """From `record()`. An empty one, which a kill can leave, means the default folder."""
    folder = record.get("folder") or f"{host.settings.leases_dir}/{network}"
    addresses = record.get("addresses")
    held = None if addresses is None else tuple(ip_address(text) for text in addresses)
    return HostLocal(Leases(network, folder, host), held=held)


def release_unrecorded(
    network: str,
    spec: IpamSpec,
    key: EndpointKey,
    environ: Mapping[str, str],  # noqa: ARG001
    before_release: Callable[[frozenset[IPAddress]], None],
    host: IpamHost,
) -> None:
    """Release the leases of an endpoint without a record. Fast if there are none: runtimes send DEL before ADD."""
    try:
        folder = folder_of(network, Fields(spec.config, "ipam."), host)
    except InvalidConfig:
        before_release(frozenset())  # no address can have been reserved with such a configuration
        return
    leases = Leases(network, folder, host)
    if leases.has_none(key):
        before_release(frozenset())
        return
    with leases:
        # There may be a record that cannot be read, whose leases the index leaves out.
        found = leases.search(key) if host.store.has(ENDPOINTS, key.id) else leases.unrecorded(key)
        _release(leases, found, before_release)


class HostLocal:
    type = "host-local"
    wants_mac = False
    needs_interface = False

    def __init__(
        self,
        leases: Leases,
        sets: Sequence[RangeSet] = (),
        routes: tuple[Route, ...] = (),
        resolv_conf: str = "",
        held: tuple[IPAddress, ...] | None = None,
    ) -> None:
        self.families: tuple[int, ...] | None = tuple(range_set[0].version for range_set in sets)
        self._leases = leases
        self._sets = sets
        self._routes = routes
        self._resolv_conf = resolv_conf
        self._held = held

    @property
    def leases(self) -> Leases:
        return self._leases

    @property
    def sets(self) -> Sequence[RangeSet]:
        return self._sets

    def subnets(self) -> Sequence[Subnet]:
        return [
            Subnet(member.subnet, member.gateway_interface, LOCAL_SPACE, key=member.key)
            for range_set in self._sets
            for member in range_set
        ]

    def gateways(self) -> Sequence[IPInterface]:
        return ranges.gateways(self._sets)

    def validate(self, endpoint: EndpointSpec) -> None:
        self._requests(endpoint)

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:
        requests = self._requests(endpoint)
        dns = _dns(self._resolv_conf)
        taken: list[IPAddress] = []
        found: list[Address] = []
        with self._leases:
            self._refuse_second(key)
            try:
                for range_set, request, index in zip(self._sets, requests, range(len(requests)), strict=True):
                    address = self._request(range_set, request, key) if request else self._next(range_set, index, key)
                    taken.append(address)
                    member = ranges.holder(range_set, address)
                    assert member is not None
                    found.append(Address(ip_interface(f"{address}/{member.subnet.prefixlen}"), member.gateway))
                for index, address in enumerate(taken):
                    self._leases.set_last_reserved(index, address)
            except BaseException:
                for address in taken:
                    self._leases.remove(address)
                raise
        self._held = tuple(taken)
        return Lease(tuple(found), self._routes, dns)

    def release(
        self,
        key: EndpointKey,
        environ: Mapping[str, str],  # noqa: ARG002
        before_release: Callable[[frozenset[IPAddress]], None],
    ) -> None:
        leases = self._leases
        if self._held == () or not leases.exists():
            before_release(frozenset())
            return
        with leases:
            if self._held is None:  # a kill after reserving and before recording: only the leases have it
                held = leases.search(key)
            else:
                held = [address for address in self._held if leases.is_of(str(address), key)]
            _release(leases, held, before_release)

    def check(self, key: EndpointKey, lease: Lease, environ: Mapping[str, str]) -> None:  # noqa: ARG002
        for address in lease.addresses:
            name = str(address.interface.ip)
            if not self._leases.is_of(name, key):
                owner = " of ".join(reversed(self._leases.owner(name).split())) or "no container"
                raise CheckFailed(
                    f"the address {name} of container {key.container_id} ({key.ifname}) on the network "
                    f"{key.network} is leased to {owner}",
                    hint=f"the lease is {self._leases.folder}/{name}; DEL and ADD the container again",
                )

    def collect(self, valid: Sequence[EndpointKey], environ: Mapping[str, str]) -> None:
        """Nothing to do: the caller releases what its endpoint records name."""

    @property
    def capacity(self) -> int:
        """How many endpoints the ranges are enough for; 0: there are no ranges."""
        return min((sum(member.capacity for member in range_set) for range_set in self._sets), default=0)

    @property
    def free(self) -> int:
        """How many more they are enough for, where a lease that is void counts as held."""
        held = {version: self._leases.numbers(version) for version in {*(self.families or ())}}
        return min(
            sum(member.capacity for member in range_set)
            - sum(member.allocates(number) for number in held[range_set[0].version] for member in range_set)
            for range_set in self._sets
        )

    def status(self) -> PoolStatus:
        self._refuse_unusable_folder()
        if not self._sets:
            return PoolStatus(None)
        if all(self._offers_next(range_set, index) for index, range_set in enumerate(self._sets)):
            return PoolStatus(1)  # thousands of leases are not listed
        capacities = [sum(member.capacity for member in range_set) for range_set in self._sets]
        live = {version: self._leases.numbers(version, live=True) for version in {*(self.families or ())}}
        free, detail = [], []
        for range_set, capacity in zip(self._sets, capacities, strict=True):
            used = sum(member.allocates(number) for number in live[range_set[0].version] for member in range_set)
            free.append(capacity - used)
            detail.append(f"{capacity - used} of {capacity} free in {ranges.shown(range_set)}")
        return PoolStatus(min(free), "; ".join(detail))

    def record(self) -> Mapping[str, Json]:
        held = {} if self._held is None else {"addresses": [str(address) for address in self._held]}
        return {"folder": self._leases.folder, **held}

    # ------------------------------------------------------------------------

    def _requests(self, endpoint: EndpointSpec) -> list[IPAddress | None]:
        """The requested address of each set, or None. InvalidConfig for one that no set can allocate."""
        left = list(dict.fromkeys(getattr(request, "ip", request) for request in endpoint.addresses))
        found: list[IPAddress | None] = []
        for range_set in self._sets:
            request = next((address for address in left if ranges.holder(range_set, address)), None)
            member = ranges.holder(range_set, request) if request else None
            if request and member:
                if request == member.gateway:
                    raise InvalidConfig(f"the requested address {request} is the gateway of {member.subnet}")
                left.remove(request)
            found.append(request)
        if left:
            raise InvalidConfig(
                f"the requested address {left[0]} is not in {'; '.join(map(ranges.shown, self._sets))}",
                hint="one address can be requested from each range set",
            )
        return found

    def _refuse_second(self, key: EndpointKey) -> None:
        for address in self._leases.unrecorded(key):
            held = any(ranges.holder(range_set, address) for range_set in self._sets)
            if held and not self._leases.void(str(address)):
                raise Conflict(
                    f"container {key.container_id} already has the address {address} of the network {key.network}",
                    hint="DEL it first; another program made the lease, or an ADD that was killed",
                )

    def _request(self, range_set: RangeSet, address: IPAddress, key: EndpointKey) -> IPAddress:
        if self._leases.reserve(address, key):
            return address
        raise InvalidConfig(
            f"the requested address {address} of the network {key.network} is leased",
            hint=f"{self._leases.folder}/{address} has the container; the range set is {ranges.shown(range_set)}",
        )

    def _next(self, range_set: RangeSet, index: int, key: EndpointKey) -> IPAddress:
        last = self._leases.last_reserved(index)
        candidates = ranges.in_order(range_set, last)
        for _, (member, number) in zip(range(_TRIES), candidates, strict=False):
            if self._leases.reserve(address := member.address(number), key):
                return address
        taken = self._leases.numbers(range_set[0].version)
        for member, number in candidates:
            if number not in taken and self._leases.reserve(address := member.address(number), key):
                return address
        for member, number in ranges.in_order(range_set, last):  # all have a lease: take one that is void
            address = member.address(number)
            if self._leases.void(str(address)) and self._leases.reserve(address, key):
                return address
        raise AddressesExhausted(
            f"the network {key.network} has no free address in {ranges.shown(range_set)}",
            hint=f"remove containers or widen the range; `cni-cnm ipam show {key.network}` shows who has them",
        )

    def _offers_next(self, range_set: RangeSet, index: int) -> bool:
        """Whether one of the first addresses that `acquire` would try has no lease."""
        candidates = ranges.in_order(range_set, self._leases.last_reserved(index))
        return any(
            not self._leases.has(str(member.address(number)))
            for _, (member, number) in zip(range(_TRIES), candidates, strict=False)
        )

    def _refuse_unusable_folder(self) -> None:
        folder = self._leases.folder
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
            raise NotReady(
                f"no lease can be written: {folder} is not a writable folder",
                hint="see with findmnt whether its file system is mounted read-only",
            )


def _release(leases: Leases, held: Sequence[IPAddress], before_release: Callable[[frozenset[IPAddress]], None]) -> None:
    before_release(frozenset(held))
    for address in held:
        leases.remove(address)


def _dns(resolv_conf: str) -> Dns:
    if not resolv_conf:
        return Dns()
    from cni_cnm.ipam import dns

    return dns.read_file(resolv_conf)


def folder_of(network: str, ipam: Fields, host: IpamHost) -> str:
    """Where the leases of a network are. InvalidConfig if its `dataDir` is no absolute path."""
    validate.require(validate.network_name, network, "the network's name")
    data_dir = ipam.text("dataDir")
    if not data_dir:
        return f"{host.settings.leases_dir}/{network}"
    if not os.path.isabs(data_dir):
        raise ipam.wrong("dataDir", "an absolute path")
    return f"{os.path.normpath(data_dir)}/{network}"
