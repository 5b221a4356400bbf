"""static: the addresses in the configuration, or those that the caller requests. Nothing is reserved."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface

from cni_cnm import validate
from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import Fields
from cni_cnm.ipam import dns, none, routes
from cni_cnm.ipam.contract import LOCAL_SPACE
from cni_cnm.model import Address, Lease, Subnet, ip_address, ip_interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.ipam.contract import IpamHost
    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json

release_unrecorded = none.release_unrecorded


def configure(network: str, spec: IpamSpec, endpoint: EndpointSpec | None, host: IpamHost) -> Static:  # noqa: ARG001
    """Keys of `spec.config`: addresses [{address, gateway}], routes, dns."""
    ipam = Fields(spec.config, "ipam.")
    addresses = [
        Address(fields.required("address", validate.interface), fields.address("gateway"))
        for fields in ipam.objects("addresses")
    ]
    if endpoint is not None:
        addresses = _with_requested(addresses, endpoint)
    return Static(Lease(tuple(addresses), routes.read(ipam), dns.read(ipam)))


def restore(network: str, record: Mapping[str, Json], host: IpamHost) -> Static:  # noqa: ARG001
    return Static(Lease(tuple(Address(ip_interface(text)) for text in record.get("addresses", ()))))


class Static(none.NoAddresses):
    type = "static"

    def __init__(self, lease: Lease) -> None:
        self.families = tuple(address.interface.version for address in lease.addresses)
        self._lease = lease

    def gateways(self) -> Sequence[IPInterface]:
        return list(dict.fromkeys(found for address in self._lease.addresses if (found := _gateway(address))))

    def subnets(self) -> Sequence[Subnet]:
        found = [Subnet(one.interface.network, _gateway(one), LOCAL_SPACE) for one in self._lease.addresses]
        return list({subnet.pool: subnet for subnet in found}.values())

    def validate(self, endpoint: EndpointSpec) -> None:  # noqa: ARG002
        if not self._lease.addresses:
            raise InvalidConfig(
                "the static ipam has no address for this container",
                hint='list addresses in ipam.addresses, or request one with CNI_ARGS "IP=ADDRESS/PREFIX"',
            )

    def acquire(self, key: EndpointKey, endpoint: EndpointSpec) -> Lease:  # noqa: ARG002
        self.validate(endpoint)
        return self._lease

    def release(
        self,
        key: EndpointKey,  # noqa: ARG002
        environ: Mapping[str, str],  # noqa: ARG002
        before_release: Callable[[frozenset[IPAddress]], None],
    ) -> None:
        """`before_release` gets the configured addresses. Another endpoint may have them too: nothing is reserved."""
        before_release(frozenset(ip_address(str(address.interface.ip)) for address in self._lease.addresses))

    def record(self) -> Mapping[str, Json]:
        return {"addresses": [str(address.interface) for address in self._lease.addresses]}


def _gateway(address: Address) -> IPInterface | None:
    """The gateway with the prefix length of the address's subnet."""
    if address.gateway is None:
        return None
    return ip_interface(f"{address.gateway}/{address.interface.network.prefixlen}")


def _with_requested(configured: Sequence[Address], endpoint: EndpointSpec) -> list[Address]:
    """Addresses of CNI_ARGS are added, with the gateways there; `args.cni.ips` and `runtimeConfig.ips` replace."""
    requested = []
    for interface in endpoint.addresses:
        if not isinstance(interface, IPv4Interface | IPv6Interface):
            raise InvalidConfig(
                f"the requested address {interface} has no prefix length", hint="request ADDRESS/PREFIX from static"
            )
        gateway = next((one for one in reversed(endpoint.gateways) if one in interface.network), None)
        requested.append(Address(interface, gateway))
    return requested if requested and endpoint.addresses_replace else [*configured, *requested]
