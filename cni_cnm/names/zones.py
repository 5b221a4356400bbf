"""The zones of reverse names (PTR) that belong to a subnet."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.model import IPNetwork


def reverse_zones(subnet: IPNetwork) -> Iterator[str]:
    """The zones that hold the subnet's addresses and no other: those of 10.1.2.0/23 are two, of /25 there are 128.

    A zone ends at a whole octet of an IPv4 address (RFC 1035, section 3.5), and at a digit of an IPv6 address.
    """
    step = 8 if subnet.version == 4 else 4
    whole = -(-subnet.prefixlen // step) * step
    for part in subnet.subnets(new_prefix=whole):
        name = part.network_address.reverse_pointer.split(".")
        yield ".".join(name[(part.max_prefixlen - whole) // step :])
