"""The addresses of a Docker IPAM plugin: one of each pool of the network, requested and released an endpoint at a time.

Pools are the network's (remote_pools.py); what an endpoint was given is on disk (remote_leases.py) from the moment the
plugin has said it. A plugin that keeps nothing (RequiresRequestReplay) is told all of it again when it knows a pool no
more.
"""

from __future__ import annotations

from cni_cnm.docker_protocol import IPAM_DRIVER
from cni_cnm.docker_protocol import ipam_messages as messages
from cni_cnm.docker_protocol.plugin import open_plugin, require_answer, send_removal, undo
from cni_cnm.errors import CheckFailed, CnmError, InvalidConfig, NoSuchNetwork, PluginFailed, PluginRefused
from cni_cnm.ipam import remote_pools as pools
from cni_cnm.ipam import values
from cni_cnm.ipam.contract import ALLOCATED, PoolStatus
from cni_cnm.ipam.remote_leases import RemoteLeases
from cni_cnm.model import Address, Dns, Lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.docker_protocol.plugin import Plugin
    from cni_cnm.ipam.remote_leases import Leased
    from cni_cnm.ipam.remote_pools import Allocated, Pool
    from cni_cnm.model import (
        EndpointKey,
        EndpointSpec,
        IPAddress,
        IpamSpec,
        IPInterface,
        IPNetwork,
        Json,
        Route,
        Subnet,
    )
    from cni_cnm.settings import Settings


NO_DNS = Dns()
RELEASE_LIMIT_S = 5.0
"""Of giving back one address, for which the caller may hold up the repair of the packet filter."""


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, settings: Settings) -> Remote:  # noqa: ARG001
    raw = spec.config.get(ALLOCATED)
    allocated = pools.Allocated.from_json(raw) if raw else None
    if allocated is None:
        pools.parse(spec, (4,))  # what can be refused is refused before the plugin is asked for anything
    routes, dns = values.routes(spec.config.get("routes")), values.dns(spec.config.get("dns"))
    return Remote(spec.type, RemoteLeases(network, settings), allocated, routes, dns)


def restore(network: str, record: Mapping[str, Json], settings: Settings) -> Remote:
    return Remote(record["plugin"], RemoteLeases(network, settings))


def release_unrecorded(
    network: str,
    spec: IpamSpec,
    key: EndpointKey,
    environ: Mapping[str, str],
    last: Callable[[frozenset[IPAddress]], None],
    settings: Settings,
) -> None:
    Remote(spec.type, RemoteLeases(network, settings)).release(key, environ, last)


def leased(network: str, key: EndpointKey, settings: Settings) -> bool:
    """Whether an endpoint has addresses of an IPAM plugin, whatever the configuration says now."""
    return RemoteLeases(network, settings).of(key) is not None


def allocate(
    spec: IpamSpec, families: Sequence[int], skipped: frozenset[int], used: Sequence[IPNetwork]
) -> Mapping[str, Json]:
    return {ALLOCATED: pools.allocate(spec, families, skipped, used).to_json()}


def free(network: str, spec: IpamSpec, settings: Settings, *, force: bool) -> None:
    """What leases there still are, and the pools. Complained at last; TryAgain if the plugin does not answer.

    With `force` the leases are forgotten also then.
    """
    complaint: PluginRefused | None = None
    found = configure(network, spec, None, settings)
    try:
        for step in (found.clear, found.free):
            try:
                step()
            except PluginRefused as error:
                complaint = complaint or error
    finally:
        if force:
            found.forget()
    if complaint is not None:
        raise complaint


class Remote:
    def __init__(
        self,
        plugin: str,
        leases: RemoteLeases,
        allocated: Allocated | None = None,
        routes: tuple[Route, ...] = (),
        dns: Dns = NO_DNS,
    ) -> None:
        self.type = plugin
        self._leases = leases
        self._allocated = allocated
        self._routes = routes
        self._dns = dns
        # Before it has been asked for pools only the plugin knows.
        self.families: tuple[int, ...] | None = tuple(p.pool.version for p in self._managed) if allocated else None
        self.wants_mac = allocated is not None and allocated.wants_mac

    def subnets(self) -> Sequence[Subnet]:
        return [one.subnet for one in self._allocated.pools] if self._allocated else []

    def gateways(self) -> Sequence[IPInterface]:
        return [one.gateway for one in self._managed if one.gateway is not None]

    def validate(self, endpoint: EndpointSpec) -> None:
        if endpoint.ranges:
            raise InvalidConfig(
                f"ranges of the runtime (ipRanges) are not for the IPAM plugin {self.type}", hint="it has pools instead"
            )
        self._requests(endpoint)

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:
        if self._allocated is None:
            raise NoSuchNetwork(f"no pools were requested for the network {key.network}")
        requests = self._requests(endpoint)
        self.reap()
        left = self._leases.of(key)
        if left is not None:  # of a request that was cut short
            self._let_go(left)
        found, plugin = self._leases.begin(key, self.type), open_plugin(self.type, IPAM_DRIVER)
        said = {messages.ENDPOINT_NAME: key.container_id}
        if self.wants_mac:
            said[messages.ENDPOINT_MAC] = endpoint.mac
        try:
            for one, wish in zip(self._managed, requests, strict=True):
                given = self._request(plugin, messages.RequestAddress(one.id, wish, said))
                found = found._replace(held=(*found.held, (one.id, given)))
                self._leases.put(found)
        except CnmError as error:
            for pool_id, address in found.held:
                undo(plugin, error, messages.ReleaseAddress(pool_id, address.ip))
            self._leases.forget(found)
            raise
        ways = [one.gateway.ip if one.gateway else None for one in self._managed]
        addresses = tuple(Address(address, way) for (_, address), way in zip(found.held, ways, strict=True))
        return Lease(addresses, self._routes, self._dns)

    def release(
        self,
        key: EndpointKey,
        environ: Mapping[str, str],  # noqa: ARG002
        last: Callable[[frozenset[IPAddress]], None],
    ) -> None:
        """Complained if the plugin does not want it back; TryAgain, and it stays on record, if it does not answer."""
        held = self._leases.of(key)
        last(frozenset(address.ip for _, address in held.held) if held else frozenset())
        if held is not None:
            self._give_back(held)

    def check(self, key: EndpointKey, lease: Lease, environ: Mapping[str, str]) -> None:  # noqa: ARG002
        held = self._leases.of(key)
        mine = {address for _, address in held.held} if held else set()
        for address in lease.addresses:
            if address.interface not in mine:
                raise CheckFailed(
                    f"the address {address.interface} is on record as none that the plugin {self.type} gave "
                    f"container {key.container_id} ({key.ifname})",
                    hint="DEL and ADD the container again",
                )

    def collect(self, valid: Sequence[EndpointKey], environ: Mapping[str, str]) -> None:  # noqa: ARG002
        """The endpoint records drive the release; what a reboot left is nobody's."""
        self.reap()

    def status(self) -> PoolStatus:
        require_answer(self.type, IPAM_DRIVER, messages.GET_CAPABILITIES)
        return PoolStatus(None)

    def record(self) -> Mapping[str, Json]:
        return {"plugin": self.type}

    def reap(self) -> None:
        """Give back what endpoints of an earlier epoch had."""
        for one in self._leases.stale():
            self._let_go(one)

    def clear(self) -> None:
        """Give back what leases there are: those of endpoints that were removed without the plugin."""
        complaint: PluginRefused | None = None
        for one in self._leases.all():
            try:
                self._give_back(one)
            except PluginRefused as error:
                complaint = complaint or error
        if complaint is not None:
            raise complaint

    def forget(self) -> None:
        for one in self._leases.all():
            self._leases.forget(one)

    def free(self) -> None:
        if self._allocated is not None:
            pools.free(self.type, self._allocated)

    # ------------------------------------------------------------------------

    @property
    def _managed(self) -> list[Pool]:
        return [one for one in self._allocated.pools if one.managed] if self._allocated else []

    def _requests(self, endpoint: EndpointSpec) -> list[IPAddress | None]:
        """The requested address of each pool, or None. InvalidConfig for one that is of none of them."""
        left = list(dict.fromkeys(getattr(wish, "ip", wish) for wish in endpoint.addresses))
        found: list[IPAddress | None] = []
        for one in self._managed:
            wish = next((address for address in left if address in one.pool), None)
            if wish is not None:
                left.remove(wish)
            found.append(wish)
        if left and self._allocated is not None:
            shown = ", ".join(str(one.pool) for one in self._managed) or "no pool"
            raise InvalidConfig(
                f"the requested address {left[0]} is not one of {shown}",
                hint="one address can be requested from each pool",
            )
        return found

    def _request(self, plugin: Plugin, message: messages.RequestAddress) -> IPInterface:
        try:
            return pools.given_address(plugin, message)
        except PluginFailed:
            assert self._allocated is not None
            if not self._allocated.replay:
                raise
            # It may have been restarted, and says so in words of its own: tell it all, once, and ask again.
            addresses = [(pool_id, address.ip) for one in self._leases.all() for pool_id, address in one.held]
            try:
                pools.replay(plugin, self._allocated, addresses)
            except PluginFailed:
                pass  # it knows them, because that was not the reason, or because another request was faster
            return pools.given_address(plugin, message)

    def _let_go(self, leased: Leased) -> None:
        """Nobody waits for it: what the plugin has to say of it is for nobody."""
        try:
            self._give_back(leased)
        except PluginRefused:
            pass

    def _give_back(self, leased: Leased) -> None:
        complaint: PluginRefused | None = None
        for pool_id, address in leased.held:
            try:
                message = messages.ReleaseAddress(pool_id, address.ip)
                send_removal(leased.plugin, IPAM_DRIVER, message, limit_s=RELEASE_LIMIT_S)
            except PluginRefused as error:
                complaint = complaint or error
        self._leases.forget(leased)
        if complaint is not None:
            raise complaint
