"""Reports what changes of bridges and other links, of addresses, and of routes, by the kernel's notifications.

Every pod brings a dozen notifications about its own link. A filter in the kernel (the socket's, in the classic language
of bpf(4)) leaves out

    links       veth and ifb
    addresses   link-local ones
    new routes  all but default routes
    lost routes those of other tables than the main one, and those that every link with IPv6 has
"""

from __future__ import annotations

import socket
import struct
import sys

from cni_cnm.kernel import socket_filter
from cni_cnm.kernel.contract.changes import NO_LINKS, LinkChange
from cni_cnm.kernel.netlink import nlattr
from cni_cnm.kernel.netlink.header import HEADER, RTM_DELLINK, RTM_NEWLINK, messages
from cni_cnm.kernel.netlink.notifications import Notifications

_GROUPS = (1, 5, 7, 9, 11)
"""RTNLGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE."""
_NEW_ADDRESS, _DELETE_ADDRESS, _NEW_ROUTE, _DELETE_ROUTE = 20, 21, 24, 25
_TYPE, _FAMILY, _ROUTE_LENGTH, _ROUTE_TABLE, _ADDRESS_SCOPE = 4, 16, 17, 20, 19
"""Offsets in a message: struct nlmsghdr, then ifinfomsg, rtmsg or ifaddrmsg."""
_LINK_ATTRIBUTES, _ROUTE_ATTRIBUTES = 16 + 16, 16 + 12
_INDEX = struct.Struct("=i")
_INDEX_OFFSET = 16 + 4
"""Of struct ifinfomsg and struct ifaddrmsg."""
_SCOPE_LINK, _MAIN = 253, 254
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1
_RTA_DST, _RTA_OIF = 1, 4
_LINK_LOCAL, _MULTICAST = 0xFE80, 0xFF00
_HALF, _BYTE, _WORD, _INDIRECT, _INDIRECT_HALF = 0x28, 0x30, 0x20, 0x40, 0x48
"""Loads of a half word, a byte and a word at a fixed offset; of a word and a half word at X + offset."""
_A, _X, _TO_X, _EQUAL, _RETURN = 0x00, 0x01, 0x07, 0x15, 0x06
_FIND, _FIND_INSIDE = 0xFFFFF000 + 12, 0xFFFFF000 + 16
"""SKF_AD_NLATTR: the offset of the attribute of type X at or behind offset A, 0 for none; the same inside of one."""
_ALL, _NONE = 0xFFFFFFFF, 0


class BridgeMonitor(Notifications):
    """Of the network namespace of the thread that creates it, from then on."""

    def __init__(self) -> None:
        super().__init__(socket.NETLINK_ROUTE, *_GROUPS)
        socket_filter.attach(self._socket, _program())

    def take(self, own_port: int = 0) -> LinkChange:
        """What changed since the last call; `NO_LINKS` if nothing did.

        Without routes that the netlink socket with the port `own_port` has deleted.
        """
        found = NO_LINKS
        for data in self.datagrams():
            if data is None:
                found |= LinkChange(overflow=True)
            else:
                for begin, end, kind, _, _ in messages(data):
                    if kind != _DELETE_ROUTE or HEADER.unpack_from(data, begin)[4] != own_port or not own_port:
                        found |= _read(data, begin, end, kind)
        return found


def _read(data: bytes, begin: int, end: int, kind: int) -> LinkChange:
    if kind in (RTM_NEWLINK, RTM_DELLINK):
        place = nlattr.find(data, begin + _LINK_ATTRIBUTES, end, _IFLA_IFNAME)
        names = frozenset((nlattr.text(data, place),))
        return LinkChange(links=names, deleted=names if kind == RTM_DELLINK else frozenset())
    if kind in (_NEW_ADDRESS, _DELETE_ADDRESS):
        index = frozenset(_INDEX.unpack_from(data, begin + _INDEX_OFFSET))
        return LinkChange(addressed=index) if kind == _NEW_ADDRESS else LinkChange(stripped=index)
    default = not data[begin + _ROUTE_LENGTH]
    place = nlattr.find(data, begin + _ROUTE_ATTRIBUTES, end, _RTA_OIF)
    lost = kind == _DELETE_ROUTE and place is not None
    return LinkChange(stripped=frozenset((nlattr.number(data, place),)) if lost else frozenset(), default_route=default)


def _program() -> list[tuple[int, int, int, int]]:
    """Instructions: code, how many to skip if it holds and if it does not, operand."""
    addresses = [_NEW_ADDRESS, _DELETE_ADDRESS]
    of_link = [
        (_BYTE, "", "", _FAMILY),
        (_EQUAL, "", "none", 0),  # else AF_BRIDGE: a bridge about its port
        (_X, "", "", _IFLA_LINKINFO),
        (_A, "", "", _LINK_ATTRIBUTES),
        (_WORD, "", "", _FIND),
        (_EQUAL, "all", "", 0),  # hardware
        (_X, "", "", _IFLA_INFO_KIND),
        (_WORD, "", "", _FIND_INSIDE),
        (_EQUAL, "all", "", 0),
        (_TO_X, "", "", 0),
        (_INDIRECT, "", "", nlattr.HEADER.size),
        (_EQUAL, "none", "", int.from_bytes(b"veth", "big")),
        (_EQUAL, "none", "all", int.from_bytes(b"ifb\0", "big")),
    ]
    of_lost_route = [
        (_BYTE, "", "", _ROUTE_LENGTH),
        (_EQUAL, "all", "", 0),
        (_BYTE, "", "", _ROUTE_TABLE),
        (_EQUAL, "", "none", _MAIN),
        (_BYTE, "", "", _FAMILY),
        (_EQUAL, "", "all", socket.AF_INET6),
        (_X, "", "", _RTA_DST),
        (_A, "", "", _ROUTE_ATTRIBUTES),
        (_WORD, "", "", _FIND),
        (_EQUAL, "all", "", 0),
        (_TO_X, "", "", 0),
        (_INDIRECT_HALF, "", "", nlattr.HEADER.size),
        (_EQUAL, "none", "", _LINK_LOCAL),
        (_EQUAL, "none", "all", _MULTICAST),
    ]
    lines: list[tuple[int, str, str, int]] = [
        (_HALF, "", "", _TYPE),
        (_EQUAL, "route", "", _as_loaded(_NEW_ROUTE)),
        (_EQUAL, "lost route", "", _as_loaded(_DELETE_ROUTE)),
        *((_EQUAL, "address", "", _as_loaded(kind)) for kind in addresses),
        (_EQUAL, "link", "", _as_loaded(RTM_NEWLINK)),
        (_EQUAL, "link", "none", _as_loaded(RTM_DELLINK)),
    ]
    labels = {"link": len(lines)}
    lines += of_link
    labels["lost route"] = len(lines)
    lines += of_lost_route
    labels["route"] = len(lines)
    lines += [(_BYTE, "", "", _ROUTE_LENGTH), (_EQUAL, "all", "none", 0)]
    labels["address"] = len(lines)
    lines += [(_BYTE, "", "", _ADDRESS_SCOPE), (_EQUAL, "none", "all", _SCOPE_LINK)]
    labels |= {"all": len(lines), "none": len(lines) + 1}
    lines += [(_RETURN, "", "", _ALL), (_RETURN, "", "", _NONE)]

    def skip(number: int, label: str) -> int:
        return labels[label] - number - 1 if label else 0

    return [(code, skip(at, yes), skip(at, no), value) for at, (code, yes, no, value) in enumerate(lines)]


def _as_loaded(kind: int) -> int:
    """A message's type, which is in the host's byte order, as the filter loads it: in the network's."""
    return int.from_bytes(kind.to_bytes(2, sys.byteorder), "big")
