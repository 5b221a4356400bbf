"""Messages about addresses of links: values to the bytes of requests, the kernel's bytes to values. Opens no socket."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from ipaddress import IPv4Interface, IPv6Interface
from struct import Struct

from cni_cnm.kernel.netlink.nlattr import number, pack, pack_number, places, raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import IPInterface

NODAD, _DADFAILED, _TENTATIVE, NOPREFIXROUTE = 0x02, 0x08, 0x40, 0x200
_HOST = 254
_HEAD = Struct("=I12sBBBBI")
"""struct nlmsghdr, then struct ifaddrmsg: family, length of the prefix, flags, scope, index of the link."""
_FIXED = Struct("=BBBBI")
"""struct ifaddrmsg."""
_ADDRESS, _LOCAL, _BROADCAST, _FLAGS = 1, 2, 4, 8
"""IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS."""


def message(index: int, address: IPInterface, *, flags: int = 0) -> bytes:
    six = address.version == 6
    packed = address.packed
    prefix = address.network.prefixlen
    # 127.0.0.0/8 has the scope of 127.0.0.1: the kernel refuses two scopes in one subnet
    scope = _HOST if not six and packed[0] == 127 else 0
    attributes = pack(_LOCAL, packed) + pack(_ADDRESS, packed)
    if not six and prefix < 31:
        # The kernel sets none by itself. Other tools and the reference plugins set it.
        attributes += pack(_BROADCAST, address.network.broadcast_address.packed)
    if flags > 0xFF:  # those above have no room in the header
        attributes += pack_number(_FLAGS, flags)
    return _FIXED.pack(AF_INET6 if six else AF_INET, prefix, flags & 0xFF, scope, index) + attributes


def query(index: int, version: int = 0) -> bytes:
    """The request for a dump of one link's addresses, 0: those of all links; of one IP version, 0: both."""
    return _FIXED.pack({4: AF_INET, 6: AF_INET6}.get(version, 0), 0, 0, 0, index)


def read(data: bytes, offset: int) -> IPInterface:
    """The address of the message at `offset` of a datagram."""
    length, _, family, prefix, *_ = _HEAD.unpack_from(data, offset)
    found = places(data, offset + _HEAD.size, offset + length)
    both = raw(data, found.get(_LOCAL) or found.get(_ADDRESS)), prefix
    return IPv6Interface(both) if family == AF_INET6 else IPv4Interface(both)


def read_with_link(data: bytes, offset: int) -> tuple[int, IPInterface]:
    """The same, with the index of its link."""
    return _HEAD.unpack_from(data, offset)[6], read(data, offset)


def tentative(data: bytes, offset: int) -> bool:
    """Whether detection runs. An address with a duplicate (DADFAILED) stays tentative, but detection is over."""
    length, _, _, _, flags, *_ = _HEAD.unpack_from(data, offset)
    found = places(data, offset + _HEAD.size, offset + length)
    if _FLAGS in found:
        flags = number(data, found[_FLAGS])
    return bool(flags & (_TENTATIVE | _DADFAILED) == _TENTATIVE)
