"""Isolation: which networks, and which endpoints of one network, reach each other.

    set networks    bridges that cannot reach each other
    set internal    bridges without traffic to or from anything outside
    set allowed     bridge . bridge: exceptions, one element for each direction; a bridge with itself: icc

Packets that are redirected to a published port pass between networks, but not into or out of an internal one. Inside a
bridge (`bridge cni_cnm`) frames are matched with and without br_netfilter:

    set closed         host's links of endpoints that cannot reach each other
    set closed_macs    their MAC addresses

A frame from a closed link to one of these addresses is dropped when it enters the bridge. Any other is dropped on its
way to a second closed link, so broadcasts reach the host only. A frame that br_netfilter redirects to a published port
on the same bridge is addressed to the host and passes.
"""

from __future__ import annotations

from cni_cnm.errors import InvalidConfig
from cni_cnm.firewall import BRIDGE, INET, comment
from cni_cnm.kernel import Element, Transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import Json

OPEN, SAME_BRIDGE, ISOLATED = "open", "same-bridge", "isolated"
POLICIES = (OPEN, SAME_BRIDGE, ISOLATED)
"""Who may open connections to an endpoint: all; its own network (CNM's default); no endpoint (icc false)."""

_ROUTED = f"""\
add table {INET}
add set {INET} networks {{ type ifname; }}
add set {INET} internal {{ type ifname; }}
add set {INET} allowed {{ type ifname . ifname; }}
add chain {INET} isolation {{ type filter hook forward priority 0; }}
flush chain {INET} isolation
add rule {INET} isolation iifname @internal iifname . oifname != @allowed drop
add rule {INET} isolation oifname @internal iifname . oifname != @allowed drop
add rule {INET} isolation ct status dnat accept
add rule {INET} isolation iifname @networks oifname @networks iifname . oifname != @allowed drop
"""
_SWITCHED = f"""\
add table {BRIDGE}
add set {BRIDGE} closed {{ type ifname; }}
add set {BRIDGE} closed_macs {{ type ether_addr; }}
add chain {BRIDGE} closed_in {{ type filter hook prerouting priority -300; }}
flush chain {BRIDGE} closed_in
add rule {BRIDGE} closed_in iifname @closed ether daddr @closed_macs drop
add chain {BRIDGE} closed_through {{ type filter hook forward priority -200; }}
flush chain {BRIDGE} closed_through
add rule {BRIDGE} closed_through iifname @closed oifname @closed ether daddr != @closed_macs drop
"""


def parse_policy(text: Json) -> str:
    """`ingressPolicy` of the reference `firewall` plugin, by its names."""
    if text not in POLICIES:
        raise InvalidConfig(f"ingressPolicy {text!r} is none of {', '.join(POLICIES)}")
    return str(text)


def add_network(network_id: str, name: str, bridge: str, policy: str, *, internal: bool = False) -> Transaction:
    """Elements of a network, by the name of its bridge on the host. None for an open one that is not internal."""
    owner = comment(network_id, name)
    put = []
    if policy != OPEN:
        put.append(Element(INET, "networks", _link(bridge), comment=owner))
    if internal:
        put.append(Element(INET, "internal", _link(bridge), comment=owner))
    if put and policy != ISOLATED:
        put.append(Element(INET, "allowed", _pair(bridge, bridge), comment=owner))
    return Transaction(_ROUTED, tuple(put))


def remove_network(bridge: str) -> Transaction:
    """Removes all elements of a network, whatever its policy was. `revoke` removes allowed pairs."""
    return Transaction(
        remove=(
            Element(INET, "networks", _link(bridge)),
            Element(INET, "internal", _link(bridge)),
            Element(INET, "allowed", _pair(bridge, bridge)),
        )
    )


def allow(network_id: str, name: str, one: str, other: str) -> Transaction:
    """Two networks, by their bridges, reach each other. Its owner is the network whose record has the pair."""
    owner = comment(network_id, name)
    pairs = (_pair(one, other), _pair(other, one))
    return Transaction(_ROUTED, tuple(Element(INET, "allowed", pair, comment=owner) for pair in pairs))


def revoke(one: str, other: str) -> Transaction:
    """The reverse of `allow`. Existing connections end too."""
    return Transaction(remove=tuple(Element(INET, "allowed", pair) for pair in (_pair(one, other), _pair(other, one))))


def add_endpoint(endpoint_id: str, label: str, host_ifname: str, mac: str) -> Transaction:
    """Adds an endpoint of an `isolated` network: frames between two such endpoints are dropped."""
    owner = comment(endpoint_id, label)
    return Transaction(
        _SWITCHED,
        (
            Element(BRIDGE, "closed", _link(host_ifname), comment=owner),
            Element(BRIDGE, "closed_macs", mac.lower(), comment=owner),
        ),
    )


def remove_endpoint(endpoint_id: str, label: str, host_ifname: str, mac: str) -> Transaction:
    return Transaction(remove=add_endpoint(endpoint_id, label, host_ifname, mac).put)


def _link(name: str) -> str:
    return f'"{name}"'


def _pair(one: str, other: str) -> str:
    return f'"{one}" . "{other}"'
