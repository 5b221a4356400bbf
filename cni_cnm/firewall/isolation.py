"""Isolation: which networks, and which endpoints of one network, reach each other.

    set networks    bridges that other bridges in this set do not reach
    set internal    bridges that nothing outside reaches, and that reach nothing outside
    set allowed     bridge . bridge that may all the same, each direction an element; a bridge with itself: icc

What is redirected to a published port passes between networks, but neither into an internal one nor out of it.
Inside a bridge (`bridge cni_cnm`), where frames are seen with and without br_netfilter:

    set closed         host's links of endpoints that do not reach each other
    set closed_macs    their MAC addresses

A frame to one of these addresses is dropped as it comes in. Any other is dropped on its way to a second closed
link: broadcasts reach the host alone. What br_netfilter redirects to a published port on the same bridge comes in
for the host, and is left.
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
"""Who reaches an endpoint unasked: everyone; its own network (CNM's default); nobody (icc false)."""

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
    """The policy of a network, by the name of its bridge on the host. An open one that is not internal has none."""
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
    """Everything a network may have here by itself, whatever its policy was; pairs allowed are revoked apart."""
    return Transaction(
        remove=(
            Element(INET, "networks", _link(bridge)),
            Element(INET, "internal", _link(bridge)),
            Element(INET, "allowed", _pair(bridge, bridge)),
        )
    )


def allow(network_id: str, name: str, one: str, other: str) -> Transaction:
    """Two networks, by their bridges, reach each other. The owner is the network whose record remembers it."""
    owner = comment(network_id, name)
    pairs = (_pair(one, other), _pair(other, one))
    return Transaction(_ROUTED, tuple(Element(INET, "allowed", pair, comment=owner) for pair in pairs))


def revoke(one: str, other: str) -> Transaction:
    """The reverse, at once also for connections that exist."""
    return Transaction(remove=tuple(Element(INET, "allowed", pair) for pair in (_pair(one, other), _pair(other, one))))


def add_endpoint(endpoint_id: str, label: str, host_ifname: str, mac: str) -> Transaction:
    """An endpoint of a network whose policy is `isolated`: frames between two such endpoints are dropped."""
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
