"""Subnets and gateways that no network of containers can have, whatever else is right about them."""

from __future__ import annotations

from ipaddress import ip_network

from cni_cnm.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_cnm.model import IPAddress, IPNetwork

_SPECIAL = tuple(
    (ip_network(text), what)
    for text, what in (
        ("0.0.0.0/8", "addresses of this host on this network (RFC 1122)"),
        ("127.0.0.0/8", "loopback addresses"),
        ("224.0.0.0/4", "multicast addresses"),
        ("255.255.255.255/32", "the broadcast address"),
        ("::/127", "the unspecified and the loopback address"),
        ("::ffff:0:0/96", "IPv4 addresses written as IPv6 (RFC 4291)"),
        ("ff00::/8", "multicast addresses"),
    )
)


def refuse_subnet(key: str, subnet: IPNetwork) -> None:
    """InvalidConfig for a subnet that is everything, or that has addresses no container can have.

    `key` is where the configuration says so, for the message.
    """
    if not subnet.prefixlen:
        raise InvalidConfig(
            f"{key} is {subnet}, which is every IPv{subnet.version} address there is",
            hint="choose a private subnet such as 10.200.0.0/16 or fd00:200::/64",
        )
    for special, what in _SPECIAL:
        if special.version == subnet.version and special.overlaps(subnet):
            raise InvalidConfig(
                f"{key} is {subnet}, which has {what}",
                hint="choose a private subnet such as 10.200.0.0/16 or fd00:200::/64",
            )


def refuse_gateway(key: str, gateway: IPAddress, subnet: IPNetwork, *, outside: bool) -> None:
    """InvalidConfig for a gateway that cannot be one.

    That is the subnet's own address or its broadcast address, and without `outside` an address that is not in the
    subnet. (The reference host-local accepts one outside.)
    """
    if gateway not in subnet:
        if outside:
            return
        raise InvalidConfig(
            f"{key} is {gateway}, which is not in the subnet {subnet}",
            hint='choose an address of the subnet, or use "profile": "reference", which accepts this',
        )
    for address, what in reserved(subnet):
        if gateway == address:
            raise InvalidConfig(
                f"{key} is {gateway}, which is the {what} address of {subnet}",
                hint=f"leave it out for {subnet.network_address + 1}, or choose another address of the subnet",
            )


def reserved(subnet: IPNetwork) -> Iterable[tuple[IPAddress, str]]:
    """Addresses with a meaning of their own. RFC 3021: the two of a /31 have none; IPv6 has no broadcast."""
    if subnet.prefixlen < subnet.max_prefixlen - 1:
        yield subnet.network_address, "network"
        if subnet.version == 4:
            yield subnet.broadcast_address, "broadcast"
