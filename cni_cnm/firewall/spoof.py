"""Spoof check (`macspoofchk`): an endpoint may send only from its own MAC address.

set guarded    names of the host's links that are checked
set senders    link . MAC address that may send on it
"""

from __future__ import annotations

from cni_cnm.firewall import BRIDGE, comment, drop, drop_counters
from cni_cnm.kernel import Element, Transaction, link_key

_DECLARE = f"""\
add table {BRIDGE}
add set {BRIDGE} guarded {{ type ifname; }}
add set {BRIDGE} senders {{ type ifname . ether_addr; }}
{drop_counters(BRIDGE, "spoof")}\
add chain {BRIDGE} spoof {{ type filter hook prerouting priority -300; }}
flush chain {BRIDGE} spoof
add rule {BRIDGE} spoof iifname @guarded iifname . ether saddr != @senders {drop("spoof")}
"""


def add(endpoint_id: str, label: str, host_ifname: str, mac: str) -> Transaction:
    """Drop frames that arrive at the host's link `host_ifname` from another MAC address than `mac`."""
    owner = comment(endpoint_id, label)
    link = link_key(host_ifname)
    return Transaction(
        declare=_DECLARE,
        put=(
            Element(BRIDGE, "guarded", link, comment=owner),
            Element(BRIDGE, "senders", f"{link} . {mac.lower()}", comment=owner),
        ),
    )
