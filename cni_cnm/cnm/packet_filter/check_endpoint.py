"""CHECK of an endpoint's part of the packet filter, its network's, and its accept in other firewalls."""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import (
    endpoint_elements,
    firewall_state,
    foreign_accepts,
    foreign_bridges,
    network_elements,
    restore_elements,
)
from cni_cnm.cnm.records import load_network
from cni_cnm.errors import CheckFailed
from cni_cnm.kernel import Transaction, merge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.firewall import Policy
    from cni_cnm.kernel import Nft

_HINT = "was the ruleset flushed? `cni-cnm repair` puts it back"


def check(host: Host, record: EndpointRecord, policy: Policy) -> list[str]:
    """CheckFailed naming the first thing that is missing, or drops. Writes nothing.

    Returns sentences about what may drop the endpoint's packets.
    """
    network = load_network(host.store, record.network)
    subnets = network_elements.excepted_subnets(network, record.addresses)
    check_elements(
        host.nft,
        endpoint_elements.own(record, policy),
        network_elements.elements_of(host, network, subnets) if network else Transaction(),
        rules=firewall_state.has_written(host),
    )
    key = foreign_accepts.key_of(record, policy)
    others = foreign_accepts.has_others(host)
    if others and (missing := foreign_accepts.missing(host, key, policy)):
        raise CheckFailed(missing, hint="`cni-cnm repair` puts it back")
    if policy.isolates and (unisolated := foreign_bridges.missing(host)):
        raise CheckFailed(unisolated, hint="`cni-cnm repair` puts it back")
    found = foreign_accepts.look_for_obstacles(host, key, policy) if others else ()
    obstacles = foreign_accepts.of_addresses(found, record.addresses)
    for obstacle in obstacles:
        if obstacle.certain:
            raise CheckFailed(obstacle.sentence, hint=f"accept there what {policy.bridge} sends and gets")
    return [obstacle.sentence for obstacle in obstacles]


def check_elements(nft: Nft, own: Transaction, network: Transaction, *, rules: bool = True) -> None:
    """CheckFailed naming the first rule or element that is missing, of the endpoint's or of its network's.

    `rules` False: those of another release are there, until the next ADD or the service writes this program's.
    """
    transaction = merge(network, own)
    # A network's elements may have another network's comment: the last one put on a shared bridge.
    elements = [element._replace(comment="") for element in network.put] + [*own.put, *own.claim]
    if not elements:
        return
    for table, chain, number, count in restore_elements.missing_rules(nft, transaction.declare) if rules else ():
        raise CheckFailed(
            f"{number} of {count} rules are missing from {chain} in the nftables table {table}", hint=_HINT
        )
    for element, found in zip(elements, nft.find(elements), strict=True):
        place = f"{element.set} in the nftables table {element.table}"
        if found is None:
            raise CheckFailed(f"the element {element.key} is missing from {place}", hint=_HINT)
        if found.value != element.value:
            raise CheckFailed(
                f"the element {element.key} of {place} leads to {found.value}, not to {element.value}", hint=_HINT
            )
        if element.owner not in ("", found.owner):
            holder = found.comment.partition(" ")[2] or "an unknown owner"
            raise CheckFailed(f"the element {element.key} of {place} belongs to {holder}")
