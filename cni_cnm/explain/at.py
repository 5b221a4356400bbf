"""Where in the kernel a rule sees the packet."""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.explain.packet import Packet
    from cni_cnm.kernel import Link


class At(NamedTuple):
    """Where in the kernel the packet is."""

    family: str
    """Of the table: inet, ip, ip6, bridge, netdev."""
    hook: int
    incoming: Link | None = None
    outgoing: Link | None = None
    tracked: bool = True
    """False before connection tracking has seen the packet."""
    bridge: str = ""
    """Of a hook of the family bridge: the bridge's name."""
    fib: Callable[[Packet, int, int], bytes | None] = lambda _packet, _result, _flags: None
    """The value of a `fib` expression: result and flags of the kernel; None where it is not known."""
