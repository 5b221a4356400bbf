"""This host's blocks where hosts claim them (etcd): which are claimed again, are lost, or are released.

A block on this host's disk that the directory does not have as this host's is claimed again. If another host has it by
then, it is marked as lost. A block that no network of this host has is released after a time.
"""

from __future__ import annotations

from cni_cnm.cluster.actions import ClaimAgain, MarkLost, Release, Say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cni_cnm.cluster.actions import Action
    from cni_cnm.cluster.host_file import HostIdentity
    from cni_cnm.cluster.known import Known
    from cni_cnm.cluster.underlay import Member
    from cni_cnm.cluster.values import Block, Change

    Members = Mapping[str, Member]
    """The overlay networks on this host's disk, by name."""

ORPHAN_TICKS = 12
"""A block of ours whose network is not on this host is released after two minutes: a join may be under way."""


class ClaimedBlocks:
    """Of one host. Each call gets what is known of the directory, and the networks of this host."""

    def __init__(self, me: HostIdentity, store: str) -> None:
        self._me = me
        self._store = store
        self._missing: set[Block] = set()
        """Blocks that were not this host's for certain at the last tick, as `_not_ours` gives them."""
        self._claims: dict[Block, bool] = {}
        """Whether these are this host's, as the last answers to `ClaimAgain` were."""
        self._absent: set[str] = set()
        """Networks of this host that the directory does not have, as was said."""
        self._orphans: dict[Block, int] = {}

    def listed(self, known: Known, joined: Members, *, refused: bool) -> Iterator[Action]:
        """The whole directory was read. `refused`: this host must not give addresses."""
        self._missing = set(_not_ours(known, joined))
        if not refused:
            yield from _claim(self._missing)

    def changed(self, known: Known, joined: Members, changes: Iterable[Change]) -> Iterator[Action]:  # noqa: ARG002
        """What is missing by a change is looked at with the next tick: it may be under way."""
        yield from ()

    def found_joined(self, known: Known, joined: Members) -> Iterator[Action]:  # noqa: ARG002
        """The networks of this host have changed."""
        ours = {block for one in joined.values() for block in one.blocks}
        self._claims = {block: answer for block, answer in self._claims.items() if block in ours}
        yield from ()

    def ticked(self, known: Known, joined: Members, *, whole: bool) -> Iterator[Action]:
        """`whole` False: this host may have more networks than could be read."""
        missing = set(_not_ours(known, joined))
        yield from _claim(missing & self._missing)
        self._missing = missing
        self._claims = {block: answer for block, answer in self._claims.items() if block in missing}
        if not whole:
            return
        held = {block for one in joined.values() for block in one.blocks}
        mine = {block for block in known.blocks_of(self._me.name) if block.instance == self._me.instance}
        self._orphans = {block: self._orphans.get(block, 0) + 1 for block in mine - held}
        for block, ticks in self._orphans.items():
            if ticks == ORPHAN_TICKS:
                yield Say(f"the block {block.phrase} is released: no network of this host has it")
                yield Release(block)

    def claimed(self, known: Known, joined: Members, block: Block, *, ours: bool) -> Iterator[Action]:
        """A block was claimed again, or another host has it: its mark follows. Or the directory lacks its network."""
        self._absent &= joined.keys() - known.networks.keys()
        if not ours and block.network not in known.networks:
            if block.network not in self._absent:
                self._absent.add(block.network)
                yield Say(self._absence(block.network))
            return
        holder = known.blocks.get(block.key)
        if holder == block:
            holder = None
        if self._claims.get(block) == ours:
            pass
        elif ours:
            yield Say(f"the block {block.phrase} is this host's again")
        else:
            whose = f"host {holder.host} (instance {holder.instance})" if holder else "another host"
            yield Say(
                f"the block {block.phrase} belongs to {whose} now: its pods stay, and no new address of it is given; "
                f"this host is instance {self._me.instance}"
            )
        self._claims[block] = ours
        yield MarkLost(block.network, block.subnets[0], "" if ours else holder.host if holder else "another host")

    def lost(self, member: Member) -> Sequence[str]:
        """The blocks of a network that other hosts have, by their first subnet."""
        found = member.blocks
        return [str(block.subnets[0]) for block in found if not self._claims.get(block, block not in member.lost)]

    def warnings(self, known: Known, joined: Members) -> Sequence[str]:
        """Sentences that stand now."""
        return [self._absence(name) for name in joined if name in self._absent and name not in known.networks]

    def refusal(self, known: Known, joined: Members, name: str) -> str:  # noqa: ARG002
        """Why this host must not give addresses of a network. `lost` has what is to be said here."""
        return ""

    def _absence(self, network: str) -> str:
        what = "its blocks stay as they are on this host, and it cannot get further ones"
        return f"{self._store} does not have the network {network}: {what}"


def _not_ours(known: Known, joined: Members) -> Iterator[Block]:
    """Blocks on this host's disk that the directory does not have as this host's, or that are marked as lost."""
    for member in joined.values():
        for block in member.blocks:
            if known.blocks.get(block.key) != block or block in member.lost:
                yield block


def _claim(blocks: set[Block]) -> Iterator[Action]:
    for block in sorted(blocks):
        yield ClaimAgain(block)
