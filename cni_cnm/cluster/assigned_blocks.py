"""This host's block where the store gives it (Kubernetes' podCIDRs): the network of this host follows it.

The block that this host had before is not its own any more: its pods stay, and no new address of it is given.
"""

from __future__ import annotations

from cni_cnm.cluster.actions import Assign, Hold, Say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cni_cnm.cluster.actions import Action
    from cni_cnm.cluster.claimed_blocks import Members
    from cni_cnm.cluster.host_file import HostIdentity
    from cni_cnm.cluster.known import Known
    from cni_cnm.cluster.underlay import Member
    from cni_cnm.cluster.values import Block, Change, OverlayNetwork


class AssignedBlocks:
    """Of one host, in the one network. The calls are those of ClaimedBlocks."""

    def __init__(self, me: HostIdentity, store: str, wanted: OverlayNetwork, *, joins: bool) -> None:
        """`wanted`: the network as this host's settings have it. `joins`: it is joined without a request of a pod."""
        self._me = me
        self._store = store
        self._wanted = wanted
        self._joins = joins
        self._listed = False
        self._said: Block | None = None
        """The block that was named in the log."""
        self.away = ""
        """Why the directory does not answer; "" if it does."""
        self.unannounced = ""
        """Why the directory does not have this host's record; "" if it may have it."""
        self.unusable = ""
        """Why the block cannot be used."""
        self.conflict = ""
        """Why another host has this host's name; "" if none has it."""
        self.left_out: Sequence[str] = ()
        """What the directory has, and is left out."""

    @property
    def network(self) -> str:
        return self._wanted.name

    def listed(self, known: Known, joined: Members, *, refused: bool) -> Iterator[Action]:  # noqa: ARG002
        self._listed = True
        yield from self._follow(known, joined)

    def changed(self, known: Known, joined: Members, changes: Iterable[Change]) -> Iterator[Action]:  # noqa: ARG002
        yield from self._follow(known, joined)

    def found_joined(self, known: Known, joined: Members) -> Iterator[Action]:
        yield from self._follow(known, joined)

    def ticked(self, known: Known, joined: Members, *, whole: bool) -> Iterator[Action]:  # noqa: ARG002
        member = joined.get(self.network)
        yield from self._follow(known, joined, again=member is not None and bool(member.lost))

    def claimed(self, known: Known, joined: Members, block: Block, *, ours: bool) -> Iterator[Action]:  # noqa: ARG002
        """Nothing is claimed."""
        yield from ()

    def lost(self, member: Member) -> Sequence[str]:
        return [str(block.subnets[0]) for block in member.blocks if block in member.lost]

    def warnings(self, known: Known, joined: Members) -> Sequence[str]:
        member = joined.get(self.network)
        block = self._block(known)
        if member is None or block is None or not (old := self.lost(member)):
            return ()
        return [
            f"pods with addresses of {', '.join(old)} are not reached by other hosts: this host has {block.phrase} now"
        ]

    def refusal(self, known: Known, joined: Members, name: str) -> str:
        """Why this host must not give addresses of the network, "" if it may."""
        if name != self.network:
            return f"{self._store} has one network, {self.network}: this host's settings name it"
        if differing := self._differing(known):
            return differing
        block = self._block(known)
        if self.unusable:
            return self.unusable
        if block is None and (self._listed or name not in joined):
            return self._absence(known)
        return ""

    def held(self, known: Known, joined: Members) -> Iterator[Action]:
        """An ADD asks no agent: the record says that no address is given, and why.

        That ends when the directory has the block as this host's, and not by what was known before a start.
        """
        member = joined.get(self.network)
        why = self.conflict or self._differing(known)
        if member is not None and member.held != why and (why or (self._listed and self._block(known) is not None)):
            yield Hold(self.network, why)

    def _differing(self, known: Known) -> str:
        """In what this host's settings are not as all hosts agree; "" if they are."""
        there = known.networks.get(self.network)
        for key in ("vni", "port", "direct") if there is not None else ():
            wanted, agreed = getattr(self._wanted, key), getattr(there, key)
            if wanted != agreed:
                return f"this host's settings have {key} {wanted}, and most nodes of the network {agreed}"
        return ""

    def _absence(self, known: Known) -> str:
        host = known.hosts.get(self._me.name)
        if host is not None and host.instance == self._me.instance:
            return f"{self._store} has given no podCIDR to Node {self._me.name}"
        own = f"Node {self._me.name} "
        reasons = (self.away, self.unannounced, *(sentence for sentence in self.left_out if sentence.startswith(own)))
        why = next(filter(None, reasons), "")
        return f"{self._store} does not have this host as Node {self._me.name} yet{f': {why}' if why else ''}"

    def _block(self, known: Known) -> Block | None:
        mine = self.network, self._me.instance
        return next((one for one in known.blocks_of(self._me.name) if (one.network, one.instance) == mine), None)

    def _follow(self, known: Known, joined: Members, *, again: bool = False) -> Iterator[Action]:
        """The network of this host gets the block that is this host's now.

        `again`: also if it has it. An earlier block without pods is then taken off the disk.
        """
        yield from self.held(known, joined)
        block, network, member = self._block(known), known.networks.get(self.network), joined.get(self.network)
        if block != self._said and (block is not None or self._listed):
            if block is None:
                yield Say(f"this host has no block of network {self.network} any more: {self._absence(known)}")
            elif self._said is not None or (member is not None and block not in member.blocks):
                yield Say(f"this host's block is {block.phrase} now; pods that run keep their addresses")
            self._said = block
        if block is None or network is None or (member is None and not self._joins):
            return
        if self._differing(known):
            return
        current = [one for one in member.blocks if one not in member.lost] if member is not None else []
        if again or member is None or member.network != network or current != [block]:
            yield Assign(network, block)
        else:
            self.unusable = ""
