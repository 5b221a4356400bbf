"""Connection tracking: deletes streams that still go where a published port no longer leads.

The kernel keeps the target of a stream as long as packets come. A UDP stream from before its port was published misses
the new endpoint; one from before it was unpublished goes to an absent one. A TCP connection to a removed endpoint hangs
until its client's time limit. Once its entry is deleted, the next packet is answered by a reset.

From Linux 6.11 on the kernel deletes the IPv4 connections of an unpublished port by itself, and passes over empty
buckets of its table (0.1 ms for 262,144). For all else the table is listed, which locks each bucket (10 ms).
"""

from __future__ import annotations

from _socket import IPPROTO_UDP
from errno import EINVAL, ENOENT, EOPNOTSUPP

from cni_cnm.errors import KernelError
from cni_cnm.kernel import ctnetlink
from cni_cnm.kernel.coalesce import Coalesce
from cni_cnm.kernel.netlink.header import NETLINK_NETFILTER
from cni_cnm.kernel.netlink.netlink_socket import NetlinkSocket
from cni_cnm.kernel.setns import entered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from cni_cnm.kernel.contract.nft import Stream
    from cni_cnm.kernel.ctnetlink import Entry
    from cni_cnm.model import IPAddress

_FEW = 500
"""With at most so many entries all are read in one walk. The buckets of the table take the time, not the entries."""
_REQUESTS_MAX = 16
"""With more ports and targets to delete the connections of, one walk takes less time."""


class _Deletion:
    """One caller's streams: those to its ports for which `stale` is true.

    `requests` delete those of IPv4, if there are any and the kernel can.
    """

    def __init__(
        self,
        streams: Iterable[Stream],
        targets: Collection[IPAddress],
        stale: Callable[[Entry], bool],
        requests: Sequence[bytes] = (),
    ) -> None:
        self.ports: dict[int, list[range]] = {}
        for protocol, ports in streams:
            self.ports.setdefault(protocol, []).append(ports)
        self.versions = {target.version for target in targets}
        self.requests = requests
        self.error: KernelError | None = None
        self._stale = stale

    def includes(self, entry: Entry) -> bool:
        return any(entry.port in ports for ports in self.ports.get(entry.protocol, ())) and self._stale(entry)


class Conntrack:
    """The tracked connections of one namespace: of the descriptor `netns`, or of the calling thread.

    Safe to use from many threads: simultaneous callers share one walk of the table. The socket stays open, because
    closing one waits for nftables (kernel/nftables/nfnetlink.py).
    """

    def __init__(self, netns: int | None = None) -> None:
        self._socket: NetlinkSocket | None = None  # first, for __del__
        self._netns = netns
        self._coalesce: Coalesce[_Deletion] = Coalesce(self._delete_all)
        self._deletes_by_pattern = True

    def published(self, streams: Iterable[Stream], targets: Collection[IPAddress]) -> None:
        """Delete UDP streams to these ports of the host that do not go to `targets`.

        TCP connections stay. So do streams that the host only forwards and masquerades: their ports are not ours.
        """
        udp = [(protocol, ports) for protocol, ports in streams if protocol == IPPROTO_UDP]
        addresses = {target.packed for target in targets}

        def stale(entry: Entry) -> bool:
            masqueraded = entry.back_to != entry.source
            return entry.answers not in addresses and (entry.answers != entry.to or not masqueraded)

        self._delete(_Deletion(udp, targets, stale))

    def unpublished(self, streams: Sequence[Stream], targets: Collection[IPAddress]) -> None:
        """Delete streams to these ports of the host that go to `targets`."""
        addresses = {target.packed for target in targets}

        def stale(entry: Entry) -> bool:
            return entry.answers in addresses and entry.answers != entry.to

        requests = []
        if sum(len(ports) for _, ports in streams) * len(targets) <= _REQUESTS_MAX:
            requests = [
                ctnetlink.redirected4(protocol, port, target.packed)
                for target in targets
                if target.version == 4
                for protocol, ports in streams
                for port in ports
            ]
        self._delete(_Deletion(streams, targets, stale, requests))

    def _delete(self, deletion: _Deletion) -> None:
        if not deletion.ports or not deletion.versions:
            return
        self._coalesce.do(deletion)
        if deletion.error is not None:
            raise deletion.error

    def _delete_all(self, deletions: Sequence[_Deletion]) -> None:
        try:
            if self._netns is None:
                self._delete_inside(deletions)
            else:
                entered(self._netns, lambda: self._delete_inside(deletions))
        except (KernelError, OSError) as error:
            self._close()  # answers to the failed request may still be queued in it
            for deletion in deletions:
                deletion.error = error if isinstance(error, KernelError) else _unusable(error)

    def _delete_inside(self, deletions: Sequence[_Deletion]) -> None:
        sock = self._socket = self._socket or NetlinkSocket(NETLINK_NETFILTER)
        requests = [request for deletion in deletions for request in deletion.requests]
        if requests and self._deletes_by_pattern:
            self._deletes_by_pattern = _delete_by_patterns(sock, requests)
        for deletion in deletions:
            if deletion.requests and self._deletes_by_pattern:
                deletion.versions.discard(4)
        if left := [deletion for deletion in deletions if deletion.versions]:
            _walk(sock, left)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    __del__ = _close


def _delete_by_patterns(sock: NetlinkSocket, requests: Sequence[bytes]) -> bool:
    """False if the kernel cannot (before 6.11)."""
    sock.begin()
    for request in requests:
        sock.write(request, ctnetlink.DELETE, "deleting the tracked connections of a port")
    try:
        sock.end(None)
    except KernelError as error:
        if error.errno not in (EINVAL, EOPNOTSUPP):
            raise
        return False
    return True


def _walk(sock: NetlinkSocket, deletions: Sequence[_Deletion]) -> None:
    if not (tracked := _tracked()):
        return
    for entry in _entries(sock, deletions, few=tracked <= _FEW):
        if any(deletion.includes(entry) for deletion in deletions):
            _delete(sock, entry)


def _tracked() -> int:
    """Number of entries in the table."""
    try:
        with open("/proc/sys/net/netfilter/nf_conntrack_count") as file:
            return int(file.read())
    except OSError:
        return _FEW + 1


def _unusable(error: OSError) -> KernelError:
    return KernelError(f"connection tracking cannot be asked: {error.strerror}", error.errno or EINVAL)


def _delete(sock: NetlinkSocket, entry: Entry) -> None:
    """No error if the entry has ended by itself."""
    try:
        sock.write(entry.request, ctnetlink.DELETE, "deleting a tracked connection")
    except KernelError as error:
        if error.errno != ENOENT:
            raise


def _entries(sock: NetlinkSocket, deletions: Sequence[_Deletion], *, few: bool) -> Iterator[Entry]:
    """Entries that may have to be deleted; all entries if the table has `few`."""
    if few:
        yield from sock.dump(ctnetlink.listing(), ctnetlink.GET, "listing the tracked connections", ctnetlink.read)
        return
    ports: dict[tuple[int, int], list[range]] = {}
    for deletion in deletions:
        for family in deletion.versions:
            for protocol, some in deletion.ports.items():
                ports.setdefault((family, protocol), []).extend(some)
    for (version, protocol), some in ports.items():
        only = some[0].start if len(some) == 1 and len(some[0]) == 1 else 0
        listing = ctnetlink.listing(version, protocol, only)
        sentence = "listing the tracked connections of some ports"
        yield from sock.dump(listing, ctnetlink.GET, sentence, ctnetlink.read)
