"""host-local: addresses from ranges, leased in the store that the reference executable of that name uses.

The order of addresses, the files and the lock are its own (see ranges.py, leases.py), so both can serve one
network at the same time. What differs, on purpose: one lock hold for all range sets, all of them or none;
void leases are reclaimed; a second address for an endpoint is refused also when it is requested; no cost
grows with the number of leases.
"""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_interface

from cni_cnm.errors import AddressesExhausted, CheckFailed, Conflict, InvalidConfig, NotReady
from cni_cnm.ipam import ranges, values
from cni_cnm.ipam.contract import LOCAL_SPACE, PoolStatus
from cni_cnm.ipam.leases import Leases
from cni_cnm.model import Address, Lease, Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.ipam.ranges import RangeSet
    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json, Route
    from cni_cnm.settings import Settings

_PATIENCE = 64
"""Taken addresses met one by one before the folder is listed once."""


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, settings: Settings) -> HostLocal:
    """`spec.config` keys: subnet, rangeStart, rangeEnd, gateway, ranges, routes, dataDir, resolvConf."""
    config = spec.config
    resolv_conf = config.get("resolvconf")
    return HostLocal(
        Leases(network, _folder(network, config, settings), settings.run_dir),
        settings.run_dir,
        ranges.parse(config, endpoint.ranges if endpoint else ()),
        values.routes(config.get("routes")),
        values.text(resolv_conf, "ipam.resolvConf") if resolv_conf else "",
    )


def restore(network: str, record: Mapping[str, Json], settings: Settings) -> HostLocal:
    """From `record()`; an empty one, which an early kill can leave, means the default folder."""
    folder = record.get("folder") or f"{settings.leases_dir}/{network}"
    run_dir = record.get("run_dir") or settings.run_dir
    addresses = record.get("addresses")
    held = None if addresses is None else tuple(ip_address(text) for text in addresses)
    return HostLocal(Leases(network, folder, run_dir), run_dir, held=held)


def release_unrecorded(
    network: str,
    spec: IpamSpec,
    key: EndpointKey,
    environ: Mapping[str, str],  # noqa: ARG001
    last: Callable[[frozenset[IPAddress]], None],
    settings: Settings,
) -> None:
    """Free what an endpoint without a record holds. Cheap if that is nothing: runtimes DEL before ADD."""
    try:
        folder = _folder(network, spec.config, settings)
    except InvalidConfig:
        last(frozenset())  # no address can have been reserved by such a configuration
        return
    leases = Leases(network, folder, settings.run_dir)
    if leases.surely_none(key):
        last(frozenset())
        return
    with leases:
        _free(leases, leases.unrecorded(key), last)


class HostLocal:
    type = "host-local"

    def __init__(
        self,
        leases: Leases,
        run_dir: str,
        sets: Sequence[RangeSet] = (),
        routes: tuple[Route, ...] = (),
        resolv_conf: str = "",
        held: tuple[IPAddress, ...] | None = None,
    ) -> None:
        self.families: tuple[int, ...] | None = tuple(range_set[0].version for range_set in sets)
        self._leases = leases
        self._run_dir = run_dir
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
            Subnet(member.subnet, ip_interface(f"{member.gateway}/{member.subnet.prefixlen}"), LOCAL_SPACE)
            for range_set in self._sets
            for member in range_set
        ]

    def gateways(self) -> Sequence[IPInterface]:
        found = [
            ip_interface(f"{member.gateway}/{member.subnet.prefixlen}")
            for range_set in self._sets
            for member in range_set
        ]
        return list(dict.fromkeys(found))

    def validate(self, endpoint: EndpointSpec) -> None:
        self._requests(endpoint)

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:
        requests = self._requests(endpoint)
        dns = values.resolv_conf(self._resolv_conf) if self._resolv_conf else Lease().dns
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
        last: Callable[[frozenset[IPAddress]], None],
    ) -> None:
        leases = self._leases
        if self._held == () or not os.path.isdir(leases.folder):
            last(frozenset())
            return
        with leases:
            if self._held is None:  # killed between reserving and recording: only the leases themselves know
                held = leases.search(key)
            else:
                held = [address for address in self._held if leases.is_of(str(address), key)]
            _free(leases, held, last)

    def check(self, key: EndpointKey, lease: Lease, environ: Mapping[str, str]) -> None:  # noqa: ARG002
        for address in lease.addresses:
            name = str(address.interface.ip)
            if not self._leases.is_of(name, key):
                owner = " of ".join(reversed(self._leases.owner(name).split())) or "nobody"
                raise CheckFailed(
                    f"the address {name} of container {key.container_id} ({key.ifname}) on the network "
                    f"{key.network} is leased to {owner}",
                    hint=f"see {self._leases.folder}/{name}; DEL and ADD the container again",
                )

    def collect(self, valid: Sequence[EndpointKey], environ: Mapping[str, str]) -> None:
        """Nothing: the endpoint records drive the release."""

    def status(self) -> PoolStatus:
        self._refuse_unusable_folder()
        if not self._sets:
            return PoolStatus(None)
        live = {version: self._leases.numbers(version, live=True) for version in {*(self.families or ())}}
        free, detail = [], []
        for range_set in self._sets:
            capacity = sum(member.capacity for member in range_set)
            used = sum(member.gives(number) for number in live[range_set[0].version] for member in range_set)
            free.append(capacity - used)
            detail.append(f"{capacity - used} of {capacity} free in {ranges.shown(range_set)}")
        return PoolStatus(min(free), "; ".join(detail))

    def record(self) -> Mapping[str, Json]:
        held = {} if self._held is None else {"addresses": [str(address) for address in self._held]}
        return {"folder": self._leases.folder, "run_dir": self._run_dir, **held}

    # ------------------------------------------------------------------------

    def _requests(self, endpoint: EndpointSpec) -> list[IPAddress | None]:
        """The requested address of each set, or None. InvalidConfig for one that no set can ever give."""
        left = list(dict.fromkeys(getattr(wish, "ip", wish) for wish in endpoint.addresses))
        wanted: list[IPAddress | None] = []
        for range_set in self._sets:
            wish = next((address for address in left if ranges.holder(range_set, address)), None)
            member = ranges.holder(range_set, wish) if wish else None
            if wish and member:
                if wish == member.gateway:
                    raise InvalidConfig(f"the requested address {wish} is the gateway of {member.subnet}")
                left.remove(wish)
            wanted.append(wish)
        if left:
            raise InvalidConfig(
                f"the requested address {left[0]} is not one of {'; '.join(map(ranges.shown, self._sets))}",
                hint="one address can be requested from each range set",
            )
        return wanted

    def _refuse_second(self, key: EndpointKey) -> None:
        for address in self._leases.unrecorded(key):
            held = any(ranges.holder(range_set, address) for range_set in self._sets)
            if held and not self._leases.void(str(address)):
                raise Conflict(
                    f"container {key.container_id} has {address} of network {key.network} already",
                    hint="DEL it first; the lease is another program's or of an ADD that was cut short",
                )

    def _request(self, range_set: RangeSet, address: IPAddress, key: EndpointKey) -> IPAddress:
        if self._leases.reserve(address, key):
            return address
        raise InvalidConfig(
            f"the requested address {address} of the network {key.network} is taken",
            hint=f"{self._leases.folder}/{address} tells its holder; range set {ranges.shown(range_set)}",
        )

    def _next(self, range_set: RangeSet, index: int, key: EndpointKey) -> IPAddress:
        last = self._leases.last_reserved(index)
        candidates = ranges.ring(range_set, last)
        for _, (member, number) in zip(range(_PATIENCE), candidates, strict=False):
            if self._leases.reserve(address := member.address(number), key):
                return address
        taken = self._leases.numbers(range_set[0].version)
        for member, number in candidates:
            if number not in taken and self._leases.reserve(address := member.address(number), key):
                return address
        for member, number in ranges.ring(range_set, last):  # full: what is void among the rest
            address = member.address(number)
            if self._leases.void(str(address)) and self._leases.reserve(address, key):
                return address
        raise AddressesExhausted(
            f"the network {key.network} has no free address in {ranges.shown(range_set)}",
            hint=f"remove containers or widen the range; `ls {self._leases.folder}` shows what is leased",
        )

    def _refuse_unusable_folder(self) -> None:
        folder = self._leases.folder
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
            raise NotReady(
                f"no lease can be written: {folder} is no writable folder",
                hint="is its file system mounted read-only?",
            )


def _free(leases: Leases, held: Sequence[IPAddress], last: Callable[[frozenset[IPAddress]], None]) -> None:
    last(frozenset(held))
    for address in held:
        leases.remove(address)


def _folder(network: str, config: Mapping[str, Json], settings: Settings) -> str:
    if not network or network in (".", "..") or "/" in network or "\0" in network:
        raise InvalidConfig(f"{network!r} is no network name", hint="it names a folder of leases")
    data_dir = config.get("datadir")
    if not data_dir:
        return f"{settings.leases_dir}/{network}"
    if not os.path.isabs(values.text(data_dir, "ipam.dataDir")):
        raise InvalidConfig(f"ipam.dataDir is {data_dir!r}, it must be an absolute path")
    return f"{os.path.normpath(data_dir)}/{network}"
