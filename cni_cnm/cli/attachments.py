"""What `cni-cnm adopt` and `cni-cnm release` print: a row for each attachment, and whether something has not ended."""

from __future__ import annotations

from cni_cnm.adopt import adoption
from cni_cnm.cli.listing import Column, Listing
from cni_cnm.frontend.stderr import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host

ATTACHMENTS = Listing(
    Column("Network"),
    Column("Container", short=12),
    Column("Interface"),
    Column("Addresses"),
    Column("State"),
    Column("Reason"),
    quiet="Container",
)


def say_unfinished(host: Host, network: str) -> None:
    """To stderr, with the commands that go on and back; nothing if the network is wholly of one side."""
    state = adoption.load(host.store, network)
    if state is not None and not state.done:
        say(f"cni-cnm: {adoption.unfinished(state)}")
