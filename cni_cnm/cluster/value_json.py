"""Hosts, networks and owners of blocks as JSON, as a store keeps them.

What a store says is untrusted input: reading checks every value, and DecodeFailed names the place, the value and the
rule. What is written is read again by the same rules, so nothing is stored that other hosts would leave out.
"""

from __future__ import annotations

import json

from cni_cnm import validate
from cni_cnm.cluster import rules
from cni_cnm.cluster.values import VXLAN_PORT, ClusterHost, OverlayNetwork
from cni_cnm.errors import DecodeFailed, shown
from cni_cnm.fields import Fields
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from cni_cnm.model import IPAddress, IPNetwork

    T = TypeVar("T")

SIZE_MAX = 4096
"""Bytes of one value. A host or a network has about 200."""
LEAST_HOST_BITS = 2
"""A block has a gateway and at least one address for a pod."""


class BlockOwner(NamedTuple):
    """What is stored of a block; which one it is says its key."""

    host: str
    instance: str
    network_id: str


# writing ------------------------------------------------------------------------------


def host_json(host: ClusterHost) -> bytes:
    return _encoded({"instance": host.instance, "addresses": list(map(str, host.addresses)), "mac": host.mac})


def network_json(network: OverlayNetwork) -> bytes:
    return _encoded(
        {
            "id": network.id,
            "subnets": list(map(str, network.subnets)),
            "block_sizes": list(network.block_sizes),
            "vni": network.vni,
            "port": network.port,
            "direct": network.direct,
        }
    )


def owner_json(owner: BlockOwner) -> bytes:
    return _encoded({"host": owner.host, "instance": owner.instance, "network": owner.network_id})


def _encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# reading ------------------------------------------------------------------------------


def host(name: str, content: bytes, where: str) -> ClusterHost:
    """`where` names the place in messages. Unknown keys are ignored: a later version may write more."""
    fields = fields_of(content, where)
    _checked_name(name, where)
    addresses = _all_parsed(fields, "addresses", _underlay_address)
    if len({address.version for address in addresses}) != len(addresses) or not addresses:
        raise fields.wrong("addresses", "one or two addresses, at most one of each IP version")
    return ClusterHost(name, fields.required("instance", rules.hex_id), addresses, fields.required("mac", validate.mac))


def network(name: str, content: bytes, where: str, *, assigned: bool = False) -> OverlayNetwork:
    """As `host`. `assigned`: one whose blocks the store gives is right, too: it has no block sizes."""
    fields = fields_of(content, where)
    _checked_name(name, where)
    subnets = _all_parsed(fields, "subnets", cluster_subnet)
    sizes = fields.items("block_sizes")
    assigned = assigned and not sizes
    if not are_versions(subnets) and not (assigned and not subnets):
        raise fields.wrong("subnets", "one or two networks, at most one of each IP version, IPv4 first")
    if not assigned and (len(sizes) != len(subnets) or not all(map(_is_size, subnets, sizes))):
        raise fields.wrong(
            "block_sizes",
            "a prefix length for each subnet, not less than the subnet's, that leaves at least 2 bits for addresses",
        )
    if "vni" not in fields:
        raise DecodeFailed(f"{fields.name('vni')} is missing")
    return OverlayNetwork(
        name,
        fields.required("id", rules.hex_id),
        subnets,
        tuple(sizes),
        fields.whole("vni", 0, 1, rules.LAST_VNI),
        fields.whole("port", VXLAN_PORT, 1, 0xFFFF),
        fields.parsed("direct", rules.direct) or "auto",
    )


def block_subnets(text: str) -> tuple[IPNetwork, ...]:
    """A block by its subnets, with commas between. ValueError if they are none of a block."""
    found = tuple(map(cluster_subnet, text.split(",")))
    if not are_versions(found) or not all(_is_size(subnet, subnet.prefixlen) for subnet in found):
        raise ValueError("one or two networks, at most one of each IP version, IPv4 first")
    return found


def are_versions(subnets: Sequence[IPNetwork]) -> bool:
    """Whether they can be the subnets of one network, or of one block."""
    return tuple(subnet.version for subnet in subnets) in ((4,), (6,), (4, 6))


def owner(content: bytes, where: str) -> BlockOwner:
    """As `host`."""
    fields = fields_of(content, where)
    return BlockOwner(
        fields.required("host", validate.network_name),
        fields.required("instance", rules.hex_id),
        fields.required("network", rules.hex_id),
    )


def fields_of(content: bytes, where: str) -> Fields:
    if len(content) > SIZE_MAX:
        raise DecodeFailed(f"{where} has {len(content)} bytes, more than {SIZE_MAX}")
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError):
        raise DecodeFailed(f"{where} is no JSON") from None
    if raw is None:
        raise DecodeFailed(f"{where} is null, it must be an object")
    return Fields(raw, f"{where}: ", error=DecodeFailed)


def _checked_name(name: str, where: str) -> None:
    validate.require(validate.network_name, name, f"{where}: the name", DecodeFailed)


def _all_parsed(fields: Fields, key: str, parse: Callable[[str], T]) -> tuple[T, ...]:
    found: list[T] = []
    for text in fields.texts(key):
        try:
            found.append(parse(text))
        except ValueError as rule:
            raise DecodeFailed(f"{fields.name(key)} has {shown(text)}, it must be {rule}") from None
    return tuple(found)


def _underlay_address(text: str) -> IPAddress:
    found = validate.address(text)
    if found.is_multicast or found.is_unspecified or found.is_loopback or found.is_link_local or text == _BROADCAST:
        raise ValueError("an address that other hosts can reach")
    return found


def cluster_subnet(text: str) -> IPNetwork:
    found = validate.network(text)
    first = found.network_address
    if first.is_multicast or first.is_unspecified or first.is_loopback or first.is_link_local:
        raise ValueError("a network of unicast addresses, not of one link or one host")
    return found


_BROADCAST = "255.255.255.255"


def _is_size(subnet: IPNetwork, size: object) -> bool:
    return type(size) is int and subnet.prefixlen <= size <= subnet.max_prefixlen - LEAST_HOST_BITS
