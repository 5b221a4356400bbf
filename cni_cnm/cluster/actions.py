"""What an agent does: the values that cluster/agent.py gives, and service/cluster_agent.py carries out."""

from __future__ import annotations

from typing import TypeAlias

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cluster.values import Block, Change, ClusterHost, OverlayNetwork
    from cni_cnm.model import IPNetwork


class Announce(NamedTuple):
    """Write this host's record."""

    host: ClusterHost


class ClaimAgain(NamedTuple):
    """Claim this block, which this host has on its disk."""

    block: Block


class Release(NamedTuple):
    """Release this block: no network of this host has it."""

    block: Block


class MarkLost(NamedTuple):
    """A host has this block of this host (its first subnet), and no further address of it is given."""

    network: str
    block: IPNetwork
    holder: str
    """The host's name; "": the block is this host's, and its addresses are given."""


class Assign(NamedTuple):
    """The store gives this host this block: its network gets it, and no other block of it gives addresses."""

    network: OverlayNetwork
    """As all hosts have it."""
    block: Block


class Hold(NamedTuple):
    """No further address of this network is given on this host, and its endpoints stay."""

    network: str
    why: str
    """A sentence; "": addresses are given."""


class Compare(NamedTuple):
    """Compare the whole plan with the kernel."""


class Update(NamedTuple):
    """Only the entries of these hosts and blocks differ."""

    changes: tuple[Change, ...]


class Save(NamedTuple):
    """What is known of the cluster has changed."""


class Say(NamedTuple):
    """A line for the log."""

    line: str


Action: TypeAlias = Assign | Announce | ClaimAgain | Release | MarkLost | Hold | Compare | Update | Save | Say
