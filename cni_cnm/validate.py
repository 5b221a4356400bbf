"""Rules for names, MAC addresses and IP addresses, the same in every frontend.

A validator takes text and returns the value in its normal form. Its ValueError says what the text must be; `require`
and `fields.Fields` put the name and the wrong value before it: "gateway is "x", it must be an IP address".
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

from cni_cnm.errors import InvalidConfig, shown
from cni_cnm.model import PARSED_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from cni_cnm.errors import CnmError
    from cni_cnm.model import IPAddress, IPInterface, IPNetwork, Json

    T = TypeVar("T")

NETWORK_NAME_MAX = 200
"""A network's name becomes a file name with suffixes; file systems take 255 bytes."""
OWNER_MAX = 64
INTERFACE_NAME_BYTES = 15

_PUNCTUATION = {ord(character): None for character in "_.-"}
_NAME_RULE = "a name of letters, digits, '_', '.' and '-' that begins with a letter or digit"
_INTERFACE_RULE = f"an interface name: 1 to {INTERFACE_NAME_BYTES} bytes, no '/', ':' or white space, not '.' or '..'"
_RESERVED = ("all", "default")
_FILTER_RULE = (
    "without '\"', not beginning with '!', and not ending in '+' or '*', which packet filters take for a pattern"
)
_KERNEL_RULE = "no '%', which the kernel replaces, and no byte A0, which it takes for white space"
_NEW_INTERFACE_RULE = f"{_INTERFACE_RULE}, in UTF-8, {_KERNEL_RULE}, and not {' or '.join(_RESERVED)}"


def require(parse: Callable[[str], T], raw: Json, what: str, error: type[CnmError] = InvalidConfig) -> T:
    """`parse(raw)`. `error` names `what`, the value and the rule if `raw` is no string or is refused."""
    if not isinstance(raw, str):
        raise error(f"{what} is {shown(raw)}, it must be a string")
    try:
        return parse(raw)
    except ValueError as rule:
        raise error(f"{what} is {shown(raw)}, it must be {rule}") from None


def accepts(parse: Callable[[str], object], text: str) -> bool:
    """Whether `parse` takes the text."""
    try:
        parse(text)
    except ValueError:
        return False
    return True


# names ------------------------------------------------------------------------


def _is_name(text: str) -> bool:
    """Whether it is [a-zA-Z0-9][a-zA-Z0-9_.-]*. `re` would be loaded by each call where no service runs."""
    return text[:1].isalnum() and text.isascii() and text.translate(_PUNCTUATION).isalnum()


def name(text: str) -> str:
    """A name of a container, a driver or an IPAM (CNI SPEC "Parameters": the rule for CNI_CONTAINERID)."""
    if not _is_name(text):
        raise ValueError(_NAME_RULE)
    return text


def network_name(text: str) -> str:
    if not _is_name(text) or len(text) > NETWORK_NAME_MAX:
        raise ValueError(f"{_NAME_RULE}, of at most {NETWORK_NAME_MAX} characters")
    return text


def owner(text: str) -> str:
    """Names with `/` between them, such as `cni/cluster`."""
    if len(text) > OWNER_MAX or not all(_is_name(part) for part in text.split("/")):
        raise ValueError(f"a name of letters, digits, '_', '.', '-' and '/', of at most {OWNER_MAX} characters")
    return text


def interface_name(text: str) -> str:
    """A name the kernel takes for a link (dev_valid_name in net/core/dev.c)."""
    length = len(text.encode(errors="surrogateescape"))
    bad = not 0 < length <= INTERFACE_NAME_BYTES or text in (".", "..")
    if bad or any(character in "/:\0" or character.isspace() for character in text):
        raise ValueError(_INTERFACE_RULE)
    return text


def new_interface_name(text: str) -> str:
    """A name that a new link can have: no pattern (`eth%d`), and not the name of a folder of sysctls for all links.

    Results and records are JSON, so it is UTF-8. The kernel's isspace() takes the byte A0 for white space, also in `à`.
    """
    if not accepts(interface_name, text) or "%" in text or text in _RESERVED or not _is_new(text):
        raise ValueError(_NEW_INTERFACE_RULE)
    return text


def _is_new(text: str) -> bool:
    try:
        return b"\xa0" not in text.encode()
    except UnicodeEncodeError:
        return False


def device_id(text: str) -> str:
    """A PCI address such as 0000:00:03.0, or the name of an auxiliary device, such as mlx5_core.sf.4."""
    if not _is_name(text.replace(":", "_")):
        raise ValueError("a PCI address such as 0000:00:03.0, or the name of an auxiliary device")
    return text


def filter_name(text: str) -> str:
    """A link's name that nftables, iptables and firewalld all take for that one link."""
    if '"' in text or text.startswith("!") or text.endswith(("+", "*")):
        raise ValueError(f"a name {_FILTER_RULE}")
    return text


def absolute_path(text: str) -> str:
    """A path that does not depend on the working directory."""
    if not text.startswith("/"):
        raise ValueError("an absolute path")
    return text


# addresses --------------------------------------------------------------------


def mac(text: str) -> str:
    """A MAC address that a link can have, as lower-case pairs with colons. Takes the spellings of Go's ParseMAC."""
    digits = text.replace(":", "").replace("-", "").replace(".", "").lower()
    if len(digits) != 12 or len(text) not in (14, 17) or not all(digit in "0123456789abcdef" for digit in digits):
        raise ValueError("a MAC address, such as 02:42:0a:01:02:03")
    if int(digits[:2], 16) & 1 or not int(digits, 16):
        raise ValueError("a MAC address of one interface, not multicast and not all zero")
    return ":".join([digits[at : at + 2] for at in range(0, 12, 2)])


@lru_cache(PARSED_MAX)
def address(text: str) -> IPAddress:
    """An IP address without zone. `::ffff:a.b.c.d` is the IPv4 address in it, as in Go."""
    try:
        if ":" not in text:
            return IPv4Address(text)
        found = IPv6Address(text)
    except ValueError:
        raise ValueError("an IP address") from None
    if found.scope_id is not None:
        raise ValueError("an IP address without a zone")
    return found.ipv4_mapped or found


@lru_cache(PARSED_MAX)
def interface(text: str) -> IPInterface:
    """An address with its prefix length, `10.1.2.3/24`. The length is required; a netmask is refused, as in Go."""
    try:
        _require_prefix(text)
        return IPv6Interface(text) if ":" in text else IPv4Interface(text)
    except ValueError:
        raise ValueError("an address with a prefix length, such as 10.1.2.3/24") from None


def address_or_interface(text: str) -> IPAddress | IPInterface:
    """`10.1.2.3` or `10.1.2.3/24`."""
    try:
        return interface(text) if "/" in text else address(text)
    except ValueError:
        raise ValueError("an IP address, such as 10.1.2.3 or 10.1.2.3/24") from None


@lru_cache(PARSED_MAX)
def network(text: str) -> IPNetwork:
    """A network in CIDR notation, without host bits."""
    try:
        return _network(text, strict=True)
    except ValueError:
        raise ValueError(f"a network without host bits, such as {network_of(text)}") from None


@lru_cache(PARSED_MAX)
def network_of(text: str) -> IPNetwork:
    """The network of an address with a prefix length: host bits are dropped, as Docker drops them."""
    try:
        return _network(text, strict=False)
    except ValueError:
        raise ValueError("a network in CIDR notation, such as 10.1.0.0/16") from None


def _network(text: str, *, strict: bool) -> IPNetwork:
    _require_prefix(text)
    return IPv6Network(text, strict) if ":" in text else IPv4Network(text, strict)


def _require_prefix(text: str) -> None:
    """Python also takes an address alone, a netmask, and IPv6 zones. CNI and Docker do not."""
    prefix = text.partition("/")[2]
    if not (prefix.isascii() and prefix.isdigit()) or "%" in text:
        raise ValueError(text)
