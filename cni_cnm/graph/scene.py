"""What a picture of this host shows: values, read from the records and the kernel at one moment."""

from __future__ import annotations

from cni_cnm.cnm.network import cluster_networks
from cni_cnm.cnm.network.network_description import claimed_subnets
from cni_cnm.cnm.packet_filter.network_elements import allowed_pairs
from cni_cnm.cnm.records import READY, endpoint_records, network_records
from cni_cnm.drivers import OVERLAY, drivers
from cni_cnm.errors import CnmError
from cni_cnm.find.endpoint_names import named
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.find.endpoint_names import NamedEndpoint
    from cni_cnm.kernel import Link

UP, DOWN, MISSING, NONE = "up", "down", "missing", ""
"""State of a link on the host. NONE: there is no link to look at."""
MASQUERADE, ROUTED, PARENT, NOWHERE = "masquerade", "own address", "parent link", "nothing outside"
"""How packets of a network leave the host."""


class Uplink(NamedTuple):
    name: str
    addresses: tuple[str, ...] = ()


class EndpointScene(NamedTuple):
    id: str
    name: str
    """The pod, Docker's name of the container, or its id."""
    network: str
    ifname: str = ""
    addresses: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    link: str = ""
    """The host's end of the interface."""
    link_state: str = NONE
    state: str = READY
    owner: str = ""
    also_in: tuple[str, ...] = ()
    """Other networks of the same sandbox."""

    @property
    def is_well(self) -> bool:
        return self.state == READY and self.link_state in (UP, NONE)


class NetworkScene(NamedTuple):
    name: str
    driver: str
    subnets: tuple[str, ...] = ()
    link: str = ""
    """The network's link on the host: a bridge, or the parent. "" for none."""
    link_state: str = NONE
    gateways: tuple[str, ...] = ()
    """Addresses of that link."""
    outside: str = MASQUERADE
    ingress: str = "open"
    endpoints: tuple[EndpointScene, ...] = ()


class OtherHost(NamedTuple):
    """Another host of the cluster, with its blocks by network."""

    name: str
    addresses: tuple[str, ...] = ()
    blocks: Mapping[str, tuple[str, ...]] = {}
    alive: bool = True


class Scene(NamedTuple):
    host: str
    uplinks: tuple[Uplink, ...] = ()
    networks: tuple[NetworkScene, ...] = ()
    allowed: tuple[tuple[str, str], ...] = ()
    """Pairs of networks that are open to each other."""
    others: tuple[OtherHost, ...] = ()

    @property
    def endpoints(self) -> list[EndpointScene]:
        return [endpoint for network in self.networks for endpoint in network.endpoints]


def read(host: Host, name: str, networks: Sequence[str] = ()) -> Scene:
    """The scene of this host, whose name is `name`. With `networks`, only those of these names."""
    links = {link.name: link for link in host.stack.links()}
    addresses = _addresses(host, links)
    members = _endpoints(host, links)
    shown = [record for record in network_records(host.store) if not networks or record.name in networks]
    names = {record.name for record in shown}
    pairs = sorted({(min(pair), max(pair)) for pair in allowed_pairs(host) if names.issuperset(pair)})
    return Scene(
        name,
        tuple(_uplinks(host, links, addresses)),
        tuple(_network(host, record, links, addresses, members) for record in shown),
        tuple(pairs),
        tuple(_others(host, shown)),
    )


def _addresses(host: Host, links: Mapping[str, Link]) -> Callable[[str], tuple[str, ...]]:
    """The addresses of a link, without link-local ones."""
    by_index: dict[int, list[str]] = {}
    for index, address in host.stack.all_addresses():
        if not address.is_link_local:
            by_index.setdefault(index, []).append(str(address))

    def of(name: str) -> tuple[str, ...]:
        link = links.get(name)
        return tuple(by_index.get(link.ifindex, ())) if link else ()

    return of


def _uplinks(host: Host, links: Mapping[str, Link], addresses: Callable[[str], tuple[str, ...]]) -> Iterator[Uplink]:
    """The links with default routes."""
    found = {route.link for route in host.stack.routes() if route.dst.prefixlen == 0}
    for link in links.values():
        if link.ifindex in found:
            yield Uplink(link.name, addresses(link.name))


def _network(
    host: Host,
    record: NetworkRecord,
    links: Mapping[str, Link],
    addresses: Callable[[str], tuple[str, ...]],
    members: Mapping[str, Sequence[EndpointScene]],
) -> NetworkScene:
    try:
        name = next(iter(drivers.get(record.driver).subnet_links(record.options, host.stack)), "")
    except CnmError:  # the parent is missing
        name = ""
    name = name or record.policy.bridge
    return NetworkScene(
        record.name,
        record.driver,
        tuple(map(str, claimed_subnets(record))),
        name,
        _link_state(links, name),
        addresses(name) if record.role.outside == "host" else (),
        _outside(record),
        record.policy.ingress,
        tuple(members.get(record.id, ())),
    )


def _outside(record: NetworkRecord) -> str:
    if record.internal or record.role.outside == "nowhere":
        return NOWHERE
    if record.role.outside == "parent":
        return PARENT
    return MASQUERADE if record.policy.masquerade else ROUTED


def _link_state(links: Mapping[str, Link], name: str) -> str:
    if not name:
        return NONE
    link = links.get(name)
    if link is None:
        return MISSING
    return UP if link.up else DOWN


def _endpoints(host: Host, links: Mapping[str, Link]) -> dict[str, list[EndpointScene]]:
    """By network id, by name and address."""
    known = list(named(host, endpoint_records(host.store)))
    networks: dict[str, list[str]] = {}
    for one in known:
        if one.record.container_id:
            networks.setdefault(one.record.container_id, []).append(one.record.network)
    found: dict[str, list[EndpointScene]] = {}
    for one in known:
        others = (name for name in networks.get(one.record.container_id, ()) if name != one.record.network)
        found.setdefault(one.record.network_id, []).append(_endpoint(one, links, tuple(others)))
    for members in found.values():
        members.sort(key=lambda one: (one.name, one.addresses))
    return found


def _endpoint(one: NamedEndpoint, links: Mapping[str, Link], also_in: tuple[str, ...]) -> EndpointScene:
    record = one.record
    link = record.host_ifname if record.role.outside == "host" and record.state == READY else ""
    return EndpointScene(
        record.id,
        one.container,
        record.network,
        record.ifname,
        tuple(str(address.interface) for address in record.addresses),
        tuple(port.published().replace("->", "→") for port in record.ports),
        link,
        _link_state(links, link),
        record.state,
        record.owner,
        also_in,
    )


def _others(host: Host, shown: Sequence[NetworkRecord]) -> Iterator[OtherHost]:
    """The other hosts that have blocks of an overlay network that is shown."""
    names = {record.name for record in shown if record.driver == OVERLAY}
    if host.cluster is None or not names:
        return
    snapshot = cluster_networks.view_or_last_known(host).snapshot
    me = host.cluster.host().name
    blocks: dict[str, dict[str, list[str]]] = {}
    for block in sorted(snapshot.blocks.values()):
        if block.network in names and block.host != me:
            blocks.setdefault(block.host, {}).setdefault(block.network, []).append(" ".join(map(str, block.subnets)))
    for name, by_network in sorted(blocks.items()):
        known = snapshot.hosts.get(name)
        yield OtherHost(
            name,
            tuple(map(str, known.addresses)) if known else (),
            {network: tuple(texts) for network, texts in by_network.items()},
            name in snapshot.alive,
        )
