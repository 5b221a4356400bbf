"""Subnets of networks that another network or the host has, too. That is not ours to change: it is only said.

A new network is refused such a subnet. One that is on record goes on: a VPN that comes up must not stop a node.
"""

from __future__ import annotations

from cni_cnm.cnm.network import subnet_conflicts
from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.cnm.records import network_records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.reconcile.changed import Changed


def compare(host: Host, changed: Changed) -> Iterator[Difference]:
    """Compared again only if another program's link has changed: it lists all links, addresses and routes."""
    records = list(network_records(host.store))
    if not (changed.everything or changed.links - {record.policy.bridge for record in records}):
        return
    for record in records:
        for sentence in subnet_conflicts.warnings(host, record):
            yield Difference("", sentence, record.name, stays=True)


def repair(host: Host, difference: Difference) -> str:  # noqa: ARG001
    """It stays: the operator chooses another subnet, or takes the other owner's away."""
    return ""
