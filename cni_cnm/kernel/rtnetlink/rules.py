"""Routing rules: listed, added, deleted. Loaded where an endpoint has source-based routing."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from errno import EAFNOSUPPORT, EOPNOTSUPP
from ipaddress import IPv4Network, IPv6Network
from struct import Struct

from cni_cnm.errors import KernelError
from cni_cnm.kernel.contract.route import RoutingRule
from cni_cnm.kernel.netlink.header import CREATE_NEW
from cni_cnm.kernel.netlink.nlattr import number, pack, pack_number, places, raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.rtnetlink.connection import Connection

RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
_HEADER_BYTES, _LENGTH = 16, Struct("=I")
"""Of struct nlmsghdr the size, and the first field."""
_FIXED = Struct("=BBBBBxxBI")
"""struct fib_rule_hdr: family, lengths of destination and source, TOS, table, action, flags."""
_TO_TABLE = 1
"""FR_ACT_TO_TBL."""
_SRC, _TABLE = 2, 15
"""FRA_SRC, FRA_TABLE."""
_BYTE = 256


def rules(connection: Connection) -> list[RoutingRule]:
    """Of both IP versions, in the order that the kernel asks them."""
    found: list[RoutingRule] = []
    for family in (AF_INET, AF_INET6):
        sentence = f"listing the routing rules{connection.place}"
        try:
            listed = connection.socket.dump(_FIXED.pack(family, 0, 0, 0, 0, 0, 0), RTM_GETRULE, sentence, _read)
        except KernelError as error:
            if error.errno in (EAFNOSUPPORT, EOPNOTSUPP):  # a kernel without IPv6
                continue
            raise
        found += [rule for rule in listed if rule is not None and rule.version == (6 if family == AF_INET6 else 4)]
    return found


def add_rule(connection: Connection, rule: RoutingRule) -> None:
    """The kernel puts it before all rules but those of the lowest priority number."""
    connection.write(_message(rule), RTM_NEWRULE, f"adding {_name(rule)}", flags=CREATE_NEW)


def delete_rule(connection: Connection, rule: RoutingRule) -> None:
    connection.write(_message(rule), RTM_DELRULE, f"deleting {_name(rule)}")


def _message(rule: RoutingRule) -> bytes:
    source = rule.source
    version = source.version if source is not None else rule.version
    length = source.prefixlen if source is not None else 0
    short = rule.table if rule.table < _BYTE else 0
    attributes = pack_number(_TABLE, rule.table)
    if source is not None:
        attributes += pack(_SRC, source.network_address.packed)
    family = AF_INET6 if version == 6 else AF_INET
    return _FIXED.pack(family, 0, length, 0, short, _TO_TABLE, 0) + attributes


def _read(data: bytes, offset: int) -> RoutingRule | None:
    length = _LENGTH.unpack_from(data, offset)[0]
    family, _, src_len, _, table, action, _ = _FIXED.unpack_from(data, offset + _HEADER_BYTES)
    if family not in (AF_INET, AF_INET6):
        return None
    found = places(data, offset + _HEADER_BYTES + _FIXED.size, offset + length)
    network = IPv6Network if family == AF_INET6 else IPv4Network
    source = network((raw(data, found[_SRC]), src_len)) if _SRC in found else None
    led_to = number(data, found.get(_TABLE)) or table
    return RoutingRule(led_to if action == _TO_TABLE else 0, source, 6 if family == AF_INET6 else 4)


def _name(rule: RoutingRule) -> str:
    return f"the rule for packets from {rule.source or 'anywhere'} to use the table {rule.table}"
