"""Host: what every step of a request needs of this machine, handed down as one value.

The real one is put together by `wiring.open_controller`; tests hand in a kernel in memory.
"""

from __future__ import annotations

from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.cluster.membership import Membership
    from cni_cnm.kernel import ForeignFirewalls, Namespaces, Nft, Stack
    from cni_cnm.kernel.contract.held_ports import HeldPorts
    from cni_cnm.settings import Settings
    from cni_cnm.state.store import Store


class Host:
    """Settings, records, network namespaces and packet filter of one host. Nothing of a request is kept in it.

    Any number of threads may use it at once.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        namespaces: Namespaces,
        open_nft: Callable[[], Nft],
        epoch: str,
        foreign_firewalls: ForeignFirewalls | None = None,
        close_nft: Callable[[], None] | None = None,
        cluster: Membership | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.namespaces = namespaces
        self.epoch = epoch
        """Names this boot (state/epoch.py). A record of another epoch is void."""
        self.foreign_firewalls = foreign_firewalls
        """Other programs' firewalls; None: there are none."""
        self.watches_bridges = False
        """A thread of this process is told of every change of bridges, so that no call has to look."""
        self.held_ports: HeldPorts | None = None
        """Where ports of Docker's endpoints are kept from processes of the host; None: nowhere."""
        self.cluster = cluster
        """The cluster that this host belongs to; None: it belongs to none."""
        self._open_nft = open_nft
        self._close_nft = close_nft
        self._nft: Nft | None = None
        self._stacks: dict[int, Stack] = {}

    @property
    def stack(self) -> Stack:
        """The network namespace that networks are made in; opened at a thread's first use.

        Each thread has its own: a stack has one request under way, and a batch is one thread's.
        """
        thread = get_ident()
        stack = self._stacks.get(thread)
        if stack is None:
            stack = self._stacks[thread] = self.namespaces.host()
        return stack

    @property
    def nft(self) -> Nft:
        """nftables in that namespace; opened at first use."""
        if self._nft is None:
            self._nft = self._open_nft()
        return self._nft

    def close(self) -> None:
        """Close what was opened for any thread. It is opened again when it is needed."""
        while self._stacks:
            self._stacks.popitem()[1].close()
        self._nft = None
        if self._close_nft is not None:
            self._close_nft()
