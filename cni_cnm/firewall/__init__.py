"""Our nftables tables as pure functions: values in, `Transaction` out. docs/firewall.md shows the whole ruleset.

    table inet cni_cnm      routed packets
    table bridge cni_cnm    frames inside a bridge

Each module is one feature. Its declaration (sets, chains, rules) is the same for every pod and is written at most once.
A pod adds elements only, each with its owner in the comment, so the cost of a pod does not depend on their number. A
declaration consists of `add`, and of `flush chain` for its own chains: a second run changes nothing.

A rule that drops counts what it drops, by reason (`drop_reasons.py`). Counters keep their values when rules are written
again.
"""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import IPNetwork

INET = "inet cni_cnm"
BRIDGE = "bridge cni_cnm"
TABLES = (INET, BRIDGE)
UNDERLAY = "inet cni_cnm_underlay"
"""Of the agent of a cluster's host (cluster/accepted_hosts.py), which alone writes to it."""


def comment(endpoint_id: str, label: str) -> str:
    """The comment of an element: its owner (12 digits of an id) and a label for people; at most 128 bytes."""
    text = f"{endpoint_id[:12]} {label}"
    if not text.isprintable() or '"' in text or "\\" in text:
        text = "".join("'" if c in '"\\' else c if c.isprintable() else "?" for c in text)
    return text.encode()[:128].decode(errors="ignore")


def drop_counters(table: str, *reasons: str) -> str:
    """Declares the counters of a table's rules that end in `drop(reason)`."""
    return "".join(f"add counter {table} {reason}\n" for reason in reasons)


def drop(reason: str) -> str:
    """The end of a rule that drops, and counts it."""
    return f"counter name {reason} drop"


class Policy(NamedTuple):
    """The packet filter that a driver requests for the endpoints of a network."""

    masquerade: bool = False
    guard_mac: bool = False
    bridge: str = ""
    """Name of the host's link that isolation matches."""
    ingress: str = "open"
    """One of `isolation.POLICIES`."""
    internal: bool = False
    zone: str = ""
    """Zone of firewalld; "": trusted."""
    admin_chain: str = ""
    """Chain of iptables that the network's packets pass before they are accepted; "": none."""
    alone: bool = False
    """`bridge` is a link of this endpoint alone: its elements are added and removed with the endpoint."""

    masquerade_except: tuple[IPNetwork, ...] = ()
    """Destinations to which packets are not masqueraded. None holds another one."""
    publishes: bool = True
    """False: the driver publishes ports by itself."""
    group: int = 0
    """Of a network without a bridge: the group of its endpoints' links on the host, which isolation matches."""
    published_only: tuple[int, ...] = ()
    """IP versions by which other hosts reach published ports only."""
    routed: tuple[int, ...] = ()
    """IP versions by which other hosts reach all ports, though other networks do not."""
    unmasqueraded: tuple[int, ...] = ()
    """IP versions whose addresses stay as they are, although the others are masqueraded."""
    sources: tuple[str, ...] = ()
    """Addresses that masqueraded packets get, at most one of each family; else the kernel chooses."""
    trusted: tuple[str, ...] = ()
    """Links of the host from which all ports are reached, also where `published_only` says otherwise."""
    unicast_hairpin: bool = False
    """Bridge ports with hairpin send back unicast alone (reflection.py)."""
    outside: str = ""
    """The host's link to other hosts of the network (overlay.py); "" for none."""
    cluster: tuple[IPNetwork, ...] = ()
    """Subnets of the network on all of its hosts: packets within them keep their source."""

    @property
    def side(self) -> str | int:
        """What isolation matches for the network (isolation.Side); "" for nothing."""
        return self.group or self.bridge

    @property
    def sides(self) -> tuple[str | int, ...]:
        """All of them: with the link to other hosts of the network."""
        return (self.side, self.outside) if self.outside else (self.side,)

    @property
    def isolates(self) -> bool:
        return bool(self.side) and (self.ingress != "open" or self.internal)

    def of_endpoint(self, host_ifname: str) -> Policy:
        """With what other firewalls must accept for one endpoint: without a bridge, its own link."""
        return self._replace(bridge=host_ifname, alone=True) if self.group else self


class Accepted(NamedTuple):
    """What is accepted of a network by other firewalls (foreign_accept.py)."""

    key: str
    """Id of the network, or of an endpoint that is alone on its link."""
    bridge: str
    admin_chain: str = ""
    inbound: tuple[str, ...] = ()
    """Families (`ip`, `ip6`) in which traffic from outside that is no answer is accepted, too."""
    internal: bool = False
    """Only what stays within the bridge is accepted."""
    zone: str = ""
    """Of firewalld; "": trusted."""
