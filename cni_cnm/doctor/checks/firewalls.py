"""Other programs' firewalls: what they drop of our networks, and rules that cannot be understood."""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import foreign_accepts, foreign_obstacles
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import Finding, Unchecked
from cni_cnm.firewall import foreign_drops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.doctor.picture import Picture
    from cni_cnm.kernel.contract.filter_rules import BaseChain

_DROPPED = "Containers of this network do not reach other hosts, or are not reached by them."
_PER_FAMILY = {"inet": 0, "ip": 0, "ip6": 0}


def look(picture: Picture) -> Iterator[Finding | Unchecked]:
    firewalls = picture.host.foreign_firewalls
    if firewalls is None or not firewalls.stamp(()):
        return
    in_zones = firewalls.firewalld()
    chains = foreign_obstacles.base_chains(firewalls, in_zones=in_zones)
    read = foreign_drops.reader(firewalls)
    for network in picture.used_networks:
        policy = network.policy
        if not policy.bridge or policy.internal or policy.alone:
            continue
        for chain in chains:
            for obstacle in foreign_drops.obstacles(policy.bridge, [chain], read):
                if obstacle.certain:
                    yield Finding(obstacle.sentence, _DROPPED, _accept(network, chain), about=network.name)
                else:
                    yield Unchecked(
                        f"packets of the network {network.name} in the chain {chain.place}",
                        f"{obstacle.sentence}; `cni-cnm explain` follows one packet",
                    )
        accept = foreign_accepts.accept_of(network.id, policy)
        for sentence in _of_iptables(picture, accept.key, network):
            yield Unchecked(f"packets of the network {network.name} in iptables", sentence)


def _of_iptables(picture: Picture, key: str, network: NetworkRecord) -> list[str]:
    """What stands before our accepts in iptables' own tables, and tables that cannot be read."""
    known = foreign_accepts.look_for_obstacles(picture.host, key, network.policy)
    return [one.sentence for one in known if " of the nftables table " not in one.sentence]


def _accept(network: NetworkRecord, chain: BaseChain) -> tuple[str, ...]:
    """Accept the network's bridge before everything else in the chain; a chain of another family is shown."""
    place = ("nft", "insert", "rule", chain.family, chain.table, chain.name)
    if chain.family not in _PER_FAMILY:  # it sees frames by the bridge's ports, and has those of every bridge
        return (command("nft", "list", "chain", chain.family, chain.table, chain.name),)
    ways = {0: ("iifname",), 4: ("oifname",)}.get(chain.hook, ("iifname", "oifname"))
    return tuple(command(*place, way, network.policy.bridge, "accept") for way in ways)
