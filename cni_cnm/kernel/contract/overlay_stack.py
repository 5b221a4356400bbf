"""OverlayStack: a Stack with verbs for VXLAN devices, neighbours and forwarding entries.

The real one is kernel/overlay_stack.py. Only the agent of an overlay network has one: no pod loads it.
"""

from __future__ import annotations

from typing import Protocol

from cni_cnm.kernel.contract.stack import Stack
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from cni_cnm.model import IPAddress


class Vxlan(NamedTuple):
    """What is particular to a VXLAN device."""

    vni: int
    port: int
    """UDP port of the encapsulated packets, its own and the other hosts'."""
    local: IPAddress | None
    """Source address of the encapsulated packets. None: the kernel chooses one for each packet."""
    learning: bool = False
    """Whether the device notes from which host a MAC came. False: it sends only where its entries say."""


class Neighbour(NamedTuple):
    """Which MAC an address of a link has."""

    link: int
    """Index."""
    address: IPAddress
    mac: str
    """"" while the kernel looks for it, or has found none."""
    protocol: int = 0
    """Who made it (rtnetlink protocol); 0: not said, as by `ip neigh add`, or by the kernel (Linux 5.0 and later)."""
    permanent: bool = True
    """It stays until it is deleted, or the link goes down. False: the kernel asks again, and forgets."""


class FdbEntry(NamedTuple):
    """To which host a VXLAN device sends frames for a MAC."""

    link: int
    """Index."""
    mac: str
    to: IPAddress | None
    """Underlay address of the host. None: the entry has none."""
    external: bool = False
    """NTF_EXT_LEARNED, `extern_learn` of bridge(8): a control plane made it. `bridge fdb add` makes one without."""
    permanent: bool = True
    """False: it is forgotten with time."""


class OverlayStack(Stack, Protocol):
    """A Stack that can do what an agent needs. Its writing verbs are queued in `batch()` and `attempting()`, too."""

    @property
    def netlink_port(self) -> int:
        """By which the kernel's notifications name this stack as the cause of a change. 0: they do not."""

    def attempting(self) -> AbstractContextManager[list[Exception]]:
        """As `batch`, but no failure is raised: at the end of the block the list has all of them, in order."""

    # VXLAN devices ---------------------------------------------------------
    def add_vxlan(self, name: str, vxlan: Vxlan, *, mac: str = "", mtu: int = 0) -> None:
        """Add a VXLAN device, down. EEXIST if the name, or VNI and port, are taken.

        It has no alias: the kernel would ignore one in this request. EADDRINUSE comes only when the device is set up,
        if another program has the UDP port. KernelFeatureMissing where the kernel has no VXLAN.
        """

    def vxlan(self, index: int) -> Vxlan | None:
        """None if there is no such link, or it is of another kind."""

    def set_vxlan_local(self, index: int, local: IPAddress) -> None:
        """Change the source address, which must be of the same version. No packet is lost."""

    # neighbours ------------------------------------------------------------
    def neighbours(self, link: int) -> Sequence[Neighbour]:
        """Those of a link, of both IP versions, other programs' too."""

    def neighbour(self, link: int, address: IPAddress) -> Neighbour | None: ...
    def add_neighbour(self, entry: Neighbour, *, replace: bool = False) -> None:
        """EEXIST if the address has an entry, unless it is to be replaced. EINVAL if the link is down.

        One that is replaced keeps its protocol, if the new one has none.
        """

    def delete_neighbour(self, link: int, address: IPAddress) -> None:
        """ENOENT if absent."""

    # forwarding entries ----------------------------------------------------
    def fdb(self, link: int) -> Sequence[FdbEntry]:
        """Those of a VXLAN device, other programs' too. They stay when the device goes down."""

    def fdb_entry(self, link: int, mac: str) -> FdbEntry | None: ...
    def add_fdb_entry(self, entry: FdbEntry, *, replace: bool = False) -> None:
        """EEXIST if the MAC has an entry, unless it is to be replaced. A MAC leads to one address.

        One that is replaced leads to the new address, but does not become `external`.
        """

    def delete_fdb_entry(self, entry: FdbEntry) -> None:
        """ENOENT if the MAC has no entry. One that leads to another address stays, and the kernel says nothing."""
