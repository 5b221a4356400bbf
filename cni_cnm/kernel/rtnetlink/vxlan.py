"""Messages about VXLAN devices: values to the bytes of requests, the kernel's bytes to values. Opens no socket."""

from __future__ import annotations

from _socket import htons
from ipaddress import IPv4Address, IPv6Address

from cni_cnm.kernel.contract.overlay_stack import Vxlan
from cni_cnm.kernel.netlink.nlattr import number, pack, pack_number, places, raw
from cni_cnm.kernel.rtnetlink import links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import IPAddress

_ID, _LOCAL, _LEARNING, _PORT, _LOCAL6 = 1, 4, 7, 15, 17
"""IFLA_VXLAN_… of linux/if_link.h."""
_U16, _U8 = 2, 1
KIND = "vxlan"


def created(name: str, vxlan: Vxlan, mac: str, mtu: int) -> bytes:
    data = pack_number(_ID, vxlan.vni) + pack_number(_PORT, htons(vxlan.port), _U16)
    data += pack_number(_LEARNING, vxlan.learning, _U8)
    if vxlan.local is not None:
        data += _local(vxlan.local)
    return links.message(attributes=links.created(name, mac, mtu) + links.info(KIND, data))


def moved(index: int, vni: int, local: IPAddress) -> bytes:
    """The request that changes the source address. The kernel wants the VNI, which stays."""
    return links.message(index, links.info(KIND, pack_number(_ID, vni) + _local(local)))


def read(data: bytes, offset: int) -> Vxlan | None:
    """Of a link's message; None for another kind."""
    kind, inside = links.kind_data(data, offset)
    if kind != KIND:
        return None
    found = places(data, *inside)
    local: IPAddress | None = None
    if _LOCAL in found:
        local = IPv4Address(raw(data, found[_LOCAL]))
    elif _LOCAL6 in found:
        local = IPv6Address(raw(data, found[_LOCAL6]))
    port = number(data, found.get(_PORT), "big")
    return Vxlan(number(data, found.get(_ID)), port, local, bool(number(data, found.get(_LEARNING))))


def _local(address: IPAddress) -> bytes:
    return pack(_LOCAL if address.version == 4 else _LOCAL6, address.packed)
