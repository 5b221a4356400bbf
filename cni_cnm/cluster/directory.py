"""Directory: what hosts agree on. The contract of etcd's (cluster/etcd/) and Kubernetes' (a later module).

Calls wait at most `timeout` seconds (given to the directory's constructor). They raise `DirectoryUnreachable` if there
is no answer. An outcome that is not known (the connection ended after the request was sent) is found out by reading
again, inside the call; it is never tried again blindly. A directory is used by one thread at a time, and `watch` by
another one.
"""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cluster.pace import Pace
    from cni_cnm.cluster.values import Block, Change, ClusterHost, OverlayNetwork, Snapshot
    from cni_cnm.model import IPNetwork


class WatchEnded(Exception):
    """Changes are no longer reported. The message says why. What has changed since must be read again."""


class WatchNotOpened(WatchEnded):
    """The store cannot be watched just now. All is known up to `revision`, so `watch` may be tried from there."""

    def __init__(self, reason: str, revision: int) -> None:
        super().__init__(reason)
        self.revision = revision


class Readable(Protocol):
    """What a directory has to read and to follow."""

    name: str
    """For messages, such as `etcd at http://192.0.2.1:2379`."""

    @property
    def pace(self) -> Pace:
        """How long to wait before a further list."""

    def snapshot(self) -> Snapshot:
        """All there is. What cannot be read as a value is left out (see `skipped`)."""

    def skipped(self) -> Sequence[str]:
        """A sentence for each thing that the last `snapshot` or batch of `watch` left out, and why."""

    def watch(self, revision: int) -> Iterator[tuple[int, Sequence[Change]]]:
        """Changes after `revision`, in order, in batches that belong together, each with the revision it leads to.

        An empty batch says only that the watch has reached that revision (a proof of life). Raises
        `WatchEnded` when it ends for any reason: compacted, cut off, cancelled, refused, or silent for longer than it
        may be. The caller then takes a new snapshot (cluster/follow.py). Raises `WatchNotOpened` where none is
        needed: the store does not answer, or wants not to be asked.
        """


class Directory(Readable, Protocol):
    """A whole one: what can be read, and what this host writes."""

    assigns: bool
    """Whether the store gives each host its blocks (Kubernetes' podCIDRs): none is claimed or released.

    `claim` then gives the block that the host has, NotReady if it has none. `claim_again` says whether it has it still.
    """

    def close(self) -> None: ...

    # this host -------------------------------------------------------------
    def announce(self, host: ClusterHost) -> None:
        """Write this host's record, if it differs.

        Conflict, naming both instances, if another instance has the name.
        """

    def show_life(self, host: ClusterHost) -> int:
        """Keep this host from being shown as silent for the next lease time. Returns the store's present revision.

        One request, no write where the store has leases. A lease that has run out is taken again.
        """

    def leave(self, name: str, *, instance: str = "", force: bool = False) -> Sequence[Block]:
        """Delete a host's record and free its blocks; they are returned. No error if absent.

        Forbidden without `force` if the host shows life and `instance` is not its own.
        """

    # networks and blocks ---------------------------------------------------
    def create_network(self, wanted: OverlayNetwork) -> OverlayNetwork:
        """Make it, or give the one that is there with the same subnets, block sizes, port and direct.

        `wanted.vni` 0: the lowest free one is chosen. Conflict for another network of that name, VNI, or overlapping
        subnet, naming it.
        """

    def delete_network(self, name: str) -> None:
        """No error if absent. ActiveEndpoints if hosts have blocks of it, naming the hosts."""

    def claim(
        self, network: OverlayNetwork, host: ClusterHost, preferred: Sequence[tuple[IPNetwork, ...]] = ()
    ) -> Block:
        """A block that is this host's from now on, by compare-and-swap.

        One of `preferred` (each the subnets of a block) if it is free or this host's, else a free one. A block that
        `snapshot` shows as this host's is used after a claim only: a release of it may still be on its way.

        AddressesExhausted if none is free. NoSuchNetwork if the network is gone, or another one has its name.
        """

    def claim_again(self, block: Block) -> bool:
        """Claim exactly this block, which this host has on its disk: after a store was restored. True if it is ours."""

    def release(self, block: Block) -> None:
        """Give a block back. No error if it is not this host's any more."""
