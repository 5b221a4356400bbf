"""What the counters of rules that drop mean: for people. The rules name their counter by `cni_cnm.firewall.drop`."""

from __future__ import annotations

REASONS = {
    "internal": "to or from a network made with --internal",
    "isolation": "between two networks that are not allowed to each other",
    "foreign": "between a network and a bridge of another program",
    "unpublished": "from outside to a port that is not published",
    "overlay_source": "to an overlay network, by a link that does not lead back to the sender",
    "names": "to port 53 of a network's gateway, by another link than the network's own",
    "loopback": "to 127.0.0.0/8, by a link other than lo",
    "deleting": "from a link that is being deleted",
    "icc": "between containers of a network with icc false",
    "spoof": "from a MAC address that is not the container's (macspoofchk)",
    "reflection": "broadcasts that a bridge port with hairpin would send back",
    "unknown_host": "VXLAN packets from or to a host that is not of the cluster",
    "host_source": "VXLAN packets by a link that does not lead back to the sender",
}
"""By name of the counter. Its names are those of the rules, in all our tables."""
