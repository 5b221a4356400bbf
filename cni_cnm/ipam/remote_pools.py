"""Pools of a Docker IPAM plugin: requested when a network is made, kept in its record, released with it."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

from cni_cnm.docker_protocol import IPAM_DRIVER
from cni_cnm.docker_protocol import ipam_messages as messages
from cni_cnm.docker_protocol.plugin import open_plugin, send_removal, undo
from cni_cnm.errors import AddressesExhausted, CnmError, DriverFailed, PluginFailed, PluginRefused
from cni_cnm.fields import Fields
from cni_cnm.ipam import remote_config
from cni_cnm.model import Subnet
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cni_cnm.docker_protocol.plugin import Plugin
    from cni_cnm.ipam.remote_config import WantedPool
    from cni_cnm.model import IPAddress, IpamSpec, IPInterface, IPNetwork, Json

TRIES = 16
"""Pools of the plugin's choice that are requested until one is free on this host. Docker does not stop."""


class Pool(NamedTuple):
    """A pool that the plugin has given. `part` and `space` are as requested, for a repetition of the request."""

    id: str
    pool: IPNetwork
    part: IPNetwork | None = None
    gateway: IPInterface | None = None
    space: str = ""
    aux: Mapping[str, str] = {}
    """Names to addresses with prefix length."""

    @property
    def managed(self) -> bool:
        """False for 0.0.0.0/0 and ::/0: the plugin manages no addresses."""
        return self.pool.prefixlen > 0

    @property
    def subnet(self) -> Subnet:
        return Subnet(self.pool, self.gateway, self.space, self.aux)


class Allocated(NamedTuple):
    """What the network's record has of its plugin."""

    pools: tuple[Pool, ...] = ()
    options: Mapping[str, str] = {}
    wants_mac: bool = False
    replay: bool = False

    def to_json(self) -> Json:
        pools = [
            [one.id, str(one.pool), str(one.part or ""), str(one.gateway or ""), one.space, dict(one.aux)]
            for one in self.pools
        ]
        return {**self._asdict(), "pools": pools}

    @classmethod
    def from_json(cls, raw: Json) -> Allocated:
        pools = tuple(
            Pool(
                pool_id,
                ip_network(pool),
                ip_network(part) if part else None,
                ip_interface(gateway) if gateway else None,
                space,
                aux,
            )
            for pool_id, pool, part, gateway, space, aux in raw["pools"]
        )
        return cls(pools, raw["options"], raw["wants_mac"], raw["replay"])


def allocate(spec: IpamSpec, families: Sequence[int], skipped: frozenset[int], used: Sequence[IPNetwork]) -> Allocated:
    """Request the pools, their gateways and auxiliary addresses: all of them, or none if one fails.

    No gateway is requested for IP versions in `skipped`. A pool that the plugin chooses overlaps nothing in `used`.
    """
    wanted, options = remote_config.parse(spec, families), remote_config.options(spec)
    plugin = open_plugin(spec.type, IPAM_DRIVER)
    can = capabilities(plugin)
    space = remote_config.address_space(spec) or _default_space(plugin)
    found = Allocated((), options, can.requires_mac_address, can.requires_request_replay)
    try:
        for one in wanted:
            request = messages.RequestPool(space, one.pool, one.part, options, one.version == 6)
            response = _request(plugin, request) if one.pool is not None else _choose(plugin, request, used)
            made = Pool(response.pool_id, response.pool, one.part, None, space)
            found = found._replace(pools=(*found.pools, made))
            for stage in _reserve(plugin, made, one, response, skip_gateway=one.version in skipped):
                found = found._replace(pools=(*found.pools[:-1], stage))
    except CnmError as error:
        for message in _releases(found):
            undo(plugin, error, message)
        raise
    return found


def free(name: str, allocated: Allocated) -> None:
    """Release the addresses and the pools, like Docker also a gateway that was not requested.

    PluginRefused, after all is sent, if the plugin refuses one; TryAgain if it does not answer.
    """
    refusal: PluginRefused | None = None
    for message in _releases(allocated):
        try:
            send_removal(name, IPAM_DRIVER, message)
        except PluginRefused as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal


def replay(plugin: Plugin, allocated: Allocated, addresses: Sequence[tuple[str, IPAddress]]) -> None:
    """Request the network's pools and addresses again, and `addresses`, pairs of pool id and endpoint's address.

    DriverFailed if the plugin gives another pool than before.
    """
    for one in allocated.pools:
        request = messages.RequestPool(one.space, one.pool, one.part, allocated.options, one.pool.version == 6)
        response = _request(plugin, request)
        if (response.pool_id, response.pool) != (one.id, one.pool):
            raise DriverFailed(
                f"the plugin {plugin.name} was asked again for the pool {one.pool} ({one.id}), "
                f"and gave {response.pool} ({response.pool_id})",
                hint="remove the network and make it again, see docs/plugins.md",
            )
        held = [(one.gateway.ip, _GATEWAY)] if one.gateway is not None and messages.GATEWAY not in response.data else []
        for address, options in [*held, *((ip_interface(text).ip, {}) for text in one.aux.values())]:
            plugin.send(messages.RequestAddress(one.id, address, options))
    for pool_id, address in addresses:
        plugin.send(messages.RequestAddress(pool_id, address))


def capabilities(plugin: Plugin) -> messages.IpamCapabilities:
    try:
        return messages.IpamCapabilities.from_json(plugin.call_once(messages.GET_CAPABILITIES))
    except PluginFailed as error:
        if not error.unsupported:
            raise
        return messages.IpamCapabilities()


def request_address(plugin: Plugin, message: messages.RequestAddress) -> IPInterface:
    """Request an address. DriverFailed, with nothing reserved, if the plugin gives none or another one."""
    found = messages.RequestAddressResponse.from_json(plugin.send(message)).address
    if found is not None and message.address in (None, found.ip):
        return found
    wanted = f"the address {message.address}" if message.address else "an address"
    error = DriverFailed(f"the plugin {plugin.name} was asked for {wanted} and gave {found or 'none'}")
    if found is not None:
        undo(plugin, error, messages.ReleaseAddress(message.pool_id, found.ip))
    raise error


def _default_space(plugin: Plugin) -> str:
    response = plugin.call(messages.GET_DEFAULT_ADDRESS_SPACES)
    return messages.DefaultAddressSpaces.from_json(response).local_space


_GATEWAY = {messages.REQUEST_ADDRESS_TYPE: messages.GATEWAY}


def _request(plugin: Plugin, request: messages.RequestPool) -> messages.RequestPoolResponse:
    found = messages.RequestPoolResponse.from_json(plugin.send(request))
    wrong = found.pool.prefixlen and (found.pool.version == 6) != request.v6
    if not wrong and request.pool in (None, found.pool):
        return found
    error = DriverFailed(
        f"the plugin {plugin.name} was asked for the pool {request.pool or 'of its choice'} "
        f"of IPv{6 if request.v6 else 4} and gave {found.pool}"
    )
    undo(plugin, error, messages.ReleasePool(found.pool_id))
    raise error


def _choose(plugin: Plugin, request: messages.RequestPool, used: Sequence[IPNetwork]) -> messages.RequestPoolResponse:
    """A pool that is free on this host. The others are released at the end, so that the plugin gives each only once."""
    rejected: list[messages.RequestPoolResponse] = []
    try:
        while True:
            found = _request(plugin, request)
            clash = next((one for one in used if _overlap(one, found.pool)), None)
            if clash is None:
                return found
            again = any(found.pool == one.pool for one in rejected)
            rejected.append(found)
            if again or len(rejected) == TRIES:
                tried = ", ".join(dict.fromkeys(str(one.pool) for one in rejected))
                raise AddressesExhausted(
                    f"the plugin {plugin.name} chose {tried}, which this host uses: {found.pool} overlaps with {clash}",
                    hint="set ipam.subnet",
                )
    finally:
        for pool_id in dict.fromkeys(one.pool_id for one in rejected):
            _release_pool(plugin, pool_id)


def _release_pool(plugin: Plugin, pool_id: str) -> None:
    try:
        plugin.send(messages.ReleasePool(pool_id))
    except CnmError:
        pass  # no network has the pool


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and bool(one.prefixlen and other.prefixlen) and one.overlaps(other)


def _reserve(
    plugin: Plugin, made: Pool, wanted: WantedPool, response: messages.RequestPoolResponse, *, skip_gateway: bool
) -> Iterator[Pool]:
    """Request gateway and auxiliary addresses; yields the pool with what it has after each."""
    if not made.managed:
        return
    if not skip_gateway:
        data = Fields(dict(response.data), f"{messages.REQUEST_POOL} response: Data.", error=DriverFailed)
        gateway = data.interface(messages.GATEWAY)
        if gateway is None or wanted.gateway is not None:
            gateway = request_address(plugin, messages.RequestAddress(made.id, wanted.gateway, _GATEWAY))
        if not gateway.ip.is_unspecified:
            yield (made := made._replace(gateway=gateway))
    for name, address in wanted.aux.items():
        reserved = request_address(plugin, messages.RequestAddress(made.id, address))
        yield (made := made._replace(aux={**made.aux, name: str(reserved)}))


def _releases(allocated: Allocated) -> list[messages.ReleaseAddress | messages.ReleasePool]:
    found: list[messages.ReleaseAddress | messages.ReleasePool] = []
    for one in reversed(allocated.pools):
        held = [*([one.gateway] if one.gateway else []), *(ip_interface(text) for text in one.aux.values())]
        found += [messages.ReleaseAddress(one.id, address.ip) for address in held]
        found.append(messages.ReleasePool(one.id))
    return found
