"""static: the addresses written in the configuration, or asked for by the caller. Nothing is reserved."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface

from cni_cnm.errors import InvalidConfig
from cni_cnm.ipam import none, values
from cni_cnm.ipam.contract import LOCAL_SPACE
from cni_cnm.model import Address, Lease, Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json
    from cni_cnm.settings import Settings

release_unrecorded = none.release_unrecorded


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, settings: Settings) -> Static:  # noqa: ARG001
    """`spec.config` keys: addresses [{address, gateway}], routes, dns."""
    config = spec.config
    addresses = [
        _address(values.mapping(item, f"ipam.addresses[{n}]"), f"ipam.addresses[{n}]")
        for n, item in enumerate(values.items(config.get("addresses"), "ipam.addresses"))
    ]
    if endpoint is not None:
        addresses = _as_asked(addresses, endpoint)
    return Static(Lease(tuple(addresses), values.routes(config.get("routes")), values.dns(config.get("dns"))))


def restore(network: str, record: Mapping[str, Json], settings: Settings) -> Static:  # noqa: ARG001
    return Static(Lease(tuple(Address(ip_interface(text)) for text in record.get("addresses", ()))))


class Static(none.NoAddresses):
    type = "static"

    def __init__(self, lease: Lease) -> None:
        self.families = tuple(address.interface.version for address in lease.addresses)
        self._lease = lease

    def gateways(self) -> Sequence[IPInterface]:
        found = [
            ip_interface(f"{gateway}/{interface.network.prefixlen}")
            for interface, gateway in self._lease.addresses
            if gateway is not None
        ]
        return list(dict.fromkeys(found))

    def subnets(self) -> Sequence[Subnet]:
        found = [
            Subnet(one.network, ip_interface(f"{way}/{one.network.prefixlen}") if way else None, LOCAL_SPACE)
            for one, way in self._lease.addresses
        ]
        return list({subnet.pool: subnet for subnet in found}.values())

    def validate(self, endpoint: EndpointSpec) -> None:  # noqa: ARG002
        if not self._lease.addresses:
            raise InvalidConfig(
                "the static ipam has no address for this container",
                hint='list them in "addresses", or ask by CNI_ARGS IP=ADDRESS/PREFIX',
            )

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:  # noqa: ARG002
        self.validate(endpoint)
        return self._lease

    def release(
        self,
        key: EndpointKey,  # noqa: ARG002
        environ: Mapping[str, str],  # noqa: ARG002
        last: Callable[[frozenset[IPAddress]], None],
    ) -> None:
        """`last` gets what was given: nobody reserves it, so nobody knows if another endpoint has it too."""
        last(frozenset(ip_address(str(address.interface.ip)) for address in self._lease.addresses))

    def record(self) -> Mapping[str, Json]:
        return {"addresses": [str(address.interface) for address in self._lease.addresses]}


def _address(raw: Mapping[str, Json], what: str) -> Address:
    interface = values.interface(raw.get("address"), f"{what}.address")
    gateway = values.address(raw["gateway"], f"{what}.gateway") if raw.get("gateway") else None
    return Address(interface, gateway)


def _as_asked(configured: Sequence[Address], endpoint: EndpointSpec) -> list[Address]:
    """CNI_ARGS IP adds addresses, GATEWAY is theirs; `args.cni.ips` and `runtimeConfig.ips` replace."""
    asked = []
    for wish in endpoint.addresses:
        if not isinstance(wish, IPv4Interface | IPv6Interface):
            raise InvalidConfig(
                f"the requested address {wish} has no prefix length", hint="static needs it: ADDRESS/PREFIX"
            )
        gateway = next((gw for gw in reversed(endpoint.gateways) if gw in wish.network), None)
        asked.append(Address(wish, gateway))
    return asked if asked and endpoint.addresses_replace else [*configured, *asked]
