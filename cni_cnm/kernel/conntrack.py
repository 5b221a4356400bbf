"""Connection tracking: deletes streams that still go where a published port no longer leads.

The kernel keeps the target of a stream as long as packets come. A UDP stream from before its port was published misses
the new endpoint; one from before it was unpublished goes to an absent one. A TCP connection to a removed endpoint hangs
until its client's time limit. Once its entry is deleted, the next packet is answered by a reset.
"""

from __future__ import annotations

from _socket import IPPROTO_UDP
from errno import EINVAL, ENOENT
from ipaddress import ip_address
from typing import Any

from cni_cnm.errors import KernelError
from cni_cnm.kernel.coalesce import Coalesce
from cni_cnm.kernel.netlink import encoding
from cni_cnm.kernel.netlink.header import NETLINK_NETFILTER
from cni_cnm.kernel.netlink.messages import nla, nlmsg
from cni_cnm.kernel.netlink.netlink_socket import NetlinkSocket
from cni_cnm.kernel.setns import entered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from cni_cnm.kernel.contract.nft import Stream
    from cni_cnm.model import IPAddress

_GET, _DELETE = 0x101, 0x102
"""NFNL_SUBSYS_CTNETLINK with IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE."""
_BY_PROTOCOL, _BY_PORT = 0x08, 0x20
"""CTA_FILTER_F_CTA_PROTO_NUM, _DST_PORT: what the kernel compares from 5.8 on. Older ones give the whole family."""
_FAMILIES = {0: 0, 4: 2, 6: 10}
_VERSIONS = {2: 4, 10: 6}
_FEW = 500
"""With at most so many entries all are read in one walk. The buckets of the table take the time, not the entries."""


class Entry(nlmsg):  # type: ignore[misc,unused-ignore] # pyroute2 is untyped
    """The part of a conntrack message that names an entry. (pyroute2's own class loads its event loop.)"""

    prefix = "CTA_"
    fields = (("nfgen_family", "B"), ("version", "B"), ("res_id", "!H"))
    nla_map = ((1, "CTA_TUPLE_ORIG", "tuple_"), (2, "CTA_TUPLE_REPLY", "tuple_"), (12, "CTA_ID", "be32"),
               (18, "CTA_ZONE", "be16"), (25, "CTA_FILTER", "filter_"))  # fmt: skip

    class tuple_(nla):  # type: ignore[misc,unused-ignore] # noqa: N801
        nla_map = ((1, "CTA_TUPLE_IP", "ip"), (2, "CTA_TUPLE_PROTO", "proto"))

        class ip(nla):  # type: ignore[misc,unused-ignore] # noqa: N801
            nla_map = ((1, "CTA_IP_V4_SRC", "ip4addr"), (2, "CTA_IP_V4_DST", "ip4addr"),
                       (3, "CTA_IP_V6_SRC", "ip6addr"), (4, "CTA_IP_V6_DST", "ip6addr"))  # fmt: skip

        class proto(nla):  # type: ignore[misc,unused-ignore] # noqa: N801
            nla_map = ((1, "CTA_PROTO_NUM", "uint8"), (2, "CTA_PROTO_SRC_PORT", "be16"),
                       (3, "CTA_PROTO_DST_PORT", "be16"))  # fmt: skip

    class filter_(nla):  # type: ignore[misc,unused-ignore] # noqa: N801
        nla_map = ((1, "CTA_FILTER_ORIG_FLAGS", "uint32"), (2, "CTA_FILTER_REPLY_FLAGS", "uint32"))


class _Deletion:
    """One caller's streams: those to its ports for which `stale(to, answers, masqueraded)` is true.

    `to` is the address the stream was sent to, `answers` the one that answers it.
    """

    def __init__(self, streams: Iterable[Stream], versions: Collection[int], stale: Any) -> None:
        self.ports = _by_protocol(streams)
        self.versions = versions
        self.stale = stale
        self.deleted = 0
        self.error: KernelError | None = None

    def includes(self, entry: Any) -> bool:
        original, reply = entry.get_attr("CTA_TUPLE_ORIG"), entry.get_attr("CTA_TUPLE_REPLY")
        ports = self.ports.get(_protocol(original))
        if ports is None or not any(_port(original) in one for one in ports):
            return False
        version = _VERSIONS[entry["nfgen_family"]]
        source, destination = _ends(original, version)
        answers, back_to = _ends(reply, version)
        return bool(self.stale(destination, answers, back_to != source))


class Conntrack:
    """The tracked connections of one namespace: of the descriptor `netns`, or of the calling thread.

    Safe to use from many threads. A walk of the kernel's table takes 10 ms on a host with much memory, however few
    entries it has, so simultaneous callers share one walk. The socket stays open, because closing one waits for
    nftables (kernel/nftables/nfnetlink.py).
    """

    def __init__(self, netns: int | None = None) -> None:
        self._socket: NetlinkSocket | None = None  # first, for __del__
        self._netns = netns
        self._coalesce: Coalesce[_Deletion] = Coalesce(self._delete_all)

    def published(self, streams: Iterable[Stream], targets: Collection[IPAddress]) -> int:
        """Delete UDP streams to these ports of the host that do not go to `targets`. Gives their number.

        TCP connections stay. So do streams that the host only forwards and masquerades: their ports are not ours.
        """
        udp = [(protocol, ports) for protocol, ports in streams if protocol == IPPROTO_UDP]
        return self._delete(udp, targets, lambda to, answers, masqueraded: answers not in targets
                            and (answers != to or not masqueraded))  # fmt: skip

    def unpublished(self, streams: Iterable[Stream], targets: Collection[IPAddress]) -> int:
        """Delete streams to these ports of the host that go to `targets`. Gives their number."""
        return self._delete(streams, targets, lambda to, answers, _: answers in targets and answers != to)

    def _delete(self, streams: Iterable[Stream], targets: Collection[IPAddress], stale: Any) -> int:
        deletion = _Deletion(streams, {target.version for target in targets}, stale)
        if not deletion.ports or not targets:
            return 0
        self._coalesce.do(deletion)
        if deletion.error is not None:
            raise deletion.error
        return deletion.deleted

    def _delete_all(self, deletions: Sequence[_Deletion]) -> None:
        try:
            if self._netns is None:
                self._walk(deletions)
            else:
                entered(self._netns, lambda: self._walk(deletions))
        except (KernelError, OSError) as error:
            self._close()  # answers to the failed request may still be queued in it
            for deletion in deletions:
                deletion.error = error if isinstance(error, KernelError) else _unusable(error)

    def _walk(self, deletions: Sequence[_Deletion]) -> None:
        if not (tracked := _tracked()):
            return
        sock = self._socket = self._socket or NetlinkSocket(NETLINK_NETFILTER)
        for entry in _entries(sock, deletions, few=tracked <= _FEW):
            for deletion in deletions:
                if deletion.includes(entry):
                    deletion.deleted += _delete(sock, entry)
                    break

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    __del__ = _close


def _tracked() -> int:
    """Number of entries in the table."""
    try:
        with open("/proc/sys/net/netfilter/nf_conntrack_count") as file:
            return int(file.read())
    except OSError:
        return _FEW + 1


def _by_protocol(streams: Iterable[Stream]) -> dict[int, list[range]]:
    found: dict[int, list[range]] = {}
    for protocol, ports in streams:
        found.setdefault(protocol, []).append(ports)
    return found


def _unusable(error: OSError) -> KernelError:
    return KernelError(f"connection tracking cannot be asked: {error.strerror}", error.errno or EINVAL)


def _delete(sock: NetlinkSocket, entry: Any) -> bool:
    """False if the entry has ended by itself."""
    attributes = [[name, entry.get_attr(name)] for name in ("CTA_TUPLE_ORIG", "CTA_ID")]
    if zone := entry.get_attr("CTA_ZONE"):
        attributes.append(["CTA_ZONE", zone])
    try:
        sock.write(_message(_VERSIONS[entry["nfgen_family"]], attributes), _DELETE, "deleting a tracked connection")
    except KernelError as error:
        if error.errno != ENOENT:
            raise
        return False
    return True


def _entries(sock: NetlinkSocket, deletions: Sequence[_Deletion], *, few: bool) -> Iterator[Any]:
    """Entries that may have to be deleted; all entries if the table has `few`."""
    if few:
        yield from sock.dump(_message(0, []), _GET, "listing the tracked connections", _read)
        return
    ports: dict[tuple[int, int], list[range]] = {}
    for deletion in deletions:
        for version in deletion.versions:
            for protocol, some in deletion.ports.items():
                ports.setdefault((version, protocol), []).extend(some)
    for (version, protocol), some in ports.items():
        yield from _filtered(sock, version, protocol, some)


def _filtered(sock: NetlinkSocket, version: int, protocol: int, ports: Sequence[range]) -> list[Any]:
    """Entries of a family and protocol. The kernel compares the port, too, if there is only one."""
    flags, proto = _BY_PROTOCOL, [["CTA_PROTO_NUM", protocol]]
    if len(ports) == 1 and len(ports[0]) == 1:
        flags |= _BY_PORT
        proto.append(["CTA_PROTO_DST_PORT", ports[0].start])
    wanted = [
        ["CTA_TUPLE_ORIG", {"attrs": [["CTA_TUPLE_PROTO", {"attrs": proto}]]}],
        ["CTA_FILTER", {"attrs": [["CTA_FILTER_ORIG_FLAGS", flags], ["CTA_FILTER_REPLY_FLAGS", 0]]}],
    ]
    try:
        return sock.dump(_message(version, wanted), _GET, "listing the tracked connections of some ports", _read)
    except KernelError as error:
        if error.errno != EINVAL:
            raise
        return sock.dump(_message(version, []), _GET, "listing the tracked connections", _read)


_read = encoding.reader(Entry)


def _message(version: int, attributes: list[Any]) -> bytes:
    message = Entry()
    message.update({"nfgen_family": _FAMILIES[version], "version": 0, "res_id": 0, "attrs": attributes})
    return encoding.body(message)


def _protocol(side: Any) -> int:
    return int(side.get_attr("CTA_TUPLE_PROTO").get_attr("CTA_PROTO_NUM"))


def _port(side: Any) -> int:
    return int(side.get_attr("CTA_TUPLE_PROTO").get_attr("CTA_PROTO_DST_PORT"))


def _ends(side: Any, version: int) -> tuple[IPAddress, IPAddress]:
    addresses = side.get_attr("CTA_TUPLE_IP")
    source, destination = (addresses.get_attr(f"CTA_IP_V{version}_{end}") for end in ("SRC", "DST"))
    return ip_address(source), ip_address(destination)
