"""The addresses of a Docker IPAM plugin: an endpoint gets one from each pool of its network.

The network's pools are remote_pools.py's. An endpoint's addresses are recorded (remote_leases.py) as soon as the plugin
has answered. A plugin that stores nothing (RequiresRequestReplay) is sent all requests again if it no longer knows a
pool.
"""

from __future__ import annotations

from functools import partial

from cni_cnm.docker_protocol import IPAM_DRIVER
from cni_cnm.docker_protocol import ipam_messages as messages
from cni_cnm.docker_protocol.plugin import open_plugin, require_answer, send_removal, undo
from cni_cnm.errors import CheckFailed, CnmError, InvalidConfig, NoSuchNetwork, PluginFailed, PluginRefused
from cni_cnm.fields import Fields
from cni_cnm.ipam import dns, remote_config, routes
from cni_cnm.ipam import remote_pools as pools
from cni_cnm.ipam.contract import ALLOCATED, PoolStatus
from cni_cnm.ipam.remote_leases import RemoteLeases
from cni_cnm.model import Address, Dns, Lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cni_cnm.docker_protocol.plugin import Plugin
    from cni_cnm.ipam.contract import IpamHost
    from cni_cnm.ipam.remote_leases import RemoteLease
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


NO_DNS = Dns()
RELEASE_LIMIT_S = 5.0
"""For the release of one address: meanwhile the packet filter may not be repaired."""


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, host: IpamHost) -> Remote:  # noqa: ARG001
    raw = spec.config.get(ALLOCATED)
    allocated = pools.Allocated.from_json(raw) if raw else None
    if allocated is None:
        remote_config.parse(spec, (4,))  # refuses before anything is requested
    ipam = Fields(spec.config, "ipam.")
    return Remote(spec.type, RemoteLeases(network, host), allocated, routes.read(ipam), dns.read(ipam))


def restore(network: str, record: Mapping[str, Json], host: IpamHost) -> Remote:
    return Remote(record["plugin"], RemoteLeases(network, host))


def release_unrecorded(
    network: str,
    spec: IpamSpec,
    key: EndpointKey,
    environ: Mapping[str, str],
    before_release: Callable[[frozenset[IPAddress]], None],
    host: IpamHost,
) -> None:
    Remote(spec.type, RemoteLeases(network, host)).release(key, environ, before_release)


def has_lease(network: str, key: EndpointKey, host: IpamHost) -> bool:
    """Whether an endpoint has addresses of an IPAM plugin, also if the configuration has another IPAM now."""
    return RemoteLeases(network, host).of(key) is not None


def allocate(
    spec: IpamSpec, families: Sequence[int], skipped: frozenset[int], used: Sequence[IPNetwork]
) -> Mapping[str, Json]:
    return {ALLOCATED: pools.allocate(spec, families, skipped, used).to_json()}


def free(network: str, spec: IpamSpec, host: IpamHost, *, force: bool) -> None:
    """Release the addresses that are left, and the pools.

    PluginRefused, after all is sent, if the plugin refuses one; TryAgain if it does not answer. `force`: the records of
    the addresses are deleted also then.
    """
    found = configure(network, spec, None, host)
    try:
        _run_all((found.release_all, found.release_pools))
    finally:
        if force:
            found.delete_records()


class Remote:
    needs_interface = False

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
        # Without the pools only the plugin knows.
        self.families: tuple[int, ...] | None = tuple(p.pool.version for p in self._managed) if allocated else None
        self.wants_mac = allocated is not None and allocated.wants_mac

    def subnets(self) -> Sequence[Subnet]:
        return [one.subnet for one in self._allocated.pools] if self._allocated else []

    def gateways(self) -> Sequence[IPInterface]:
        return [one.gateway for one in self._managed if one.gateway is not None]

    def validate(self, endpoint: EndpointSpec) -> None:
        if endpoint.ranges:
            raise InvalidConfig(
                f"runtimeConfig.ipRanges is given, and the IPAM plugin {self.type} takes no ranges from the runtime",
                hint="set the plugin's pools in the ipam",
            )
        self._requests(endpoint)

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:
        if self._allocated is None:
            raise NoSuchNetwork(f"no pools were requested for the network {key.network}")
        requests = self._requests(endpoint)
        self.release_stale()
        left = self._leases.of(key)
        if left is not None:  # of a request that was killed
            self._release_unless_refused(left)
        lease, plugin = self._leases.new(key, self.type), open_plugin(self.type, IPAM_DRIVER)
        options = {messages.ENDPOINT_NAME: key.container_id}
        if self.wants_mac:
            options[messages.ENDPOINT_MAC] = endpoint.mac
        try:
            for pool, request in zip(self._managed, requests, strict=True):
                address = self._request(plugin, messages.RequestAddress(pool.id, request, options))
                lease = lease._replace(held=(*lease.held, (pool.id, address)))
                self._leases.put(lease)
        except CnmError as error:
            for pool_id, address in lease.held:
                undo(plugin, error, messages.ReleaseAddress(pool_id, address.ip))
            self._leases.delete(lease)
            raise
        gateways = [pool.gateway.ip if pool.gateway else None for pool in self._managed]
        addresses = tuple(Address(held[1], gateway) for held, gateway in zip(lease.held, gateways, strict=True))
        return Lease(addresses, self._routes, self._dns)

    def release(
        self,
        key: EndpointKey,
        environ: Mapping[str, str],  # noqa: ARG002
        before_release: Callable[[frozenset[IPAddress]], None],
    ) -> None:
        """PluginRefused if the plugin refuses; TryAgain, and the record stays, if it does not answer."""
        lease = self._leases.of(key)
        before_release(frozenset(address.ip for _, address in lease.held) if lease else frozenset())
        if lease is not None:
            self._release(lease)

    def check(self, key: EndpointKey, lease: Lease, environ: Mapping[str, str]) -> None:  # noqa: ARG002
        recorded = self._leases.of(key)
        held = {address for _, address in recorded.held} if recorded else set()
        for address in lease.addresses:
            if address.interface not in held:
                raise CheckFailed(
                    f"the address {address.interface} of container {key.container_id} ({key.ifname}) is not recorded "
                    f"as one that the plugin {self.type} has given it",
                    hint="DEL and ADD the container again",
                )

    def collect(self, valid: Sequence[EndpointKey], environ: Mapping[str, str]) -> None:  # noqa: ARG002
        """Release the addresses of earlier epochs. The caller releases what its endpoint records name."""
        self.release_stale()

    def status(self) -> PoolStatus:
        require_answer(self.type, IPAM_DRIVER, messages.GET_CAPABILITIES)
        return PoolStatus(None)

    def record(self) -> Mapping[str, Json]:
        return {"plugin": self.type}

    def release_stale(self) -> None:
        """Release the addresses of endpoints of earlier epochs."""
        for lease in self._leases.stale():
            self._release_unless_refused(lease)

    def release_all(self) -> None:
        """Release all recorded addresses: those of endpoints that were removed while the plugin did not answer."""
        _run_all(partial(self._release, lease) for lease in self._leases.all())

    def delete_records(self) -> None:
        for lease in self._leases.all():
            self._leases.delete(lease)

    def release_pools(self) -> None:
        if self._allocated is not None:
            pools.free(self.type, self._allocated)

    # ------------------------------------------------------------------------

    @property
    def _managed(self) -> list[Pool]:
        return [one for one in self._allocated.pools if one.managed] if self._allocated else []

    def _requests(self, endpoint: EndpointSpec) -> list[IPAddress | None]:
        """The requested address of each pool, or None. InvalidConfig for one that is in no pool."""
        left = list(dict.fromkeys(getattr(request, "ip", request) for request in endpoint.addresses))
        found: list[IPAddress | None] = []
        for pool in self._managed:
            request = next((address for address in left if address in pool.pool), None)
            if request is not None:
                left.remove(request)
            found.append(request)
        if left and self._allocated is not None:
            shown = ", ".join(str(pool.pool) for pool in self._managed) or "any pool"
            raise InvalidConfig(
                f"the requested address {left[0]} is not in {shown}",
                hint="one address can be requested from each pool",
            )
        return found

    def _request(self, plugin: Plugin, message: messages.RequestAddress) -> IPInterface:
        try:
            return pools.request_address(plugin, message)
        except PluginFailed:
            assert self._allocated is not None
            if not self._allocated.replay:
                raise
            # The plugin may have been restarted; its error does not tell. Send it all requests again, once.
            addresses = [(pool_id, address.ip) for one in self._leases.all() for pool_id, address in one.held]
            try:
                pools.replay(plugin, self._allocated, addresses)
            except PluginFailed:
                pass  # the plugin knows them: another request was faster, or there is another cause
            return pools.request_address(plugin, message)

    def _release_unless_refused(self, lease: RemoteLease) -> None:
        """Release addresses whose endpoint no longer exists, so a refusal is ignored."""
        try:
            self._release(lease)
        except PluginRefused:
            pass

    def _release(self, lease: RemoteLease) -> None:
        requests = [messages.ReleaseAddress(pool_id, address.ip) for pool_id, address in lease.held]
        steps = [partial(send_removal, lease.plugin, IPAM_DRIVER, one, limit_s=RELEASE_LIMIT_S) for one in requests]
        _run_all([*steps, partial(self._leases.delete, lease)])


def _run_all(steps: Iterable[Callable[[], object]]) -> None:
    """Run all steps. PluginRefused does not keep the later ones from running; the first one is raised at the end."""
    refusal: PluginRefused | None = None
    for step in steps:
        try:
            step()
        except PluginRefused as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal
