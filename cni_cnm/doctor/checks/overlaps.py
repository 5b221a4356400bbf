"""Subnets that another network, or a link or route of the host, has too."""

from __future__ import annotations

from cni_cnm.cnm.network import subnet_conflicts
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.network.subnet_conflicts import Claim
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.doctor.picture import Picture

_WHY = "Packets to one of the two go to the other. If the other one is to stay, make the network with another subnet."


def look(picture: Picture) -> Iterator[Finding]:
    for network in picture.networks:
        for subnet, claim in subnet_conflicts.overlapping(picture.host, network):
            if shown := _command(picture, network, claim):
                what = subnet_conflicts.sentence(network, subnet, claim)
                yield Finding(what, _WHY, (shown,), about=network.name)


def _command(picture: Picture, network: NetworkRecord, claim: Claim) -> str:
    """Remove a network that no endpoint is in, or show what the host has: that is not ours, and may be its uplink's.

    "" for what Docker is about to make, and for the second network of two.
    """
    if claim.network:
        if network.name > claim.network:
            return ""
        used = {one.name for one in picture.used_networks}
        return command("cni-cnm", "network", "rm", network.name if claim.network in used else claim.network)
    if claim.address is not None:
        return command("ip", "address", "show", "dev", claim.link, "to", str(claim.address.ip))
    if not claim.link:
        return ""
    return command("ip", f"-{claim.subnet.version}", "route", "show", str(claim.subnet), "dev", claim.link)
