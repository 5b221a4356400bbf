"""Our nftables tables as pure functions: values in, `Transaction` out. docs/firewall.md shows the whole.

    table inet cni_cnm      what is routed
    table bridge cni_cnm    what is switched inside a bridge

A module has one feature. Its declaration (sets, chains, rules) is the same for every pod and written at most
once; a pod is elements, each with its owner in the comment. So the cost of a pod does not depend on how many
there are. A declaration says `add`, and `flush chain` for chains of its own feature: run again, it changes
nothing.
"""

from __future__ import annotations

from typing import NamedTuple

INET = "inet cni_cnm"
BRIDGE = "bridge cni_cnm"
TABLES = (INET, BRIDGE)


def comment(endpoint_id: str, label: str) -> str:
    """Owner of an element: 12 digits of the endpoint id and a label for people; at most 128 bytes."""
    text = "".join("'" if c in '"\\' else c if c.isprintable() else "?" for c in f"{endpoint_id[:12]} {label}")
    return text.encode()[:128].decode(errors="ignore")


class Policy(NamedTuple):
    """What a driver wants of the packet filter for the endpoints of a network."""

    masquerade: bool = False
    guard_mac: bool = False
    bridge: str = ""
    """What the network's isolation goes by."""
    ingress: str = "open"
    """Of `isolation.POLICIES`."""
    internal: bool = False
    zone: str = ""
    """Of firewalld; "": trusted."""
    admin_chain: str = ""
    """Of iptables, that the network's packets go through where they are accepted; "": none."""
    alone: bool = False
    """`bridge` is the endpoint's own link, which nobody shares: what goes by it comes and goes with the endpoint."""

    publishes: bool = True
    """False: the driver publishes ports itself."""

    @property
    def isolates(self) -> bool:
        return bool(self.bridge) and (self.ingress != "open" or self.internal)
