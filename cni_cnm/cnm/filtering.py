"""An endpoint's part of the packet filter: what its network's policy asks for, in and out in one transaction."""

from __future__ import annotations

from cni_cnm.errors import CheckFailed
from cni_cnm.firewall import Policy, claims, masquerade, portmap, spoof
from cni_cnm.kernel import Transaction, merge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.kernel import Nft
    from cni_cnm.model import IPAddress, PortMapping

__all__ = ["Policy", "check", "enforce", "forget", "held", "withdraw"]


def enforce(nft: Callable[[], Nft], record: EndpointRecord, policy: Policy, alive: Callable[[str], bool]) -> None:
    """An unused nftables costs nothing: without elements it is not even opened.

    PortTaken if another endpoint that is `alive` (by the first 12 digits of its id) has published one of the ports.
    """
    transaction = merge(_of_network(record, policy), _wanted(record, policy))
    if transaction.claim:
        claims.commit(nft(), transaction, alive)
    elif transaction.put:
        nft().commit(transaction)
    if udp := portmap.udp_ports(record.ports):
        from cni_cnm.kernel.conntrack import Conntrack

        Conntrack().published(udp, _targets(record))


def held(ports: Sequence[PortMapping]) -> tuple[str, ...]:
    """A sentence for each port that a process of the host waits on: connections from now on are the endpoint's.

    No error: the process may be of the container itself, a proxy that a runtime starts for the port.
    """
    from cni_cnm.kernel.listeners import listeners

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
    wanted = _wanted(record, policy, still_ours)
    if wanted.put or wanted.claim:
        nft().commit(Transaction(remove=wanted.put, release=wanted.claim))
    if udp := portmap.udp_ports(record.ports):
        # A client that goes on sending keeps its stream alive, and would never reach the port's next owner.
        from cni_cnm.kernel.conntrack import Conntrack

        Conntrack().unpublished(udp, _targets(record))


def check(nft: Callable[[], Nft], record: EndpointRecord, policy: Policy) -> None:
    transaction = merge(_of_network(record, policy), _wanted(record, policy))
    wanted = transaction.put + transaction.claim
    for element in nft().missing(wanted) if wanted else ():
        raise CheckFailed(
            f"the element {element.key} is missing from {element.set} in the nftables table {element.table}",
            hint="was the ruleset flushed? DEL and ADD the container to put it back",
        )


def _meet(published: IPAddress | None, waiting: IPAddress) -> bool:
    """Whether both are for some address; [::] takes IPv4 as well, as Linux has it by default."""
    if published is None or waiting == published:
        return True
    if published.is_unspecified and waiting.version == published.version:
        return True
    return waiting.is_unspecified and (waiting.version == 6 or published.version == 4)


def _targets(record: EndpointRecord) -> list[IPAddress]:
    return [address.interface.ip for address in record.addresses]


def forget(nft: Callable[[], Nft], policy: Policy) -> None:
    """Take out what a network's isolation put in, when the network goes or its policy changes."""
    if policy.isolates:
        from cni_cnm.firewall import isolation

        nft().commit(isolation.remove_network(policy.bridge))


def _of_network(record: EndpointRecord, policy: Policy) -> Transaction:
    """Put again with every endpoint: so it is back, after a flush, with the next one."""
    if not policy.isolates:
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
    if policy.ingress == "isolated":
        from cni_cnm.firewall import isolation

        parts.append(isolation.add_endpoint(record.id, record.label, record.host_ifname, record.mac))
    if record.ports and record.addresses:
        targets = [address.interface for address in record.addresses]
        parts.append(portmap.publish(record.id, record.label, targets, record.ports, record.portmap))
    return merge(*parts)
