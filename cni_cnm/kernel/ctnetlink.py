"""Messages about tracked connections: patterns and entries to the bytes of requests, the kernel's bytes to entries."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from struct import Struct

from cni_cnm.kernel.netlink.header import HEADER
from cni_cnm.kernel.netlink.nlattr import number, pack, pack_number, places, raw
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.netlink.nlattr import Places

GET, DELETE = 0x101, 0x102
"""NFNL_SUBSYS_CTNETLINK with IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE."""
_FAMILIES = {0: 0, 4: AF_INET, 6: AF_INET6}
_VERSIONS = {AF_INET: 4, AF_INET6: 6}
_NFGENMSG = Struct("=BBH")
"""struct nfgenmsg: family, version, resource."""
_NESTED = 0x8000
_ORIGINAL, _REPLY, _STATUS, _ID, _ZONE, _FILTER, _STATUS_MASK = 1, 2, 3, 12, 18, 25, 26
"""CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS, CTA_ID, CTA_ZONE, CTA_FILTER, CTA_STATUS_MASK."""
_ADDRESSES, _PROTOCOL = 1, 2
"""CTA_TUPLE_IP, CTA_TUPLE_PROTO."""
_ENDS = {4: (1, 2), 6: (3, 4)}
"""CTA_IP_V4_SRC and _DST, CTA_IP_V6_SRC and _DST."""
_PROTOCOL_NUMBER, _TO_PORT = 1, 3
"""CTA_PROTO_NUM, CTA_PROTO_DST_PORT."""
_COMPARE_SOURCE, _COMPARE_PROTOCOL, _COMPARE_TO_PORT = 0x01, 0x08, 0x20
"""CTA_FILTER_F_CTA_IP_SRC, _CTA_PROTO_NUM, _CTA_PROTO_DST_PORT."""
_REDIRECTED = 0x20
"""IPS_DST_NAT."""


class Entry(NamedTuple):
    """A tracked connection."""

    protocol: int
    port: int
    """The one it was sent to; 0 for a protocol without ports."""
    source: bytes
    to: bytes
    """The address it was sent to, packed, as are the others."""
    answers: bytes
    """The address that answers."""
    back_to: bytes
    """Where the answers are sent to. Another one than `source` if the connection is masqueraded."""
    request: bytes
    """The body of a request that names it."""


def listing(version: int = 0, protocol: int = 0, port: int = 0) -> bytes:
    """The request for entries of an IP version, a protocol and a port; 0: of all.

    Before Linux 5.8 the kernel gives those of all protocols and ports.
    """
    if not protocol:
        return _NFGENMSG.pack(_FAMILIES[version], 0, 0)
    return _pattern(version, protocol, port, b"")


def redirected4(protocol: int, port: int, answers: bytes) -> bytes:
    """The request that deletes IPv4 connections to a port which are redirected to the address that `answers`.

    From Linux 6.11 on. Older ones take the pattern for the name of one entry, and refuse it (EINVAL): it is incomplete.
    There is none for IPv6: up to Linux 6.18 at least, a pattern with an IPv6 address matches all other addresses.
    """
    status = b"".join(pack(kind, _REDIRECTED.to_bytes(4, "big")) for kind in (_STATUS, _STATUS_MASK))
    return _pattern(4, protocol, port, answers) + status


def _pattern(version: int, protocol: int, port: int, answers: bytes) -> bytes:
    compared, end = _COMPARE_PROTOCOL, pack_number(_PROTOCOL_NUMBER, protocol, 1)
    if port:
        compared |= _COMPARE_TO_PORT
        end += pack(_TO_PORT, port.to_bytes(2, "big"))
    wanted = _nested(_ORIGINAL, _nested(_PROTOCOL, end))
    if answers:
        wanted += _nested(_REPLY, _nested(_ADDRESSES, pack(_ENDS[version][0], answers)))
    flags = pack_number(1, compared) + pack_number(2, _COMPARE_SOURCE if answers else 0)
    return _NFGENMSG.pack(_FAMILIES[version], 0, 0) + wanted + _nested(_FILTER, flags)


def read(data: bytes, offset: int) -> Entry:
    """The entry of the message at `offset` of a datagram."""
    begin, end = offset + HEADER.size, offset + HEADER.unpack_from(data, offset)[0]
    family = data[begin]
    found = places(data, begin + _NFGENMSG.size, end)
    original, reply = (_inside(data, found, kind) for kind in (_ORIGINAL, _REPLY))
    protocol = _inside(data, original, _PROTOCOL)
    source, to = _ends(data, original, _VERSIONS[family])
    answers, back_to = _ends(data, reply, _VERSIONS[family])
    name = _nested(_ORIGINAL, raw(data, found.get(_ORIGINAL)))
    name += b"".join(pack(kind, raw(data, found[kind])) for kind in (_ID, _ZONE) if kind in found)
    return Entry(
        number(data, protocol.get(_PROTOCOL_NUMBER)),
        number(data, protocol.get(_TO_PORT), "big"),
        source,
        to,
        answers,
        back_to,
        _NFGENMSG.pack(family, 0, 0) + name,
    )


def _ends(data: bytes, side: Places, version: int) -> tuple[bytes, bytes]:
    found = _inside(data, side, _ADDRESSES)
    source, destination = (raw(data, found.get(end)) for end in _ENDS[version])
    return source, destination


def _inside(data: bytes, found: Places, kind: int) -> Places:
    return places(data, *found[kind]) if kind in found else {}


def _nested(kind: int, value: bytes) -> bytes:
    """The kernel refuses a filter without NLA_F_NESTED."""
    return pack(_NESTED | kind, value)
