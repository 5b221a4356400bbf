"""Host: what every step of a request needs of this machine, handed down as one value.

The real one is put together by `wiring.open_controller`; tests hand in a kernel in memory.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.kernel import ForeignFirewalls, Namespaces, Nft, Stack
    from cni_cnm.settings import Settings
    from cni_cnm.state.files import FileStore


class Host:
    """Settings, records, network namespaces and packet filter of one host. Nothing of a request is kept in it."""

    def __init__(
        self,
        settings: Settings,
        store: FileStore,
        namespaces: Namespaces,
        open_nft: Callable[[], Nft],
        epoch: str,
        foreign_firewalls: ForeignFirewalls | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.namespaces = namespaces
        self.epoch = epoch
        """Names this boot (state/epoch.py). A record of another epoch is void."""
        self.foreign_firewalls = foreign_firewalls
        """Other programs' firewalls; None: there are none."""
        self._open_nft = open_nft
        self._nft: Nft | None = None
        self._stack: Stack | None = None

    @property
    def stack(self) -> Stack:
        """The network namespace that networks are made in; opened at first use."""
        if self._stack is None:
            self._stack = self.namespaces.host()
        return self._stack

    @property
    def nft(self) -> Nft:
        """nftables in that namespace; opened at first use."""
        if self._nft is None:
            self._nft = self._open_nft()
        return self._nft

    def close(self) -> None:
        """Close the host's stack. It is opened again when it is needed."""
        if self._stack is not None:
            self._stack.close()
            self._stack = None
