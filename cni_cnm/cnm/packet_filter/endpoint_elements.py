"""An endpoint's part of the packet filter: what its network's policy asks for, in and out in one transaction."""

from __future__ import annotations

from cni_cnm.drivers import drivers
from cni_cnm.errors import CheckFailed
from cni_cnm.firewall import Policy, masquerade, port_conflicts, portmap, spoof
from cni_cnm.kernel import ElementTaken, Transaction, merge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.kernel import Element, Nft
    from cni_cnm.model import IPAddress, PortMapping

__all__ = [
    "Policy", "check", "end_streams", "enforce", "forget", "held", "mend", "of_endpoints", "of_network", "put_back",
    "unpublish", "wanted", "withdraw",
]  # fmt: skip

_HINT = "was the ruleset flushed? The next ADD puts it back"


def wanted(record: EndpointRecord, policy: Policy) -> Transaction:
    """An endpoint's part of the packet filter, and its network's."""
    return merge(_of_network(record, policy), _wanted(record, policy))


def enforce(
    nft: Callable[[], Nft],
    record: EndpointRecord,
    transaction: Transaction,
    alive: Callable[[str], bool],
    *,
    declare: bool,
) -> None:
    """Put in what is `wanted`; with `declare` the rules again, too.

    PortTaken if another endpoint that is `alive` (by the first 12 digits of its id) has published one of the ports.
    """
    if transaction.claim:
        given_up = port_conflicts.commit(nft(), transaction, alive, declare=declare)
        _lead_nowhere(nft, record.ports, portmap.targets(given_up))
    else:
        nft().commit(transaction, declare=declare)
    _forget_streams(nft(), [record])


def put_back(nft: Nft, transaction: Transaction, records: Sequence[EndpointRecord]) -> None:
    """Declarations and elements again, after somebody flushed them. A port that another endpoint got since is left."""
    while True:
        try:
            nft.commit(transaction, declare=True)
            break
        except ElementTaken as taken:
            held = {(holder.table, holder.set, holder.key) for holder in taken.holders}
            kept = tuple(one for one in transaction.claim if (one.table, one.set, one.key) not in held)
            if len(kept) == len(transaction.claim):
                raise
            transaction = transaction._replace(claim=kept)
    _forget_streams(nft, records)


def mend(nft: Nft, transaction: Transaction, records: Sequence[EndpointRecord]) -> None:
    """`put_back` for what is gone or leads elsewhere; nothing is written where all is there."""

    def lost(elements: Sequence[Element]) -> tuple[Element, ...]:
        found = zip(elements, nft.find(elements), strict=True)
        return tuple(element for element, there in found if there is None or there.value != element.value)

    if not (transaction.put or transaction.claim):
        return
    gone = transaction._replace(put=lost(transaction.put), claim=lost(transaction.claim))
    if gone.put or gone.claim or any(_short(nft, transaction.declare)):
        owners = {element.owner for element in (*gone.put, *gone.claim)}
        put_back(nft, gone, [record for record in records if record.id[:12] in owners])


def of_network(record: NetworkRecord, policy: Policy, allowed: Sequence[str] = ()) -> Transaction:
    """What a network has in the packet filter by itself; `allowed`: bridges of networks it was opened to."""
    if not policy.bridge:
        return Transaction()
    from cni_cnm.firewall import isolation

    parts = [isolation.allow(record.id, record.name, policy.bridge, other) for other in allowed]
    if policy.isolates:
        own = isolation.add_network(record.id, record.name, policy.bridge, policy.ingress, internal=policy.internal)
        parts.append(own)
    return merge(*parts)


def of_endpoints(records: Sequence[EndpointRecord]) -> Transaction:
    return merge(*(_wanted(record, drivers.get(record.driver).policy(record.options)) for record in records))


def _forget_streams(nft: Nft, records: Sequence[EndpointRecord]) -> None:
    """Ports were published: streams that began before go there from now on."""
    for record in records:
        if udp := portmap.streams(record.ports, ("udp",)):
            nft.published(udp, _targets(record))


def _lead_nowhere(nft: Callable[[], Nft], ports: Sequence[PortMapping], targets: Collection[IPAddress]) -> None:
    """Ports are published there no more: a client that goes on would never reach the port's next owner."""
    streams = portmap.streams(ports)
    if streams and targets:
        nft().unpublished(streams, targets)


def held(ports: Sequence[PortMapping]) -> tuple[str, ...]:
    """A sentence for each port that a process of the host waits on: connections from now on are the endpoint's.

    No error: the process may be of the container itself, a proxy that a runtime starts for the port.
    """
    from cni_cnm.kernel.sock_diag import listeners

    found = {protocol: tuple(listeners(protocol)) for protocol in {port.protocol for port in ports}}
    return tuple(
        f"the published host port {port} is also held by a process of the host, on {listener}, "
        "which gets no connections to it any more"
        for port in ports
        for listener in found[port.protocol]
        if port.host_port <= listener.port < port.host_port + port.size and _meet(port.host_ip, listener.address)
    )


def withdraw(
    nft: Callable[[], Nft], record: EndpointRecord, policy: Policy, still_ours: frozenset[IPAddress] | None
) -> None:
    """Take out what the endpoint put in; what is keyed by an address only where that is `still_ours` (None: all).

    A port is keyed by its number: of those only what the element's owner says is ours.
    """
    put_in = _wanted(record, policy, still_ours)
    if put_in.put or put_in.claim:
        nft().commit(Transaction(remove=put_in.put, release=put_in.claim))
    if still_ours is None:
        end_streams(nft, record)


def end_streams(nft: Callable[[], Nft], record: EndpointRecord) -> None:
    """Connections by the endpoint's ports, after those were taken out.

    Not part of `withdraw` while leases are locked: the table of tracked connections is walked, 10 ms and more.
    """
    if record.ports and drivers.get(record.driver).policy(record.options).publishes:
        _lead_nowhere(nft, record.ports, _targets(record))


def unpublish(nft: Callable[[], Nft], record: EndpointRecord) -> None:
    """Take out the record's ports alone."""
    if not record.ports or not record.addresses:
        return
    addresses = [address.interface for address in record.addresses]
    nft().commit(portmap.unpublish(record.id, record.label, addresses, record.ports, record.portmap))
    end_streams(nft, record)


def check(nft: Callable[[], Nft], record: EndpointRecord, policy: Policy, network: Transaction) -> None:
    """CheckFailed naming the first rule or element that is missing, of the endpoint's or of its `network`'s."""
    own = _wanted(record, policy)
    transaction = merge(network, own)
    # of a network's elements others may be the last who put them: networks may share a bridge
    elements = [element._replace(comment="") for element in network.put] + [*own.put, *own.claim]
    if not elements:
        return
    for table, chain, number, count in _short(nft(), transaction.declare):
        raise CheckFailed(
            f"{number} of {count} rules are missing from {chain} in the nftables table {table}", hint=_HINT
        )
    for element, found in zip(elements, nft().find(elements), strict=True):
        place = f"{element.set} in the nftables table {element.table}"
        if found is None:
            raise CheckFailed(f"the element {element.key} is missing from {place}", hint=_HINT)
        if found.value != element.value:
            raise CheckFailed(
                f"the element {element.key} of {place} leads to {found.value}, not to {element.value}", hint=_HINT
            )
        if element.owner not in ("", found.owner):
            holder = found.comment.partition(" ")[2] or "nobody known"
            raise CheckFailed(f"the element {element.key} of {place} belongs to {holder}")


def _short(nft: Nft, declare: str) -> Iterator[tuple[str, str, int, int]]:
    """The chains of a declaration that lack rules: table, chain, how many, of how many."""
    declared = _rules(declare)
    there = {table: nft.rules(table) for table in dict.fromkeys(table for table, _ in declared)}
    for (table, chain), count in declared.items():
        if (number := count - there[table].get(chain, 0)) > 0:
            yield table, chain, number, count


def _rules(declare: str) -> dict[tuple[str, str], int]:
    """How many rules each chain of a declaration has."""
    counts: dict[tuple[str, str], int] = {}
    for words in map(str.split, declare.splitlines()):
        place = " ".join(words[2:4]), words[4] if len(words) > 4 else ""
        if words[:2] == ["flush", "chain"]:
            counts[place] = 0
        elif words[:2] == ["add", "rule"]:
            counts[place] = counts.get(place, 0) + 1
    return counts


def _targets(record: EndpointRecord) -> list[IPAddress]:
    return [address.interface.ip for address in record.addresses]


def _meet(published: IPAddress | None, waiting: IPAddress) -> bool:
    """Whether both are for some address; [::] takes IPv4 as well, as Linux has it by default."""
    if published is None or waiting == published:
        return True
    if published.is_unspecified and waiting.version == published.version:
        return True
    return waiting.is_unspecified and (waiting.version == 6 or published.version == 4)


def forget(nft: Callable[[], Nft], policy: Policy) -> None:
    """Take out what a network's isolation put in, when the network goes or its policy changes."""
    if policy.isolates:
        from cni_cnm.firewall import isolation

        nft().commit(isolation.remove_network(policy.bridge))


def _of_network(record: EndpointRecord, policy: Policy) -> Transaction:
    """Put again with every endpoint: so it is back, after a flush, with the next one."""
    if not policy.isolates or policy.alone:
        return Transaction()
    from cni_cnm.firewall import isolation

    return isolation.add_network(
        record.network_id, record.network, policy.bridge, policy.ingress, internal=policy.internal
    )


def _wanted(record: EndpointRecord, policy: Policy, only: frozenset[IPAddress] | None = None) -> Transaction:
    parts = []
    addresses = [a.interface for a in record.addresses if only is None or a.interface.ip in only]
    if policy.masquerade and addresses:
        parts.append(masquerade.add(record.id, record.label, addresses))
    if policy.guard_mac:
        parts.append(spoof.add(record.id, record.label, record.host_ifname, record.mac))
    if policy.ingress == "isolated" and not policy.alone:
        from cni_cnm.firewall import isolation

        parts.append(isolation.add_endpoint(record.id, record.label, record.host_ifname, record.mac))
    if policy.isolates and policy.alone:
        from cni_cnm.firewall import isolation

        own = isolation.add_network(record.id, record.label, policy.bridge, policy.ingress, internal=policy.internal)
        parts.append(own)
    if record.ports and record.addresses and policy.publishes:
        targets = [address.interface for address in record.addresses]
        parts.append(portmap.publish(record.id, record.label, targets, record.ports, record.portmap))
    return merge(*parts)
