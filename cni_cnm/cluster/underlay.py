"""What this host's kernel must have so that packets reach other hosts' blocks: the plan. Values in, entries out.

    hosts of the cluster     their underlay addresses: VXLAN packets of no other host are accepted    Peer, Port
    network of this host     a VXLAN device; packets to blocks that no host has are refused           Device,
                                                                                                      Unreachable
    block of another host
        on a link of ours    a plain route by its underlay address                                    Route
        else                 a route by the VXLAN device, with the block's first address as gateway,  Route
                             which is a neighbour with that host's MAC,                               Neighbour
                             which is found at that host's underlay address                           Forward

The device learns nothing and has no default destination, so it sends frames only where an entry says. Each entry
follows from one network or one host, so a change of one host costs its own entries (cluster/plan.py).
"""

from __future__ import annotations

from typing import TypeAlias

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cni_cnm.cluster.uplink import Uplink
    from cni_cnm.cluster.values import Block, ClusterHost, OverlayNetwork
    from cni_cnm.firewall.remote_blocks import OwnSide
    from cni_cnm.model import IPAddress, IPNetwork

OVERHEAD = {4: 50, 6: 70}
"""Bytes that VXLAN adds to a packet, by IP version of the underlay: Ethernet 14, VXLAN 8, UDP 8, IP 20 or 40."""
IPV6_MTU_MIN = 1280
"""RFC 8200, section 5. The kernel takes IPv6 off a link whose MTU is smaller."""
DEVICE_PREFIX = "cnm-vx"
"""Begins the names of our VXLAN devices, before the VNI."""
ALIAS = "cni-cnm overlay network "
"""Begins the alias of our VXLAN devices, before the network's name."""


class Device(NamedTuple):
    """The VXLAN device of a network."""

    name: str
    network: str
    vni: int
    port: int
    local: IPAddress
    mac: str
    mtu: int

    @property
    def alias(self) -> str:
        return ALIAS + self.network


class Unreachable(NamedTuple):
    """The subnet of a network: packets to it leave by no other route, such as the default route."""

    subnet: IPNetwork


class Route(NamedTuple):
    """The way to one block of another host."""

    dst: IPNetwork
    link: str
    gw: IPAddress
    src: IPAddress | None
    """The address that packets of this host itself get, so that they are answered; None: the kernel's choice."""
    tunnelled: bool
    """The gateway is on the VXLAN device `link`, though no route says so."""
    own: OwnSide | None = None
    """Of a network whose subnets are not known: what the packet filter must know of the block `dst`."""


class Neighbour(NamedTuple):
    """The MAC of a gateway on a VXLAN device."""

    device: str
    address: IPAddress
    mac: str


class Forward(NamedTuple):
    """Where the host with a MAC is on the underlay."""

    device: str
    mac: str
    to: IPAddress


class Peer(NamedTuple):
    """An underlay address of another host."""

    address: IPAddress
    host: str


class Port(NamedTuple):
    """A UDP port at which VXLAN packets arrive."""

    number: int


Entry: TypeAlias = Device | Unreachable | Route | Neighbour | Forward | Peer | Port
Key: TypeAlias = "tuple[object, ...]"
"""What is unique in the kernel: two entries of one key exclude each other."""
Delta: TypeAlias = "Mapping[Key, tuple[Entry | None, Entry | None]]"
"""What changes: each key's entry before and after, None for none. No key whose entry stays."""


class Here(NamedTuple):
    """This host."""

    name: str
    mac: str
    uplinks: tuple[Uplink, ...]
    """The preferred one first."""
    addresses: frozenset[IPAddress] = frozenset()
    """All of its links, the uplinks' too. A route's source is one of them: a bridge's gateway, once it is there."""


def key_of(entry: Entry) -> Key:
    """A Device's is its name, a Route's its destination, a Peer's its address, and so on."""
    if isinstance(entry, Neighbour | Forward):
        return type(entry), entry[0], entry[1]
    return type(entry), entry[0]


class Member(NamedTuple):
    """A network that this host has, and its own blocks of it."""

    network: OverlayNetwork
    blocks: tuple[Block, ...]
    lost: frozenset[Block] = frozenset()
    """Those of them that are marked as lost on its disk."""
    own: OwnSide | None = None
    """For a network whose subnets are not known: what the packet filter needs of this host."""
    held: str = ""
    """Why the disk says that no address is given; "": they are given."""


class Joined(NamedTuple):
    """What follows from a network of this host."""

    network: OverlayNetwork
    device: Device | None
    """None: it has no data path."""
    own: frozenset[IPNetwork] = frozenset()
    """Subnets of this host's own blocks."""
    sources: Mapping[int, IPAddress] = {}
    """By IP version: this host's address in the network, if it has one by now."""
    problem: str = ""
    """A sentence: why it has no data path, or none for IPv6."""
    side: OwnSide | None = None
    """As `Member.own`."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        if self.device is None:
            return ()
        return (self.device, Port(self.network.port), *map(Unreachable, self.network.subnets))


def join(here: Here, member: Member) -> Joined:
    network = member.network
    own = frozenset(subnet for block in member.blocks for subnet in block.subnets)
    whole = network.subnets or own
    inside = next((one.address for one in here.uplinks if _within(one.address, whole)), None)
    if not here.uplinks or inside is not None:
        why = f"underlay address {inside} is in its subnet" if inside is not None else "underlay address is not known"
        return Joined(network, None, own, problem=f"this host's {why}")
    uplink = here.uplinks[0]
    mtu = uplink.mtu - OVERHEAD[uplink.address.version]
    name = f"{DEVICE_PREFIX}{network.vni}"
    device = Device(name, network.name, network.vni, network.port, uplink.address, here.mac, mtu)
    sources: dict[int, IPAddress] = {}
    for gateway in sorted((subnet[1] for subnet in own), key=lambda one: one.packed):
        if gateway in here.addresses:
            sources.setdefault(gateway.version, gateway)
    problem = ""
    if mtu < IPV6_MTU_MIN and any(subnet.version == 6 for subnet in whole):
        problem = f"the MTU of {uplink.name} leaves {mtu} bytes for a packet in it, and IPv6 needs {IPV6_MTU_MIN}"
    return Joined(network, device, own, sources, problem, member.own)


def of_host(
    here: Here, joined: Mapping[str, Joined], host: ClusterHost, blocks: Iterable[Block]
) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The entries of another host and its blocks, and sentences about what of it is not reached.

    Without a network that this host has joined there are none.
    """
    if not joined or not here.uplinks:
        return (), ()
    wrong = _wrong_address(here, joined, host)
    if wrong:
        return (), (wrong,)
    entries: list[Entry] = [Peer(address, host.name) for address in host.addresses]
    problems: dict[str, None] = {}
    devices: set[str] = set()
    for block in blocks:
        member = joined.get(block.network)
        if member is None or member.device is None or block.instance != host.instance:  # of an earlier host of the name
            continue
        for subnet in block.subnets:
            if subnet in member.own:
                sentence = f"the block {subnet} of network {block.network} is host {host.name}'s, and this host has it"
                problems[sentence] = None
                continue
            if member.side is not None and (sentence := _in_the_way(here, member, host, subnet)):
                problems[sentence] = None
                continue
            source = member.sources.get(subnet.version)
            if direct := _direct(here, member.network, host, subnet):
                link, gateway = direct
                entries.append(Route(subnet, link, gateway, source, False, member.side))
                continue
            target = _of_version(host.addresses, member.device.local.version)
            if target is None or member.network.direct == "always":
                problems[_unreached(member, host)] = None
                continue
            device, gateway = member.device.name, subnet.network_address
            route = Route(subnet, device, gateway, source, True, member.side)
            entries += (route, Neighbour(device, gateway, host.mac))
            if device not in devices:
                devices.add(device)
                entries.append(Forward(device, host.mac, target))
    return tuple(entries), tuple(problems)


def _direct(here: Here, network: OverlayNetwork, host: ClusterHost, subnet: IPNetwork) -> tuple[str, IPAddress] | None:
    """The link that the host is on with us and its address there. IPv6 packets have no gateway of IPv4."""
    if network.direct == "never":
        return None
    for uplink in here.uplinks:
        for address in host.addresses:
            if address.version in (subnet.version, 6) and _within(address, uplink.subnets):
                return uplink.name, address
    return None


def _wrong_address(here: Here, joined: Mapping[str, Joined], host: ClusterHost) -> str:
    """A sentence, if packets to the host would not leave this host, or would need the overlay to reach it."""
    for address in host.addresses:
        if address in here.addresses:
            return f"host {host.name} has the underlay address {address}, which is this host's"
        for one in joined.values():
            if _within(address, one.network.subnets):
                return f"host {host.name} has the underlay address {address}, which is in network {one.network.name}"
    return ""


def _in_the_way(here: Here, member: Joined, host: ClusterHost, subnet: IPNetwork) -> str:
    """A sentence, if a route to the block would take packets from the underlay, or from this host's own blocks.

    Where the subnets of the network are known, all of its blocks are within them, and apart.
    """
    block = f"the block {subnet} of network {member.network.name}, host {host.name}'s,"
    for own in member.own:
        # `overlaps` would keep 400 bytes more with each block.
        if own.network_address in subnet or subnet.network_address in own:
            return f"{block} overlaps {own}, which is this host's"
    for address in (*host.addresses, *(uplink.address for uplink in here.uplinks)):
        if address in subnet:
            return f"{block} has the underlay address {address} in it"
    return ""


def _unreached(member: Joined, host: ClusterHost) -> str:
    network, local = member.network, member.device.local if member.device is not None else None
    if network.direct == "always":
        why = "it is on no link of this host, and the network's hosts are reached directly (direct: always)"
    else:
        why = f"it has no underlay address of the IP version of this host's, {local}"
    return f"host {host.name} is not reached in network {network.name}: {why}"


def _of_version(addresses: Iterable[IPAddress], version: int) -> IPAddress | None:
    return next((address for address in addresses if address.version == version), None)


def _within(address: IPAddress, subnets: Iterable[IPNetwork]) -> bool:
    return any([address in subnet for subnet in subnets])  # noqa: C419 - a generator takes longer than the questions
