"""Bridge ports with hairpin: a frame may leave by the port that it came by, and only unicast is meant to.

    set came_by    port . MAC address: senders of broadcasts in the last 0.1 s, and where they came in

A bridge sends a broadcast to every port, with hairpin also to the one that it came by. A bridge inside a container then
learns its own members' addresses on the wrong side, and the kernel warns of every neighbour advertisement. nftables
cannot compare the two ports of a frame. So the port and the sender are put in a set, and a copy on its way to a port
from which its sender has come is dropped. The kernel keeps the group with the port, so an endpoint needs no element.
"""

from __future__ import annotations

from cni_cnm.firewall import BRIDGE, drop, drop_counters
from cni_cnm.kernel import UNICAST_HAIRPIN_GROUP

DECLARE = f"""\
add table {BRIDGE}
add set {BRIDGE} came_by {{ type ifname . ether_addr; flags dynamic,timeout; timeout 100ms; size 65535; }}
{drop_counters(BRIDGE, "reflection")}\
add chain {BRIDGE} reflected
flush chain {BRIDGE} reflected
add rule {BRIDGE} reflected update @came_by {{ iifname . ether saddr }}
add rule {BRIDGE} reflected oifname . ether saddr @came_by {drop("reflection")}
add chain {BRIDGE} reflection {{ type filter hook forward priority -200; }}
flush chain {BRIDGE} reflection
add rule {BRIDGE} reflection meta pkttype {{ broadcast, multicast }} iifgroup {UNICAST_HAIRPIN_GROUP} \
oifgroup {UNICAST_HAIRPIN_GROUP} jump reflected
"""
