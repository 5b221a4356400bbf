"""What may have changed since the last look. A part compares that, and nothing else."""

from __future__ import annotations

from cni_cnm.kernel.contract.changes import ANYTHING, NOTHING
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel import Stack
    from cni_cnm.kernel.contract.changes import FilterChange, LinkChange


class Changed(NamedTuple):
    everything: bool = False
    """It is not known what has changed: the program starts, or was asked to look."""
    links: frozenset[str] = frozenset()
    """Names of links of the host that were made, changed or deleted, or that lost an address or a route."""
    deleted: frozenset[str] = frozenset()
    """Those of them that were deleted. A link of that name may be there again."""
    bridges: bool = False
    """A bridge, its address or a default route may have changed, of whatever program."""
    packet_filter: FilterChange = NOTHING


EVERYTHING = Changed(everything=True, bridges=True, packet_filter=ANYTHING)


def changed_by(packet_filter: FilterChange, links: LinkChange, stack: Stack) -> Changed:
    """What the kernel has reported. Indexes are looked up now: a link that is gone needs no address and no route."""
    if links.overflow:
        return EVERYTHING
    names, bridges = set(links.links), bool(links.links) or links.default_route
    for index in links.addressed | links.stripped:
        link = stack.link_at(index)
        if link is None:
            continue
        bridges = bridges or link.kind != "veth"
        if index in links.stripped or link.kind != "veth":  # a pod of the driver ptp gets an address
            names.add(link.name)
    return Changed(False, frozenset(names), links.deleted, bridges, packet_filter)
