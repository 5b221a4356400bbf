"""What the record of an overlay network says: this host's blocks, which of them it has lost, what all hosts agree on.

The record's ipam has a range set for each IP version, with all blocks of this host:

    "ranges": [[{"subnet": "10.32.7.0/24"}, {"subnet": "10.32.9.0/24", "Lost": "node2"}], [{"subnet": "fd32:…/64"}, …]],
    "routes": [{"dst": "10.32.0.0/16"}, {"dst": "fd32::/48"}, …]

The ranges at the same position of each set are one block. `Lost` names the host that has a block now: no address of it
is given any more. By the routes, every container reaches the other hosts' blocks through its gateway.

`Held` beside `Lost` is the reason why this host must give no address of a block, which is its own and not lost.

Where the store gives the blocks (Kubernetes), an earlier block may have fewer IP versions. The sets then have different
lengths, and the positions are counted from the end.
"""

from __future__ import annotations

from cni_cnm.cluster import rules
from cni_cnm.drivers import OVERLAY, drivers
from cni_cnm.ipam.ranges import LOST
from cni_cnm.model import ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cluster.values import Block, OverlayNetwork
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.drivers import Options
    from cni_cnm.drivers.overlay_options import OverlayOptions
    from cni_cnm.model import IpamSpec, IPNetwork, Json

    Member = Mapping[str, Json]
    Blocks = Sequence[tuple[IPNetwork, ...]]
    """The subnets of each block, IPv4 first."""


_HELD = "Held"
"""Beside LOST, so that an ADD reads one key."""


def is_overlay(record: NetworkRecord) -> bool:
    return record.driver == OVERLAY


def all_subnets(record: NetworkRecord) -> Sequence[IPNetwork]:
    """The subnets of the whole network, on all hosts.

    None for a network of this host alone, and for one of which only the hosts' blocks are known.
    """
    return drivers.get(record.driver).all_subnets(record.options)


def blocks(record: NetworkRecord) -> Blocks:
    """This host's blocks, also those it has lost."""
    return [tuple(ip_network(member["subnet"]) for member in members) for members in _members(record)]


def lost(record: NetworkRecord) -> Mapping[IPNetwork, str]:
    """The first subnets of the blocks that other hosts have now, with those hosts' names."""
    return {
        ip_network(first["subnet"]): first[LOST]
        for first, *_ in _members(record)
        if LOST in first and _HELD not in first
    }


def held(record: NetworkRecord) -> str:
    """Why this host must not give addresses of its blocks; "" if it may."""
    return next((str(first[_HELD]) for first, *_ in _members(record) if _HELD in first), "")


def with_hold(record: NetworkRecord, why: str) -> NetworkRecord:
    """The record with its blocks held for this reason; "": not held. Lost ones stay lost."""

    def changed(member: Member) -> Member:
        if LOST in member and _HELD not in member:
            return member
        rest = {key: value for key, value in member.items() if key not in (LOST, _HELD)}
        return {**rest, LOST: "no host", _HELD: why} if why else rest

    sets = [[changed(member) for member in members] for members in record.ipam.get("ranges") or ()]
    return record._replace(ipam={**record.ipam, "ranges": sets})


def _members(record: NetworkRecord) -> list[tuple[Mapping[str, Json], ...]]:
    """The ranges of each block."""
    sets = record.ipam.get("ranges") or ()
    length = max(map(len, sets), default=0)
    return [tuple(ranges[position] for ranges in sets if len(ranges) >= -position) for position in range(-length, 0)]


def ranges(claimed: Blocks, lost_blocks: Mapping[IPNetwork, str]) -> list[list[dict[str, Json]]]:
    """The range sets of these blocks. `lost_blocks`: as `lost` gives them.

    The last block has all IP versions; those with fewer of them are the first ones.
    """

    def member(block: tuple[IPNetwork, ...], version: int) -> list[dict[str, Json]]:
        holder = lost_blocks.get(block[0], "")
        mark = {LOST: holder} if holder else {}
        return [{"subnet": str(subnet), **mark} for subnet in block if subnet.version == version]

    return [[one for block in claimed for one in member(block, last.version)] for last in claimed[-1]]


def ipam_config(given: Mapping[str, Json], options: OverlayOptions, sets: Json) -> dict[str, Json]:
    """The ipam object for a record: as it was given, with these range sets, and routes to the whole network."""
    config = {key: value for key, value in given.items() if key not in ("subnet", "ranges")}
    whole = [{"dst": subnet} for subnet in (options.subnet, options.subnet6) if subnet]
    return {**config, "ranges": sets, "routes": [*whole, *(given.get("routes") or ())]}


def with_blocks(given: IpamSpec, record: NetworkRecord) -> IpamSpec:
    """A configured IPAM with this host's blocks in place of the subnet of all hosts."""
    if record.driver != OVERLAY:
        return given
    return given._replace(config=ipam_config(given.config, _overlay(record.options), record.ipam.get("ranges")))


def network_of(record: NetworkRecord) -> OverlayNetwork:
    """What all hosts agree on, as a directory has it."""
    from cni_cnm.cluster.values import OverlayNetwork

    options = _overlay(record.options)
    sizes = tuple(options.block if subnet.version == 4 else options.block6 for subnet in options.subnets)
    sizes = sizes if all(sizes) else ()
    direct = rules.direct(options.direct)
    return OverlayNetwork(record.name, options.id, options.subnets, sizes, options.vni, options.port, direct)


def directory_blocks(record: NetworkRecord, host: str, instance: str) -> list[Block]:
    """This host's blocks, as a directory has them."""
    from cni_cnm.cluster.values import Block

    return [Block(record.name, subnets, host, instance) for subnets in blocks(record)]


def options_of(record: NetworkRecord) -> OverlayOptions:
    return _overlay(record.options)


def _overlay(options: Options) -> OverlayOptions:
    from cni_cnm.drivers.overlay_options import OverlayOptions

    assert isinstance(options, OverlayOptions)
    return options
