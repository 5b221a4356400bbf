"""Isolation of a network that is taken over (`ingressPolicy`), where the plugins' rules and ours differ.

The plugins keep two bridges apart if both have a policy. Our rules also keep out bridges of other programs.
"""

from __future__ import annotations

from cni_cnm.adopt import fused
from cni_cnm.cnm.packet_filter import foreign_bridges
from cni_cnm.errors import Conflict
from cni_cnm.reference import cache, change, configuration, host_rules
from cni_cnm.reference.rules import isolated_bridges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord


def require_same_reach(host: Host, network: NetworkRecord, taken_first: Collection[str] = ()) -> None:
    """Conflict if containers of the network and of another program's bridge would not reach each other any more.

    `taken_first`: bridges of networks that are taken over before it.
    """
    policy = network.policy
    if not policy.isolates:
        return
    apart = isolated_bridges(host_rules.read())
    for name in sorted(foreign_bridges.find(host) - {policy.bridge, *taken_first} - apart):
        bridge = host.stack.link(name)
        if bridge is not None and any(True for _ in host.stack.links(master=bridge.ifindex)):
            raise Conflict(
                f"its ingressPolicy here also keeps it apart from the bridge {name} of another program, "
                "and containers on both reach each other now",
                hint=f"take over the network of {name} first, as `cni-cnm adopt --all` does; a bridge that cannot be "
                "taken over must have no containers",
            )


def remove_rules(bridge: str, folder: str) -> None:
    """Remove the plugins' rules of the bridge, if they have no attachment on it any more. A release puts them back.

    `folder`: libcni's, of results.
    """
    for cached in cache.read_all(folder)[0]:
        if not fused.is_ours(cached.config):
            theirs = configuration.parse(cached).bridge
            if theirs is not None and theirs.name == bridge:
                return
    change.remove_isolation(bridge)
