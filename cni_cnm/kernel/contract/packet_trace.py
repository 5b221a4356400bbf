"""The trace of real packets through nf_tables: which packets, and what the kernel reports of each rule they meet."""

from __future__ import annotations

from typing import Protocol

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.model import IPAddress


class TracedFlow(NamedTuple):
    dst: IPAddress
    protocol: int
    src: IPAddress | None = None
    """None: from any address."""
    dport: int = 0
    """0: any, or none."""


class TraceEvent(NamedTuple):
    packet: int
    """The same for all events of a packet at one hook."""
    table: str
    """FAMILY TABLE."""
    chain: str
    kind: str
    """`rule`, `return` from a chain that was jumped to, or `policy` of a chain that a hook calls."""
    verdict: str
    """accept, drop, continue, jump, goto or return; of a policy accept or drop."""
    target: str = ""
    """The chain of a jump or goto."""
    handle: int = 0
    """Of the rule; 0 at the end of a chain."""
    incoming: int = 0
    outgoing: int = 0
    """Indexes of links; 0 where there is none yet."""


class PacketTrace(Protocol):
    """A context manager. The rules that mark packets are in a table of its own, which is gone at the end of the block.

    The table belongs to a socket (NFT_TABLE_F_OWNER), so it is gone also if the process is killed.
    """

    def __enter__(self) -> PacketTrace: ...
    def __exit__(self, *_: object) -> None: ...
    def events(self, timeout_s: float) -> Sequence[TraceEvent]:
        """What has been reported since the last call; waits for the first event, but not longer than that."""
