"""Connection tracking: forgets streams that still go where a published port no longer does.

UDP has no connection: a stream that began before its port was published is taken past the new endpoint, and one
that began before it was unpublished into nowhere, as long as packets keep coming. A TCP connection to an endpoint that
is gone would hang until its client gives up; forgotten, the next packet is answered by a reset, or by nobody's service.
"""

from __future__ import annotations

from errno import EINVAL, ENOENT
from ipaddress import ip_address
from socket import IPPROTO_UDP
from typing import Any

from cni_cnm.errors import KernelError
from cni_cnm.kernel.coalesce import Coalesce
from cni_cnm.kernel.netlink import messages  # noqa: F401  # puts a light pyroute2 in place
from cni_cnm.kernel.netlink.netlink_socket import NetlinkSocket
from cni_cnm.kernel.setns import entered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from cni_cnm.kernel.contract.nft import Stream
    from cni_cnm.model import IPAddress

from pyroute2.netlink import nla  # noqa: E402
from pyroute2.netlink.nfnetlink import nfgen_msg  # noqa: E402

_NETLINK_NETFILTER = 12
_GET, _DELETE = 0x101, 0x102
"""NFNL_SUBSYS_CTNETLINK with IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE."""
_BY_PROTOCOL, _BY_PORT = 0x08, 0x20
"""CTA_FILTER_F_CTA_PROTO_NUM, _DST_PORT: what the kernel (5.8) compares, older ones give all of the family."""
_FAMILIES = {0: 0, 4: 2, 6: 10}
_VERSIONS = {2: 4, 10: 6}
_FEW = 500
"""Up to so many entries of all kinds are read in one walk of the table: its buckets are what takes the time."""


class Entry(nfgen_msg):  # type: ignore[misc,unused-ignore] # pyroute2 is untyped
    """The part of a conntrack message that names an entry. (pyroute2's own comes with its event loop.)"""

    prefix = "CTA_"
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


class _Wish:
    """Streams to be forgotten: those to the ports, by protocol, that `stale(to, answers, masqueraded)` tells."""

    def __init__(self, streams: Iterable[Stream], versions: Collection[int], stale: Any) -> None:
        self.ports = _by_protocol(streams)
        self.versions = versions
        self.stale = stale
        self.forgotten = 0
        self.error: KernelError | None = None

    def wants(self, entry: Any) -> bool:
        original, reply = entry.get_attr("CTA_TUPLE_ORIG"), entry.get_attr("CTA_TUPLE_REPLY")
        some = self.ports.get(_protocol(original))
        if some is None or not any(_port(original) in one for one in some):
            return False
        version = _VERSIONS[entry["nfgen_family"]]
        source, destination = _ends(original, version)
        answers, back_to = _ends(reply, version)
        return bool(self.stale(destination, answers, back_to != source))


class Conntrack:
    """The tracked connections of one namespace: of `netns`, a descriptor, or of the calling thread's.

    Safe to use from many threads. Walking the kernel's table takes 10 ms on a host with much memory, whatever is in it,
    so what many ask for at once is looked for in one walk. Its socket stays open, as closing one waits for nftables
    (kernel/nftables/nfnetlink.py).
    """

    def __init__(self, netns: int | None = None) -> None:
        self._wire: NetlinkSocket | None = None  # first, for __del__
        self._netns = netns
        self._together: Coalesce[_Wish] = Coalesce(self._forget_all)

    def published(self, streams: Iterable[Stream], targets: Collection[IPAddress]) -> int:
        """Forget streams to these ports of the host that go elsewhere than to `targets`; how many those were.

        Of UDP alone: what is connected stays. Streams that are only masqueraded on their way through keep going: their
        destination is no port of ours.
        """
        udp = [(protocol, ports) for protocol, ports in streams if protocol == IPPROTO_UDP]
        return self._forget(udp, targets, lambda to, answers, masqueraded: answers not in targets
                            and (answers != to or not masqueraded))  # fmt: skip

    def unpublished(self, streams: Iterable[Stream], targets: Collection[IPAddress]) -> int:
        """Forget streams to these ports of the host that go to `targets`; how many those were."""
        return self._forget(streams, targets, lambda to, answers, _: answers in targets and answers != to)

    def _forget(self, streams: Iterable[Stream], targets: Collection[IPAddress], stale: Any) -> int:
        wish = _Wish(streams, {target.version for target in targets}, stale)
        if not wish.ports or not targets:
            return 0
        self._together.do(wish)
        if wish.error is not None:
            raise wish.error
        return wish.forgotten

    def _forget_all(self, wishes: Sequence[_Wish]) -> None:
        try:
            if self._netns is None:
                self._look(wishes)
            else:
                entered(self._netns, lambda: self._look(wishes))
        except (KernelError, OSError) as error:
            self._close()  # answers to what failed may still be queued on this one
            for wish in wishes:
                wish.error = error if isinstance(error, KernelError) else _unusable(error)

    def _look(self, wishes: Sequence[_Wish]) -> None:
        if not (tracked := _tracked()):
            return
        wire = self._wire = self._wire or NetlinkSocket(_NETLINK_NETFILTER)
        for entry in _entries(wire, wishes, few=tracked <= _FEW):
            for wish in wishes:
                if wish.wants(entry):
                    wish.forgotten += _delete(wire, entry)
                    break

    def _close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    __del__ = _close


def _tracked() -> int:
    """How many entries there are."""
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


def _delete(wire: NetlinkSocket, entry: Any) -> bool:
    """False if it has ended by itself."""
    attributes = [[name, entry.get_attr(name)] for name in ("CTA_TUPLE_ORIG", "CTA_ID")]
    if zone := entry.get_attr("CTA_ZONE"):
        attributes.append(["CTA_ZONE", zone])
    try:
        wire.write(_message(_VERSIONS[entry["nfgen_family"]], attributes), _DELETE, "forgetting a tracked connection")
    except KernelError as error:
        if error.errno != ENOENT:
            raise
        return False
    return True


def _entries(wire: NetlinkSocket, wishes: Sequence[_Wish], *, few: bool) -> Iterator[Any]:
    """What there may be to forget: of a table with few entries all of them."""
    if few:
        yield from wire.dump(_message(0, []), _GET, "listing the tracked connections")
        return
    ports: dict[tuple[int, int], list[range]] = {}
    for wish in wishes:
        for version in wish.versions:
            for protocol, some in wish.ports.items():
                ports.setdefault((version, protocol), []).extend(some)
    for (version, protocol), some in ports.items():
        yield from _narrowed(wire, version, protocol, some)


def _narrowed(wire: NetlinkSocket, version: int, protocol: int, ports: Sequence[range]) -> list[Any]:
    """Entries of a family and protocol, to the one port if there is only one."""
    flags, proto = _BY_PROTOCOL, [["CTA_PROTO_NUM", protocol]]
    if len(ports) == 1 and len(ports[0]) == 1:
        flags |= _BY_PORT
        proto.append(["CTA_PROTO_DST_PORT", ports[0].start])
    narrow = [
        ["CTA_TUPLE_ORIG", {"attrs": [["CTA_TUPLE_PROTO", {"attrs": proto}]]}],
        ["CTA_FILTER", {"attrs": [["CTA_FILTER_ORIG_FLAGS", flags], ["CTA_FILTER_REPLY_FLAGS", 0]]}],
    ]
    try:
        return wire.dump(_message(version, narrow), _GET, "listing streams")
    except KernelError as error:
        if error.errno != EINVAL:
            raise
        return wire.dump(_message(version, []), _GET, "listing the tracked connections")


def _message(version: int, attributes: list[Any]) -> Any:
    message = Entry()
    message.update({"nfgen_family": _FAMILIES[version], "version": 0, "res_id": 0, "attrs": attributes})
    return message


def _protocol(side: Any) -> int:
    return int(side.get_attr("CTA_TUPLE_PROTO").get_attr("CTA_PROTO_NUM"))


def _port(side: Any) -> int:
    return int(side.get_attr("CTA_TUPLE_PROTO").get_attr("CTA_PROTO_DST_PORT"))


def _ends(side: Any, version: int) -> tuple[IPAddress, IPAddress]:
    addresses = side.get_attr("CTA_TUPLE_IP")
    source, destination = (addresses.get_attr(f"CTA_IP_V{version}_{end}") for end in ("SRC", "DST"))
    return ip_address(source), ip_address(destination)
