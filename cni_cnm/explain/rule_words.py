"""Rules for people: fields and values as nft spells them."""

from __future__ import annotations

from sys import byteorder

from cni_cnm.explain.packet import protocol_name
from cni_cnm.model import ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.contract.ruleset import Load

_ETHERNET = {(0, 6): "ether daddr", (6, 6): "ether saddr", (12, 2): "ether type"}
_HEADERS = {4: {(9, 1): "ip protocol"}, 6: {(6, 1): "ip6 nexthdr"}}
_ADDRESSES = {4: {12: "ip saddr", 16: "ip daddr"}, 6: {8: "ip6 saddr", 24: "ip6 daddr"}}
_PORTS = {(0, 2): "th sport", (2, 2): "th dport"}
_STATES = {1: "invalid", 2: "established", 4: "related", 8: "new", 64: "untracked"}
_STATUS = {1: "expected", 2: "seen-reply", 4: "assured", 8: "confirmed", 16: "snat", 32: "dnat", 512: "dying"}
_BITS = {"ct state": _STATES, "ct status": _STATUS}
_MAC_BYTES = 6
_IFNAME_BYTES = 16


def payload(load: Load, version: int) -> str:
    """The field of a header. The beginning of an address is the address: a short prefix is compared so."""
    place = load.offset, load.length
    if load.key == 1 and load.offset in _ADDRESSES[version]:
        return _ADDRESSES[version][load.offset]
    known = (_ETHERNET, _HEADERS[version], _PORTS)[load.key] if load.key < 3 else {}
    return known.get(place, f"payload {load.key},{load.offset},{load.length}")


def masked(name: str, mask: bytes) -> str:
    """The name of what a mask leaves."""
    if all(byte == 0xFF for byte in mask):
        return name
    if name in _BITS:
        number = int.from_bytes(mask, byteorder)
        return f"{name} {','.join(word for bit, word in _BITS[name].items() if number & bit)}"
    return f"{name} & {_prefix(mask) or shown(mask)}"


def compared(name: str, operator: str, value: bytes) -> str:
    if name.startswith(("ct state ", "ct status ")) and not any(value):
        return name if operator == "!=" else f"{name.replace(' ', ' ! ', 2).replace(' ! ', ' ', 1)}"
    field, _, mask = name.partition(" & ")
    if mask.startswith("/"):
        return f"{field} {'' if operator == '==' else '!= '}{named(field, value)}{mask}"
    sign = "" if operator == "==" else f"{operator} "
    return f"{name} {sign}{named(name, value)}"


def named(name: str, value: bytes) -> str:
    """A value, by what it is compared with."""
    last = name.rpartition(" ")[2]
    if last.endswith(("name", "kind")):
        text, ends, _ = value.partition(b"\0")
        return f'"{text.decode(errors="replace")}{"" if ends or len(value) == _IFNAME_BYTES else "*"}"'
    if last in ("saddr", "daddr"):
        return _address(name, value)
    if last in ("sport", "dport"):
        return str(int.from_bytes(value, "big"))
    if last in ("protocol", "l4proto", "nexthdr") and len(value) == 1:
        return protocol_name(value[0])
    if last == "nfproto":
        return {2: "ipv4", 10: "ipv6"}.get(value[0], str(value[0]))
    if last == "type" and name.startswith("fib"):
        return {1: "unicast", 2: "local", 3: "broadcast", 5: "multicast"}.get(
            int.from_bytes(value, byteorder), shown(value)
        )
    return shown(value)


def shown(value: bytes) -> str:
    if len(value) <= 4:
        return f"{int.from_bytes(value, byteorder):#x}"
    text = value.rstrip(b"\0")
    return text.decode() if len(value) == _IFNAME_BYTES and text.isalnum() else value.hex()


def _address(name: str, value: bytes) -> str:
    if len(value) == _MAC_BYTES and name.startswith("ether"):
        return value.hex(":")
    whole = 16 if name.startswith("ip6") else 4
    if len(value) > whole:
        return value.hex()
    prefix = f"/{len(value) * 8}" if len(value) < whole else ""
    return f"{ip_address(value.ljust(whole, bytes(1)))}{prefix}"


def _prefix(mask: bytes) -> str:
    """`/LENGTH`; "" if the mask is none of a prefix."""
    bits = len(mask) * 8
    holes = int.from_bytes(mask, "big") ^ ((1 << bits) - 1)
    return f"/{bits - holes.bit_length()}" if holes & (holes + 1) == 0 and len(mask) in (4, 16) else ""
