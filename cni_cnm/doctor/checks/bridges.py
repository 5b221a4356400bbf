"""Bridges of our networks: nearly full, shared with another program."""

from __future__ import annotations

from cni_cnm.cnm.network import network_gateways
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import Finding
from cni_cnm.drivers.bridge import PORTS_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.doctor.picture import Picture
    from cni_cnm.kernel import Link

_NEARLY_FULL = PORTS_MAX * 95 // 100


def look(picture: Picture) -> Iterator[Finding]:
    by_bridge: dict[str, list[NetworkRecord]] = {}
    for network, bridge in picture.bridges:
        by_bridge.setdefault(bridge.name, []).append(network)
    for name, networks in by_bridge.items():
        bridge_link = picture.stack.link(name)
        if bridge_link is not None:
            yield from _full(picture, bridge_link, networks[0])
            yield from _shared(picture, bridge_link, networks)


def _full(picture: Picture, bridge: Link, network: NetworkRecord) -> Iterator[Finding]:
    ports = len(picture.stack.links(master=bridge.ifindex))
    if ports >= _NEARLY_FULL:
        yield Finding(
            f"the bridge {bridge.name} of the network {network.name} has {ports} ports of at most {PORTS_MAX}",
            "When it is full, an ADD fails. Further containers need another network.",
            (command("cni-cnm", "network", "create", f"{network.name}-2"),),
            about=network.name,
        )


def _shared(picture: Picture, bridge: Link, networks: list[NetworkRecord]) -> Iterator[Finding]:
    """Addresses that are of no network of ours: two programs give addresses on one bridge, from two lists."""
    if not any(network.role.gateway == "driver" for network in networks):
        return
    ours = {
        gateway.ip
        for network in networks
        for gateway in network_gateways.gateways_of(
            picture.host, network, [one for one in picture.endpoints if one.network_id == network.id]
        )
    }
    for address in picture.stack.addresses(bridge.ifindex):
        if address.ip not in ours and not address.is_link_local:
            yield Finding(
                f"the bridge {bridge.name} has the address {address}, which no network of cni-cnm has",
                "Another program uses this bridge, too: both think that all of it is theirs.",
                (command("ip", "address", "show", "dev", bridge.name, "to", str(address.ip)),),
                about=bridge.name,
            )
