"""Pools of a Docker IPAM plugin: requested once for a network, kept in its record, released with it.

    {"type": "NAME", "subnet": "10.1.0.0/16", "ipRange": "10.1.5.0/24", "gateway": "10.1.0.1",
     "auxAddresses": {"router": "10.1.0.2"}, "options": {"KEY": "TEXT"}, "addressSpace": "SPACE"}

A subnet a family, the second one by `ranges`, [[{…}], [{…}]] as with host-local. A family without subnet gets what the
plugin chooses.
"""

from __future__ import annotations

from ipaddress import ip_interface, ip_network
from typing import NamedTuple

from cni_cnm.docker_protocol import IPAM_DRIVER
from cni_cnm.docker_protocol import ipam_messages as messages
from cni_cnm.docker_protocol.plugin import open_plugin, send_removal, undo
from cni_cnm.errors import AddressesExhausted, CnmError, DriverFailed, InvalidConfig, PluginFailed, PluginRefused, shown
from cni_cnm.fields import Fields
from cni_cnm.model import Subnet
from cni_cnm.validate import network_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cni_cnm.docker_protocol.plugin import Plugin
    from cni_cnm.model import IPAddress, IpamSpec, IPInterface, IPNetwork, Json

TRIES = 16
"""Pools of the plugin's choice that are looked at before it is given up. Docker asks for ever."""
_ONE_POOL = "an IPAM plugin is asked for one pool of each IP version"
_HOST_LOCAL_ONLY = ("rangeStart", "rangeEnd", "dataDir", "resolvConf")


class Wanted(NamedTuple):
    """A pool as the configuration has it."""

    version: int
    pool: IPNetwork | None = None
    """None: of the plugin's choice."""
    part: IPNetwork | None = None
    gateway: IPAddress | None = None
    aux: Mapping[str, IPAddress] = {}


class Pool(NamedTuple):
    """A pool as the plugin gave it. `request` is repeated word by word where it has lost it."""

    id: str
    pool: IPNetwork
    part: IPNetwork | None = None
    gateway: IPInterface | None = None
    space: str = ""
    aux: Mapping[str, str] = {}
    """Name to address with prefix."""

    @property
    def managed(self) -> bool:
        """0.0.0.0/0: the plugin manages no addresses."""
        return self.pool.prefixlen > 0

    @property
    def subnet(self) -> Subnet:
        return Subnet(self.pool, self.gateway, self.space, self.aux)


class Allocated(NamedTuple):
    """What the network's record keeps."""

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


# what is asked for ------------------------------------------------------------


def parse(spec: IpamSpec, families: Sequence[int]) -> list[Wanted]:
    """IPv4 first, a pool a family. InvalidConfig names the key that is wrong."""
    ipam = _fields(spec)
    for key in _HOST_LOCAL_ONLY:
        if key in ipam:
            raise InvalidConfig(
                f"ipam.{key} is not for the IPAM plugin {spec.type}",
                hint='the part of a subnet that addresses come from is "ipRange", a network in CIDR notation',
            )
    listed = [ipam] if ipam.text("subnet") else []
    for number, members in enumerate(ipam.items("ranges")):
        if not isinstance(members, list) or len(members) != 1:
            raise InvalidConfig(
                f"ipam.ranges[{number}] is {shown(members)}, it must be a list of one subnet", hint=_ONE_POOL
            )
        listed.append(Fields(members[0], f"ipam.ranges[{number}][0]."))
    found = [_wanted(one) for one in listed]
    if len({one.version for one in found}) < len(found):
        raise InvalidConfig("the ipam has two subnets of the same IP version", hint=_ONE_POOL)
    if not listed:
        _refuse_without_subnet(ipam)
        return [Wanted(version) for version in families]
    found += [Wanted(version) for version in families if version == 6 and 6 not in {one.version for one in found}]
    return sorted(found, key=lambda one: one.version)


def options(spec: IpamSpec) -> Mapping[str, str]:
    """`--ipam-opt` of Docker."""
    return _fields(spec).text_mapping("options")


def _fields(spec: IpamSpec) -> Fields:
    """As written: the names of options and of auxiliary addresses are in the user's spelling."""
    written = next((value for key, value in spec.conf.items() if key.lower() == "ipam"), None)
    return Fields(written or dict(spec.config), "ipam.")


def _wanted(fields: Fields) -> Wanted:
    pool = fields.required("subnet", network_of)
    part, gateway = fields.parsed("ipRange", network_of), fields.address("gateway")
    if part is not None and not (part.version == pool.version and part.subnet_of(pool)):  # type: ignore[arg-type]
        raise fields.wrong("ipRange", f"a part of {pool}")
    if gateway is not None and gateway not in pool:
        raise fields.wrong("gateway", f"an address of {pool}")
    names = fields.object("auxAddresses")
    aux: dict[str, IPAddress] = {}
    for name in names.spelled:
        address = names.address(name)
        if address is None or address not in pool:
            raise names.wrong(name, f"an address of {pool}")
        aux[name] = address
    return Wanted(pool.version, pool, part, gateway, aux)


def _refuse_without_subnet(ipam: Fields) -> None:
    for key in ("ipRange", "gateway", "auxAddresses"):
        if ipam.raw(key):
            raise InvalidConfig(f"ipam.{key} is given without ipam.subnet", hint="add the subnet that it is in")


# what the plugin gives ----------------------------------------------------------


def allocate(spec: IpamSpec, families: Sequence[int], skipped: frozenset[int], used: Sequence[IPNetwork]) -> Allocated:
    """Request the pools, their gateways (but of `skipped` families) and auxiliary addresses: all of them or none.

    A pool of the plugin's choice overlaps nothing that is `used` on this host.
    """
    wanted, asked = parse(spec, families), options(spec)
    plugin = open_plugin(spec.type, IPAM_DRIVER)
    can = capabilities(plugin)
    space = (
        _fields(spec).text("addressSpace")
        or messages.DefaultAddressSpaces.from_json(plugin.call(messages.GET_DEFAULT_ADDRESS_SPACES)).local_space
    )
    found = Allocated((), asked, can.requires_mac_address, can.requires_request_replay)
    try:
        for one in wanted:
            request = messages.RequestPool(space, one.pool, one.part, asked, one.version == 6)
            given = _request(plugin, request) if one.pool is not None else _choose(plugin, request, used)
            made = Pool(given.pool_id, given.pool, one.part, None, space)
            found = found._replace(pools=(*found.pools, made))
            for stage in _reserve(plugin, made, one, given, skip_gateway=one.version in skipped):
                found = found._replace(pools=(*found.pools[:-1], stage))
    except CnmError as error:
        for message in _releases(found):
            undo(plugin, error, message)
        raise
    return found


def free(name: str, allocated: Allocated) -> None:
    """Give all of it back, as Docker does also of a gateway that was never requested. Complained at last if so."""
    complaint: PluginRefused | None = None
    for message in _releases(allocated):
        try:
            send_removal(name, IPAM_DRIVER, message)
        except PluginRefused as error:
            complaint = complaint or error
    if complaint is not None:
        raise complaint


def replay(plugin: Plugin, allocated: Allocated, addresses: Sequence[tuple[str, IPAddress]]) -> None:
    """Request again, from a plugin that has lost its memory, what the network has, and `addresses` of its endpoints."""
    for one in allocated.pools:
        request = messages.RequestPool(one.space, one.pool, one.part, allocated.options, one.pool.version == 6)
        given = _request(plugin, request)
        if (given.pool_id, given.pool) != (one.id, one.pool):
            raise DriverFailed(
                f"the plugin {plugin.name} was asked for the pool {one.pool} again and gave {given.pool} "
                f"as {given.pool_id!r}, it was {one.id!r}",
                hint="remove the network and make it again: docs/plugins.md",
            )
        held = [(one.gateway.ip, _GATEWAY)] if one.gateway is not None and messages.GATEWAY not in given.data else []
        for address, said in [*held, *((ip_interface(text).ip, {}) for text in one.aux.values())]:
            plugin.send(messages.RequestAddress(one.id, address, said))
    for pool_id, address in addresses:
        plugin.send(messages.RequestAddress(pool_id, address))


def capabilities(plugin: Plugin) -> messages.IpamCapabilities:
    try:
        return messages.IpamCapabilities.from_json(plugin.call_once(messages.GET_CAPABILITIES))
    except PluginFailed as error:
        if not error.unsupported:
            raise
        return messages.IpamCapabilities()


def given_address(plugin: Plugin, message: messages.RequestAddress) -> IPInterface:
    """The address that was asked for, or any. DriverFailed, with nothing reserved, for another one or none."""
    found = messages.RequestAddressResponse.from_json(plugin.send(message)).address
    if found is not None and message.address in (None, found.ip):
        return found
    wanted = f"the address {message.address}" if message.address else "an address"
    error = DriverFailed(f"the plugin {plugin.name} was asked for {wanted} and gave {found or 'none'}")
    if found is not None:
        undo(plugin, error, messages.ReleaseAddress(message.pool_id, found.ip))
    raise error


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
    """A pool that is free on this host. Those that are not are held until it is found, so that others are given."""
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
                    f"the plugin {plugin.name} chose {tried}, and this host uses them: {found.pool} overlaps {clash}",
                    hint="name the subnet",
                )
    finally:
        for pool_id in dict.fromkeys(one.pool_id for one in rejected):
            _let_go(plugin, pool_id)


def _let_go(plugin: Plugin, pool_id: str) -> None:
    try:
        plugin.send(messages.ReleasePool(pool_id))
    except CnmError:
        pass  # nobody has it, and the plugin is the one to tidy


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and bool(one.prefixlen and other.prefixlen) and one.overlaps(other)


def _reserve(
    plugin: Plugin, made: Pool, wanted: Wanted, given: messages.RequestPoolResponse, *, skip_gateway: bool
) -> Iterator[Pool]:
    """The pool with its gateway, then with each auxiliary address too, as soon as the plugin has given it."""
    if not made.managed:
        return
    if not skip_gateway:
        data = Fields(dict(given.data), f"{messages.REQUEST_POOL} response: Data.", error=DriverFailed)
        gateway = data.interface(messages.GATEWAY)
        if gateway is None or wanted.gateway is not None:
            gateway = given_address(plugin, messages.RequestAddress(made.id, wanted.gateway, _GATEWAY))
        if not gateway.ip.is_unspecified:
            yield (made := made._replace(gateway=gateway))
    for name, address in wanted.aux.items():
        reserved = given_address(plugin, messages.RequestAddress(made.id, address))
        yield (made := made._replace(aux={**made.aux, name: str(reserved)}))


def _releases(allocated: Allocated) -> list[messages.ReleaseAddress | messages.ReleasePool]:
    found: list[messages.ReleaseAddress | messages.ReleasePool] = []
    for one in reversed(allocated.pools):
        held = [*([one.gateway] if one.gateway else []), *(ip_interface(text) for text in one.aux.values())]
        found += [messages.ReleaseAddress(one.id, address.ip) for address in held]
        found.append(messages.ReleasePool(one.id))
    return found
