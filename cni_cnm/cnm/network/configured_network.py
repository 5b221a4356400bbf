"""A network as it is configured: read once in a request, into one value that every step is handed."""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.records import load_network
from cni_cnm.drivers import OVERLAY, drivers
from cni_cnm.errors import InvalidConfig
from cni_cnm.memo import Memo
from cni_cnm.model import IpamSpec, NetworkSpec, ip_network
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.drivers import Driver, Options, Role
    from cni_cnm.model import EndpointSpec, NameService


class Addressing(NamedTuple):
    """Where the subnets of a network come from."""

    ipam: IpamSpec
    from_pools: bool
    """The configuration names no subnet: the default address pools provide it, once."""
    from_plugin: bool
    """An IPAM plugin allocates them, once."""
    versions: tuple[int, ...]
    """IP versions of the subnets, if the configuration names none."""
    from_blocks: bool = False
    """This host claims blocks of the subnet that all hosts have: the record has them, as range sets."""

    @property
    def recorded(self) -> bool:
        """Whether the network's record, and not the configuration alone, says which subnets it has."""
        return self.from_pools or self.from_plugin or self.from_blocks

    def with_recorded_subnets(self, record: NetworkRecord) -> IpamSpec:
        """The IPAM part, with the subnets that were chosen when the network was made."""
        if not self.recorded:
            return self.ipam
        if self.from_blocks:
            from cni_cnm.cnm import overlay_record

            return overlay_record.with_blocks(self.ipam, record)
        chosen = ("subnet", "ranges") if self.from_pools else ()
        kept = {**{key: record.ipam[key] for key in chosen if key in record.ipam}, **ipam.allocated(record.ipam)}
        return self.ipam._replace(config={**self.ipam.config, **kept})


class ConfiguredNetwork(NamedTuple):
    spec: NetworkSpec
    driver: Driver[Any]
    options: Options
    """As the driver has parsed them."""
    role: Role
    addressing: Addressing

    @property
    def name(self) -> str:
        return self.spec.name


_options: Memo[tuple[Driver[Any], Options, Role]] = Memo()


def read(spec: NetworkSpec) -> ConfiguredNetwork:
    """InvalidConfig for options that the driver refuses."""
    driver = drivers.get(spec.driver)

    def parse() -> tuple[Driver[Any], Options, Role]:
        options = driver.options(spec)
        return driver, options, driver.role(options)

    given = spec.driver, id(driver), spec.options, spec.internal, spec.ipam.type, spec.ipam.config
    configured = ConfiguredNetwork(spec, *_options.get(spec.name, given, parse), addressing_of(spec))
    if spec.names is not None:
        _refuse_names(configured, spec.names)
    return configured


def _refuse_names(network: ConfiguredNetwork, names: NameService) -> None:
    """InvalidConfig for a network whose gateways cannot answer names."""
    spec, policy = network.spec, network.driver.policy(network.options)
    lacks = ""
    if network.role.gateway != "driver" or not policy.bridge or policy.alone:
        lacks = "its bridge has no gateway address" if policy.bridge else f"the driver {spec.driver} has no bridge"
    elif spec.ipam.type in ("", "none"):
        lacks = "it has no addresses"
    elif network.options.to_json().get("vlan"):
        lacks = "its gateway is in a VLAN of the bridge"
    if lacks:
        raise InvalidConfig(
            f"dnsEnabled is true for the network {spec.name}, and {lacks}, so no name server can answer there",
            hint="leave out dnsEnabled, or use a network of the driver bridge with a gateway",
        )
    if spec.internal and names.servers:
        raise InvalidConfig(
            f"the network {spec.name} is internal and has name servers ({', '.join(names.servers)}), which are outside",
            hint="leave out dnsServers: an internal network answers the names of its own containers alone",
        )


def recorded(record: NetworkRecord) -> ConfiguredNetwork:
    """A network as it is on record."""
    addresses = IpamSpec(record.ipam_type, record.ipam)
    spec = NetworkSpec(
        record.name, record.driver, record.options.to_json(), addresses, record.internal, names=record.names
    )
    return ConfiguredNetwork(spec, drivers.get(record.driver), record.options, record.role, addressing_of(spec))


def addressing_of(spec: NetworkSpec) -> Addressing:
    """In the reference profile, the default address pools never provide a subnet."""
    if spec.driver == OVERLAY:
        return Addressing(spec.ipam, False, False, (), from_blocks=True)
    config = spec.ipam.config
    ours = spec.ipam.type == "host-local" and spec.options.get("profile") != "reference"
    from_pools = ours and not config.get("subnet") and not config.get("ranges")
    versions = (4, 6) if spec.options.get("enableipv6") else (4,)
    return Addressing(spec.ipam, from_pools, not from_pools and ipam.allocates(spec.ipam), versions)


def families(spec: NetworkSpec, endpoint: EndpointSpec, host: Host) -> tuple[int, ...] | None:
    """IP versions of the addresses an attach would give. None if only the IPAM itself knows."""
    addressing = addressing_of(spec)
    if addressing.from_pools and not endpoint.ranges:
        return addressing.versions
    if addressing.from_blocks:
        record = load_network(host.store, spec.name)
        sets = record.ipam["ranges"] if record else ()
        return tuple(ip_network(members[0]["subnet"]).version for members in sets) or None
    return ipam.configure(spec.name, spec.ipam, endpoint, host).families
