"""Isolation: which networks, which endpoints of one network, and which others reach each other.

    set networks           bridges that cannot reach each other
    set foreign            bridges of other programs: they and `networks` cannot reach each other
    set internal           bridges without traffic to or from anything outside
    set published_only4    bridges that everything else on this host and others reach by published ports only, by IPv4
    set published_only6    the same by IPv6
    set allowed            bridge . bridge: exceptions, one element for each direction; a bridge with itself: icc

The chain `overlay` (overlay.py) is the first: packets within a network of several hosts.

A network without a bridge has a number: the group of its endpoints' links on the host. The kernel keeps it with each
link, so an endpoint needs no element here. Sets for numbers have the same meaning:

    set groups, internal_groups, allowed_groups    as networks, internal, allowed
    set published_only_groups4, …6                 as published_only4 and published_only6
    set allowed_in, allowed_out                    bridge . group, group . bridge

Packets that are redirected to a published port pass, but not into or out of an internal network. The host itself
reaches all. Inside a bridge (`bridge cni_cnm`) frames are matched with and without br_netfilter:

    set closed         host's links of endpoints that cannot reach each other
    set closed_macs    their MAC addresses

A frame from a closed link to one of these addresses is dropped when it enters the bridge. Any other is dropped on its
way to a second closed link, so broadcasts reach the host only. A frame that br_netfilter redirects to a published port
on the same bridge is addressed to the host and passes.
"""

from __future__ import annotations

from cni_cnm.errors import InvalidConfig
from cni_cnm.firewall import BRIDGE, INET, comment, drop, drop_counters
from cni_cnm.kernel import DELETION_GROUP, Element, Transaction, link_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from cni_cnm.model import Json

    Side: TypeAlias = str | int
    """What a network's packets go by on the host: the name of its bridge, or the group of its links."""

FOREIGN = "foreign"
"""In the place of an owner, in comments of other programs' bridges."""
OPEN, SAME_BRIDGE, ISOLATED, ROUTED = "open", "same-bridge", "isolated", "routed"
POLICIES = (OPEN, SAME_BRIDGE, ISOLATED, ROUTED)
"""Who may open connections to an endpoint: all; its own network (CNM's default); no endpoint (icc false); its own
network and other hosts, but no other network."""

_ROUTED = f"""\
add table {INET}
add set {INET} networks {{ type ifname; }}
add set {INET} foreign {{ type ifname; }}
add set {INET} internal {{ type ifname; }}
add set {INET} published_only4 {{ type ifname; }}
add set {INET} published_only6 {{ type ifname; }}
add set {INET} allowed {{ type ifname . ifname; }}
add set {INET} allowed_in {{ type ifname . devgroup; }}
add set {INET} allowed_out {{ type devgroup . ifname; }}
{drop_counters(INET, "internal", "isolation", "foreign", "unpublished")}\
add chain {INET} overlay
add chain {INET} isolation {{ type filter hook forward priority 0; }}
flush chain {INET} isolation
add rule {INET} isolation jump overlay
add rule {INET} isolation iifname @internal iifname . oifname != @allowed \
iifname . oifgroup != @allowed_in {drop("internal")}
add rule {INET} isolation oifname @internal iifname . oifname != @allowed \
iifgroup . oifname != @allowed_out {drop("internal")}
add rule {INET} isolation ct status dnat accept
add rule {INET} isolation iifname @networks oifname @networks iifname . oifname != @allowed {drop("isolation")}
add rule {INET} isolation iifname @networks oifname @foreign {drop("foreign")}
add rule {INET} isolation iifname @foreign oifname @networks {drop("foreign")}
add rule {INET} isolation ct state established,related accept
add rule {INET} isolation meta nfproto ipv4 oifname @published_only4 iifname . oifname != @allowed \
iifgroup . oifname != @allowed_out {drop("unpublished")}
add rule {INET} isolation meta nfproto ipv6 oifname @published_only6 iifname . oifname != @allowed \
iifgroup . oifname != @allowed_out {drop("unpublished")}
"""
_GROUPED = f"""\
{_ROUTED}\
add set {INET} groups {{ type devgroup; }}
add set {INET} internal_groups {{ type devgroup; }}
add set {INET} published_only_groups4 {{ type devgroup; }}
add set {INET} published_only_groups6 {{ type devgroup; }}
add set {INET} allowed_groups {{ type devgroup . devgroup; }}
{drop_counters(INET, "deleting")}\
add chain {INET} group_isolation {{ type filter hook forward priority 0; }}
flush chain {INET} group_isolation
add rule {INET} group_isolation iifgroup {DELETION_GROUP} {drop("deleting")}
add rule {INET} group_isolation iifgroup @internal_groups iifgroup . oifgroup != @allowed_groups \
iifgroup . oifname != @allowed_out {drop("internal")}
add rule {INET} group_isolation oifgroup @internal_groups iifgroup . oifgroup != @allowed_groups \
iifname . oifgroup != @allowed_in {drop("internal")}
add rule {INET} group_isolation ct status dnat accept
add rule {INET} group_isolation iifgroup @groups oifgroup @groups \
iifgroup . oifgroup != @allowed_groups {drop("isolation")}
add rule {INET} group_isolation iifgroup @groups oifname @networks \
iifgroup . oifname != @allowed_out {drop("isolation")}
add rule {INET} group_isolation iifname @networks oifgroup @groups iifname . oifgroup != @allowed_in {drop("isolation")}
add rule {INET} group_isolation iifgroup @groups oifname @foreign {drop("foreign")}
add rule {INET} group_isolation iifname @foreign oifgroup @groups {drop("foreign")}
add rule {INET} group_isolation ct state established,related accept
add rule {INET} group_isolation meta nfproto ipv4 oifgroup @published_only_groups4 \
iifgroup . oifgroup != @allowed_groups iifname . oifgroup != @allowed_in {drop("unpublished")}
add rule {INET} group_isolation meta nfproto ipv6 oifgroup @published_only_groups6 \
iifgroup . oifgroup != @allowed_groups iifname . oifgroup != @allowed_in {drop("unpublished")}
"""
"""A link that is being deleted has lost its network's group already: nothing is forwarded from it any more."""
_SWITCHED = f"""\
add table {BRIDGE}
add set {BRIDGE} closed {{ type ifname; }}
add set {BRIDGE} closed_macs {{ type ether_addr; }}
{drop_counters(BRIDGE, "icc")}\
add chain {BRIDGE} closed_in {{ type filter hook prerouting priority -300; }}
flush chain {BRIDGE} closed_in
add rule {BRIDGE} closed_in iifname @closed ether daddr @closed_macs {drop("icc")}
add chain {BRIDGE} closed_through {{ type filter hook forward priority -200; }}
flush chain {BRIDGE} closed_through
add rule {BRIDGE} closed_through iifname @closed oifname @closed ether daddr != @closed_macs {drop("icc")}
"""


def parse_policy(text: Json) -> str:
    """`ingressPolicy` of the reference `firewall` plugin, by its names."""
    if text not in POLICIES:
        raise InvalidConfig(f"ingressPolicy {text!r} is none of {', '.join(POLICIES)}")
    return str(text)


def declaration() -> str:
    """What makes the sets and the chain of networks with bridges."""
    return _ROUTED


def add_network(
    network_id: str,
    name: str,
    side: Side,
    policy: str,
    *,
    internal: bool = False,
    published_only: Sequence[int] = (),
    trusted: Sequence[str] = (),
) -> Transaction:
    """Elements of a network. None for an open one that is not internal.

    `published_only`: IP versions by which all but itself and the host reach published ports only. `trusted`: links of
    the host that reach all the same.
    """
    networks, internals, own = _elements(side)
    put = []
    if policy != OPEN:
        put.append(networks)
        put += [_published_only(side, version) for version in published_only]
    if internal:
        put.append(internals)
    if put and policy != ISOLATED:
        put.append(own)
    put += [_pair(link, side) for link in trusted] if put else []
    owner = comment(network_id, name)
    return Transaction(_declaration(side), tuple(element._replace(comment=owner) for element in put))


def remove_network(side: Side, trusted: Sequence[str] = ()) -> Transaction:
    """Removes all elements of a network, whatever its policy was. `revoke` removes allowed pairs."""
    pairs = [_pair(link, side) for link in trusted]
    return Transaction(remove=(*_elements(side), *(_published_only(side, version) for version in (4, 6)), *pairs))


def change_foreign(bridges: Sequence[str], gone: Sequence[str]) -> Transaction:
    """Other programs' bridges come to the set and go from it. They have no owner whose record could be deleted."""
    return Transaction(
        _ROUTED,
        put=tuple(Element(INET, "foreign", link_key(name), comment=comment(FOREIGN, name)) for name in bridges),
        remove=tuple(Element(INET, "foreign", link_key(name)) for name in gone),
    )


def allow(network_id: str, name: str, one: Sequence[Side], other: Sequence[Side]) -> Transaction:
    """Two networks reach each other, by all of their sides. The owner is the network whose record has the pair."""
    owner = comment(network_id, name)
    declare = _declaration(*one, *other)
    return Transaction(declare, tuple(element._replace(comment=owner) for element in _pairs(one, other)))


def revoke(one: Sequence[Side], other: Sequence[Side]) -> Transaction:
    """The reverse of `allow`. Existing connections end too."""
    return Transaction(remove=tuple(_pairs(one, other)))


def add_endpoint(endpoint_id: str, label: str, host_ifname: str, mac: str) -> Transaction:
    """Adds an endpoint of an `isolated` network: frames between two such endpoints are dropped."""
    owner = comment(endpoint_id, label)
    return Transaction(
        _SWITCHED,
        (
            Element(BRIDGE, "closed", link_key(host_ifname), comment=owner),
            Element(BRIDGE, "closed_macs", mac.lower(), comment=owner),
        ),
    )


def _elements(side: Side) -> tuple[Element, Element, Element]:
    """Of a network: that it is one, that it is internal, that it reaches itself."""
    kind = ("groups", "internal_groups") if isinstance(side, int) else ("networks", "internal")
    return Element(INET, kind[0], _key(side)), Element(INET, kind[1], _key(side)), _pair(side, side)


def _published_only(side: Side, version: int) -> Element:
    kind = "published_only_groups" if isinstance(side, int) else "published_only"
    return Element(INET, f"{kind}{version}", _key(side))


def _pairs(ones: Sequence[Side], others: Sequence[Side]) -> Iterator[Element]:
    """Both directions between each side of the one network and each of the other."""
    for one in ones:
        for other in others:
            yield _pair(one, other)
            yield _pair(other, one)


def _pair(one: Side, other: Side) -> Element:
    """Packets from the one side to the other."""
    if isinstance(one, int):
        name = "allowed_groups" if isinstance(other, int) else "allowed_out"
    else:
        name = "allowed_in" if isinstance(other, int) else "allowed"
    return Element(INET, name, f"{_key(one)} . {_key(other)}")


def _declaration(*sides: Side) -> str:
    return _GROUPED if any(isinstance(side, int) for side in sides) else _ROUTED


def _key(side: Side) -> str:
    return str(side) if isinstance(side, int) else link_key(side)
