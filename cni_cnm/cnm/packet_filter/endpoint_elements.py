"""The nftables elements of an endpoint: what its network's policy asks for, put in and taken out in one transaction."""

from __future__ import annotations

from cni_cnm.firewall import isolation, masquerade, port_conflicts, portmap, spoof
from cni_cnm.kernel import Transaction, merge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.firewall import Policy
    from cni_cnm.kernel import Nft
    from cni_cnm.model import IPAddress, IPNetwork, PortMapping


def with_network(record: EndpointRecord, policy: Policy, subnets: Iterable[IPNetwork] = ()) -> Transaction:
    """The elements of an endpoint and of its network: the next endpoint restores those that another program flushed.

    `subnets`: those of the network that its addresses are in, where there are exceptions from masquerade.
    """
    parts = []
    if policy.isolates and (policy.group or not policy.alone):
        parts.append(of_network(record.network_id, record.network, policy))
    if policy.masquerade_except:
        parts.append(masquerade.add_exceptions(record.network_id, record.network, subnets, policy.masquerade_except))
    return merge(*parts, own(record, policy)) if parts else own(record, policy)


def of_network(network_id: str, name: str, policy: Policy) -> Transaction:
    """What a network has by itself, or an endpoint that is a network of its own."""
    return isolation.add_network(
        network_id,
        name,
        policy.side,
        policy.ingress,
        internal=policy.internal,
        published_only=policy.published_only,
        trusted=policy.trusted,
    )


def own(record: EndpointRecord, policy: Policy, only: frozenset[IPAddress] | None = None) -> Transaction:
    """The endpoint's own elements. `only`: of those keyed by an address, the ones of these addresses; None: all."""
    return merge(*parts_of(record, policy, only))


def parts_of(record: EndpointRecord, policy: Policy, only: frozenset[IPAddress] | None = None) -> list[Transaction]:
    """The same, a transaction for each feature: the parts of many endpoints are merged at once."""
    parts = []
    addresses = [a.interface for a in record.addresses if only is None or a.interface.ip in only]
    masqueraded = [address for address in addresses if address.version not in policy.unmasqueraded]
    if policy.masquerade and masqueraded:
        of_hosts = bool(policy.outside) and not policy.cluster
        parts.append(
            masquerade.add(record.id, record.label, masqueraded, policy.sources, policy.cluster, of_hosts=of_hosts)
        )
    if policy.guard_mac:
        parts.append(spoof.add(record.id, record.label, record.host_ifname, record.mac))
    if policy.ingress == "isolated" and policy.bridge and not policy.alone:
        parts.append(isolation.add_endpoint(record.id, record.label, record.host_ifname, record.mac))
    if policy.isolates and policy.alone and not policy.group:
        parts.append(of_network(record.id, record.label, policy))
    if record.ports and record.addresses and policy.publishes:
        targets = [address.interface for address in record.addresses]
        parts.append(portmap.publish(record.id, record.label, targets, record.ports, record.portmap))
    return parts


def of_endpoints(records: Sequence[EndpointRecord]) -> Transaction:
    return merge(*(part for record in records for part in parts_of(record, record.policy)))


def put(
    nft: Nft, record: EndpointRecord, transaction: Transaction, alive: Callable[[str], bool], *, declare: bool
) -> None:
    """Put the elements in. With `declare` the rules are declared again, too.

    PortTaken if another endpoint that is `alive` (by the first 12 digits of its id) has published one of the ports.
    """
    if transaction.claim:
        strict = bool(record.docker_network)
        replaced = port_conflicts.commit(nft, transaction, alive, declare=declare, one_owner_per_port=strict)
        _end_streams(nft, record.ports, portmap.targets(replaced))
    else:
        nft.commit(transaction, declare=declare)
    redirect_streams(nft, [record])


def withdraw(
    nft: Callable[[], Nft], record: EndpointRecord, policy: Policy, still_ours: frozenset[IPAddress] | None
) -> None:
    """Take the endpoint's elements out. Those keyed by an address only where it is `still_ours`; None: all.

    A port's element is keyed by the port's number: it is taken out only if its comment names this endpoint.
    """
    elements = own(record, policy, still_ours)
    if elements.put or elements.claim:
        nft().commit(Transaction(remove=elements.put, release=elements.claim))
    if still_ours is None:
        end_streams(nft, record)


def change_policy(nft: Callable[[], Nft], record: EndpointRecord, before: Policy, now: Policy) -> None:
    """Take out what the endpoint had by its policy `before`, and does not have by the policy of `now`."""
    kept = {element.place for element in own(record, now).put}
    gone = tuple(element for element in own(record, before).put if element.place not in kept)
    if gone:
        nft().commit(Transaction(remove=gone))


def unpublish(nft: Callable[[], Nft], record: EndpointRecord) -> None:
    """Take out the elements of the record's ports alone."""
    if not record.ports or not record.addresses:
        return
    addresses = [address.interface for address in record.addresses]
    nft().commit(portmap.unpublish(record.id, record.label, addresses, record.ports, record.portmap))
    end_streams(nft, record)


def redirect_streams(nft: Nft, records: Sequence[EndpointRecord]) -> None:
    """Direct UDP streams to the endpoints, also those that began before the port was published."""
    for record in records:
        if udp := portmap.streams(record.ports, ("udp",)):
            nft.published(udp, _targets(record))


def end_streams(nft: Callable[[], Nft], record: EndpointRecord) -> None:
    """Delete tracked connections to the endpoint's ports, after their elements were taken out.

    Not part of `withdraw` while leases are locked: listing the tracked connections takes 10 ms and more.
    """
    if record.ports and record.policy.publishes:
        _end_streams(nft(), record.ports, _targets(record))


def _end_streams(nft: Nft, ports: Sequence[PortMapping], targets: Collection[IPAddress]) -> None:
    """Else a client that keeps using an old connection would never reach the port's next endpoint."""
    streams = portmap.streams(ports)
    if streams and targets:
        nft.unpublished(streams, targets)


def _targets(record: EndpointRecord) -> list[IPAddress]:
    return [address.interface.ip for address in record.addresses]
