"""Networks of several hosts (driver overlay): what packets to and from other hosts may do.

    set overlay4, overlay6                  a network's subnet . the same subnet
    set overlay_closed4, overlay_closed6    any source . the subnet of a network that other networks do not reach
    set overlay_open4, overlay_open6        such a subnet . bridge: exceptions, one for each network that it is open to
    set overlay_open_groups4, …6            such a subnet . link group: the same for networks without a bridge
    map overlay_source4, overlay_source6    any source . a part of that subnet on other hosts : the gateway on this host
    chain overlay                           first in `isolation`
    chain overlay_source                    before `source_nat`

The network's link to other hosts, a VXLAN device, is beside its bridge in the sets of isolation.py. So nothing but the
network itself, and what it is open to, sends through it. Where there is no such device between two hosts, packets come
by the uplink, so a network's own packets are known by their two addresses. One must come by the link that leads back to
its source, so no container of another network on this host can send as one of the network. A machine on the uplink's
link can: a source in a block with a plain route leads back to that link. What another network's container sends there
by the uplink is dropped here: the other host could not tell it from a packet of the network, because it gets the
gateway's address.

What enters the network here from elsewhere (from a network that it is open to, from the host itself) gets the gateway's
address, so that other hosts know where to send the answer.

Where the subnets of a network are not known as a whole, what is said of them is in the chains of remote_blocks.py.
"""

from __future__ import annotations

from cni_cnm.firewall import INET, comment, drop, drop_counters, isolation
from cni_cnm.kernel import Element, Transaction, link_key
from cni_cnm.model import ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.firewall import Policy
    from cni_cnm.firewall.isolation import Side
    from cni_cnm.model import IPInterface, IPNetwork

_ANY = {4: "0.0.0.0/0", 6: "::/0"}


def _within_rules(family: str, version: int) -> str:
    within = f"{family} saddr . {family} daddr @overlay{version}"
    return f"""\
add set {INET} overlay{version} {{ type ipv{version}_addr . ipv{version}_addr; flags interval; }}
add map {INET} overlay_source{version} \
{{ type ipv{version}_addr . ipv{version}_addr : ipv{version}_addr; flags interval; }}
add rule {INET} overlay {within} fib saddr . iif oif missing {drop("overlay_source")}
add rule {INET} overlay {within} accept
add rule {INET} overlay_source {within} accept
add rule {INET} overlay_source snat {family} to {family} saddr . {family} daddr map @overlay_source{version}
"""


def _closed_rules(family: str, version: int) -> str:
    return f"""\
add set {INET} overlay_closed{version} {{ type ipv{version}_addr . ipv{version}_addr; flags interval; }}
add set {INET} overlay_open{version} {{ type ipv{version}_addr . ifname; flags interval; }}
add set {INET} overlay_open_groups{version} {{ type ipv{version}_addr . devgroup; flags interval; }}
add rule {INET} overlay iifname @networks {family} saddr . {family} daddr @overlay_closed{version} \
{family} daddr . iifname != @overlay_open{version} {drop("isolation")}
add rule {INET} overlay iifgroup @groups {family} saddr . {family} daddr @overlay_closed{version} \
{family} daddr . iifgroup != @overlay_open_groups{version} {drop("isolation")}
"""


_DECLARE = f"""\
{isolation.declaration()}\
add set {INET} groups {{ type devgroup; }}
{drop_counters(INET, "overlay_source")}\
flush chain {INET} overlay
add chain {INET} overlay_source {{ type nat hook postrouting priority srcnat - 1; }}
flush chain {INET} overlay_source
add chain {INET} remote_blocks
add chain {INET} remote_sources
add rule {INET} overlay jump remote_blocks
add rule {INET} overlay_source jump remote_sources
{_within_rules("ip", 4)}\
{_within_rules("ip6", 6)}\
add rule {INET} overlay ct status dnat return
{_closed_rules("ip", 4)}\
{_closed_rules("ip6", 6)}\
"""
"""What is redirected to a published port goes on in `isolation`, which keeps it out of internal networks."""


def declaration() -> str:
    """What makes the sets, the maps and the chains."""
    return _DECLARE


def add_network(network_id: str, name: str, policy: Policy, gateways: Sequence[IPInterface]) -> Transaction:
    """What a network of several hosts has beside the elements of isolation.py.

    `gateways`: those on this host, one for each of its blocks, with the prefix length of the block.
    """
    owner = comment(network_id, name)
    found = [*_within(policy), *_closed(policy), *_sources(policy, gateways)]
    beside = isolation.add_network(
        network_id,
        name,
        policy.outside,
        isolation.ISOLATED if policy.ingress != isolation.OPEN else isolation.OPEN,
        internal=policy.internal,
        published_only=policy.published_only,
    )
    return Transaction(_DECLARE, (*beside.put, *(element._replace(comment=owner) for element in found)))


def remove_network(policy: Policy, gateways: Sequence[IPInterface]) -> Transaction:
    """The reverse of `add_network`."""
    beside = isolation.remove_network(policy.outside)
    return Transaction(remove=(*beside.remove, *_within(policy), *_closed(policy), *_sources(policy, gateways)))


def allow(network_id: str, name: str, policy: Policy, sides: Sequence[Side]) -> Transaction:
    """Packets of another network, by its sides, into this one; nothing if this one is on one host.

    The owner is the network whose record has the pair.
    """
    if not policy.outside:
        return Transaction()
    owner = comment(network_id, name)
    return Transaction(_DECLARE, tuple(element._replace(comment=owner) for element in _open(policy, sides)))


def revoke(policy: Policy, sides: Sequence[Side]) -> Transaction:
    """The reverse of `allow`."""
    return Transaction(remove=tuple(_open(policy, sides)))


def _closed(policy: Policy) -> Iterator[Element]:
    """None of a network that all networks reach."""
    if policy.ingress != isolation.OPEN:
        for subnet in policy.cluster:
            yield Element(INET, f"overlay_closed{subnet.version}", f"{_ANY[subnet.version]} . {subnet}")


def _open(policy: Policy, sides: Sequence[Side]) -> Iterator[Element]:
    """Where the subnets are not known: any. Such a network is the only one of its host (remote_blocks.py)."""
    for subnet in policy.cluster or (map(ip_network, _ANY.values()) if policy.outside else ()):
        for side in sides:
            if isinstance(side, int):
                yield Element(INET, f"overlay_open_groups{subnet.version}", f"{subnet} . {side}")
            else:
                yield Element(INET, f"overlay_open{subnet.version}", f"{subnet} . {link_key(side)}")


def _within(policy: Policy) -> Iterator[Element]:
    """None where the endpoints of the network do not reach each other."""
    if policy.ingress != isolation.ISOLATED:
        for subnet in policy.cluster:
            yield Element(INET, f"overlay{subnet.version}", f"{subnet} . {subnet}")


def _sources(policy: Policy, gateways: Sequence[IPInterface]) -> Iterator[Element]:
    for subnet in policy.cluster:
        own = [gateway for gateway in gateways if gateway.version == subnet.version]
        for part in _without(subnet, [gateway.network for gateway in own]) if own else ():
            key = f"{_ANY[subnet.version]} . {part}"
            yield Element(INET, f"overlay_source{subnet.version}", key, str(own[0].ip))


def _without(subnet: IPNetwork, blocks: Sequence[IPNetwork]) -> list[IPNetwork]:
    """The subnet less the blocks, as the fewest networks."""
    parts = [subnet]
    for block in blocks:
        parts = [
            rest
            for part in parts
            for rest in (part.address_exclude(block) if block.subnet_of(part) else (part,))  # type: ignore[arg-type]
        ]
    return sorted(parts, key=lambda part: int(part.network_address))
