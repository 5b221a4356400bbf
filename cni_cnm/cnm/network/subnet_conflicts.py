"""Whether the subnets of a network can be its own: no special addresses, and no other owner.

Two owners of one subnet both seem to work, and packets go to the wrong one. So this is looked at when a network is made
and when its subnets change. What appears later is no reason to refuse an endpoint, since a VPN that comes up must not
stop a node that works: `warnings` says it, for STATUS, CHECK and the log.
"""

from __future__ import annotations

from ipaddress import ip_network

from cni_cnm.cnm.network.network_description import claimed_subnets
from cni_cnm.cnm.records import endpoint_records, network_records, pool_records
from cni_cnm.drivers import POLICY_OF_CHAIN, drivers
from cni_cnm.errors import Conflict
from cni_cnm.ipam import special_ranges
from cni_cnm.kernel import CLUSTER
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.kernel import Stack
    from cni_cnm.model import IPInterface, IPNetwork, NetworkSpec, Subnet


_HINT = 'choose another subnet; "allowOverlap": true permits the overlap, on the command line --allow-overlap'
_HINT_OF_LIST = "choose another subnet, or remove the other network if no list has it any more: cni-cnm network rm"


class Claim(NamedTuple):
    """A subnet that has an owner. `owner` is a phrase for messages, such as `the network web`."""

    subnet: IPNetwork
    owner: str
    on_same_link: bool = False
    """It is a network of the reference profile on the same bridge or parent: there two lists may share a subnet."""
    network: str = ""
    """Its name, where the owner is a network."""
    link: str = ""
    """Of the host, where the owner is that link or a route by it."""
    address: IPInterface | None = None
    """Of that link; None for a route."""


def refuse(
    host: Host,
    record: NetworkRecord,
    subnets: Sequence[Subnet],
    spec: NetworkSpec,
    requested_pools: Collection[str] = (),
    replaced: NetworkRecord | None = None,
) -> tuple[str, ...]:
    """Refuse subnets that a network cannot have. Returns what overlaps all the same, a sentence each.

    In the reference profile a gateway outside its subnet is accepted, and another network on the same link may have the
    subnet, too. A subnet of two addresses is refused there, as by the reference host-local. `allow_overlap` accepts
    every overlap. A list of the reference plugins cannot say that. Its runtime removes a network's bridge and its list
    only, so a network on record that has neither bridge nor container claims nothing there.

    Args:
        record: the network as it is going to be recorded.
        subnets: its subnets, as its IPAM gives them.
        spec: as it was requested.
        requested_pools: ids of Docker's pools that are this network's own.
        replaced: the network as it is recorded. Links of its own data path, which goes, claim nothing.

    Raises:
        InvalidConfig: for special addresses, and a subnet too small; the message names the key.
        Conflict: for an overlap; the message names both owners.
    """
    reference = spec.options.get("profile") == "reference"
    of_list = bool(spec.options.get(POLICY_OF_CHAIN))
    for subnet in subnets:
        if subnet.key:
            special_ranges.refuse_subnet(f"{subnet.key}.subnet", subnet.pool)
            if reference:
                from cni_cnm.ipam import ranges

                ranges.refuse_point_to_point(subnet.key, subnet.pool)
            if subnet.gateway is not None:
                gateway = subnet.gateway.ip
                special_ranges.refuse_gateway(f"{subnet.key}.gateway", gateway, subnet.pool, outside=reference)
    found = []
    pools = [subnet.pool for subnet in subnets]
    for pool, claim in _overlaps(host, record, pools, requested_pools, replaced, of_list=of_list):
        overlap = sentence(record, pool, claim)
        if not spec.allow_overlap and not (reference and claim.on_same_link):
            raise Conflict(overlap, hint=_HINT_OF_LIST if of_list else _HINT)
        found.append(overlap)
    return tuple(found)


def warnings(host: Host, record: NetworkRecord) -> tuple[str, ...]:
    """What overlaps the subnets of a network that exists, a sentence each."""
    return tuple(sentence(record, subnet, claim) for subnet, claim in overlapping(host, record))


def overlapping(host: Host, record: NetworkRecord) -> Iterator[tuple[IPNetwork, Claim]]:
    """The same as values: each subnet of the network that has another owner, with the first one found."""
    for subnet, claim in _overlaps(host, record, claimed_subnets(record)):
        if not claim.on_same_link:
            yield subnet, claim


def sentence(record: NetworkRecord, subnet: IPNetwork, claim: Claim) -> str:
    what = "is also that of" if claim.subnet == subnet else f"overlaps with {claim.subnet} of"
    return f"the subnet {subnet} of the network {record.name} {what} {claim.owner}"


def _overlaps(
    host: Host,
    record: NetworkRecord,
    subnets: Sequence[IPNetwork],
    requested_pools: Collection[str] = (),
    replaced: NetworkRecord | None = None,
    *,
    of_list: bool = False,
) -> Iterator[tuple[IPNetwork, Claim]]:
    """Each subnet that has another owner, with the first one found. `of_list`: a network that is left over has none."""
    subnets = [subnet for subnet in subnets if subnet.prefixlen]
    if not subnets:
        return
    claims = [*_of_networks(host, record, requested_pools, of_list=of_list), *_of_host(host, record, subnets, replaced)]
    for subnet in subnets:
        for claim in claims:
            if claim.subnet.version == subnet.version and claim.subnet.overlaps(subnet):
                yield subnet, claim
                break


def _of_networks(
    host: Host, record: NetworkRecord, requested_pools: Collection[str], *, of_list: bool
) -> Iterator[Claim]:
    """What other networks have, and what Docker has requested for a network that is not made yet."""
    link = _link(host, record)
    for other in network_records(host.store):
        if other.name != record.name and not (of_list and _is_left_over(host, other)):
            for subnet in claimed_subnets(other):
                same = bool(link) and _link(host, other) == link
                yield Claim(subnet, f"the network {other.name}", same, network=other.name)
    for pool in pool_records(host.store):
        if pool.id not in requested_pools and not pool.network:
            yield Claim(ip_network(pool.subnet), "a network that Docker is about to make")


def _is_left_over(host: Host, network: NetworkRecord) -> bool:
    """Whether it has neither a container nor its bridge. Docker's networks, and those of other drivers, never are."""
    if network.driver not in ("bridge", "ptp") or network.owner or network.docker_networks:
        return False
    link = _link(host, network)
    return not (link and host.stack.link(link)) and next(_endpoints(host, network), None) is None


def _link(host: Host, record: NetworkRecord) -> str:
    return next(iter(drivers.get(record.driver).subnet_links(record.options, host.stack)), "")


def _of_host(
    host: Host, record: NetworkRecord, subnets: Sequence[IPNetwork], replaced: NetworkRecord | None
) -> Iterator[Claim]:
    """What the host has. A plugin's network is not compared: the plugin alone knows which links are its own."""
    driver = drivers.get(record.driver)
    if driver.role(record.options).interface == "moved":
        return
    own = {*driver.subnet_links(record.options, host.stack)}
    if replaced is not None and replaced.owns_data_path:
        own.update(drivers.get(replaced.driver).subnet_links(replaced.options, host.stack))

    def of_endpoints() -> set[str]:
        return {endpoint.host_ifname for endpoint in _endpoints(host, record)}

    yield from claims_of_links(host.stack, subnets, own, of_endpoints)


def _endpoints(host: Host, record: NetworkRecord) -> Iterator[EndpointRecord]:
    return (endpoint for endpoint in endpoint_records(host.store) if endpoint.network_id == record.id)


def claims_of_links(
    stack: Stack, subnets: Sequence[IPNetwork], own: Collection[str], of_endpoints: Callable[[], Collection[str]]
) -> Iterator[Claim]:
    """What links and the main routing table of a namespace claim of the subnets.

    A link claims its addresses. A route claims its destination if that is as specific as the subnet or more: a wider
    one (a default route, a VPN's 0.0.0.0/1) gives way to the network's own route. Routes of the types blackhole,
    unreachable and prohibit claim nothing, as the network's own route is preferred, nor those to blocks of other hosts.
    Nothing claims link-local subnets of IPv6: every link has its own (RFC 4007).

    Args:
        own: names of links that belong to the network, such as its bridge. They claim nothing.
        of_endpoints: those of its endpoints, which neither. On most hosts no other link has a claim, and nothing that
            grows with the number of endpoints is read.
    """
    subnets = [subnet for subnet in subnets if subnet.version == 4 or not subnet.is_link_local]
    versions = {subnet.version for subnet in subnets}
    known = {index for index in map(stack.index_of, own) if index}
    claimants = dict.fromkeys(
        index
        for index, address in stack.local_addresses(versions)
        if index not in known and any(address.version == subnet.version and address in subnet for subnet in subnets)
    )
    addresses = [
        (index, address)
        for index in claimants
        for address in stack.addresses(index)
        if any(address.version == subnet.version and address.ip in subnet for subnet in subnets)
    ]
    routes = [
        route
        for route in stack.routes(versions=versions)
        if not (route.link in known or route.kind or route.protocol == CLUSTER)
        and any(_covers(subnet, route.dst) for subnet in subnets)
    ]
    if not addresses and not routes:
        return
    own = {*own, *of_endpoints()}
    names = {link.ifindex: link.name for link in stack.links()}
    for index, address in addresses:
        name = names.get(index)
        if name is not None and name not in own:
            owner = f"{name}, which has the address {address}"
            yield Claim(address.network, owner, link=name, address=address)
    for route in routes:
        if names.get(route.link) not in own:
            by = f" by {names[route.link]}" if route.link in names else ""
            yield Claim(route.dst, f"a route of the host{by}", link=names.get(route.link, ""))


def _covers(subnet: IPNetwork, route: IPNetwork) -> bool:
    """True if the route is as specific as the subnet or more, and leads into it."""
    return route.version == subnet.version and route.prefixlen >= subnet.prefixlen and route.overlaps(subnet)
