"""Messages about addresses of links: values to messages, messages to values. Opens no socket."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from ipaddress import IPv4Interface, IPv6Interface
from struct import Struct

from cni_cnm.kernel.netlink.messages import Message, ifaddrmsg
from cni_cnm.kernel.netlink.nlattr import places, raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import IPInterface

NODAD, _DADFAILED, _TENTATIVE, NOPREFIXROUTE = 0x02, 0x08, 0x40, 0x200
_HOST = 254
_HEAD = Struct("=I12sBB")
"""struct nlmsghdr, and of struct ifaddrmsg the family and the length of the prefix."""
_FIXED_BYTES = 16 + 8
_ADDRESS, _LOCAL = 1, 2
"""IFA_ADDRESS, IFA_LOCAL."""


def message(index: int, address: IPInterface, *, flags: int = 0) -> Message:
    result = query(index)
    text = str(address.ip)
    result["family"] = AF_INET6 if address.version == 6 else AF_INET
    result["prefixlen"] = address.network.prefixlen
    result["flags"] = flags & 0xFF
    if address.version == 4 and address.ip.is_loopback:
        result["scope"] = _HOST  # like 127.0.0.1: the kernel refuses two scopes in one subnet
    result["attrs"] = [("IFA_LOCAL", text), ("IFA_ADDRESS", text)]
    if address.version == 4 and address.network.prefixlen < 31:
        # The kernel sets none by itself. Other tools and the reference plugins set it.
        result["attrs"].append(("IFA_BROADCAST", str(address.network.broadcast_address)))
    if flags > 0xFF:  # those above have no room in the header
        result["attrs"].append(("IFA_FLAGS", flags))
    return result


def query(index: int) -> Message:
    """The request for a dump of one link's addresses, both families."""
    result = ifaddrmsg()
    result["index"] = index
    return result


def read(data: bytes, offset: int) -> IPInterface:
    """The address of the message at `offset` of a datagram."""
    length, _, family, prefix = _HEAD.unpack_from(data, offset)
    found = places(data, offset + _FIXED_BYTES, offset + length)
    both = raw(data, found.get(_LOCAL) or found.get(_ADDRESS)), prefix
    return IPv6Interface(both) if family == AF_INET6 else IPv4Interface(both)


def tentative(found: Message) -> bool:
    """Whether detection runs. An address with a duplicate (DADFAILED) stays tentative, but detection is over."""
    flags = found.get_attr("IFA_FLAGS")
    return bool((found["flags"] if flags is None else flags) & (_TENTATIVE | _DADFAILED) == _TENTATIVE)
