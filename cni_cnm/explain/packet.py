"""The packet that is followed: what is known of it, and its bytes as rules see them. Unknown bytes are None."""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from cni_cnm.model import IPAddress

    Bytes: TypeAlias = Sequence[int | None]

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP}
_NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmp"}
NEW, ESTABLISHED, INVALID, UNTRACKED = 8, 2, 1, 64
"""NF_CT_STATE_BIT of each state."""
SRC_NAT, DST_NAT = 0x10, 0x20
"""IPS_SRC_NAT, IPS_DST_NAT: bits of a connection's status."""
SOURCE_PORT = 45000
"""Stands for the port that the kernel chooses, of its usual range (32768 to 60999)."""
_SEEN_REPLY, _ASSURED, _CONFIRMED, _NAT_DONE = 0x02, 0x04, 0x08, 0x180
ARP_TYPE, IPV4_TYPE, IPV6_TYPE = 0x0806, 0x0800, 0x86DD


class Packet(NamedTuple):
    src: IPAddress
    dst: IPAddress
    protocol: int
    sport: int = 0
    """0: not known, or none."""
    dport: int = 0
    reply: bool = False
    mac_src: str = ""
    mac_dst: str = ""
    mark: int = 0
    state: int = NEW
    status: int = 0
    """Bits of the connection's status that rules look at."""
    connection_mark: int = 0
    translated: int = 0
    """DST_NAT and SRC_NAT: chains of the type nat have been called for it, so that no later hook calls them."""
    arp: bool = False
    """It is a question of ARP for `dst`, and no IP packet."""
    broadcast: bool = False
    icmp_type: int = 0
    """0: an echo, or its answer."""

    @property
    def version(self) -> int:
        return self.src.version

    @property
    def family(self) -> str:
        return "ip" if self.version == 4 else "ip6"

    def __str__(self) -> str:
        host = f"[{self.dst}]" if self.version == 6 and self.dport else str(self.dst)
        to = f"{host}:{self.dport}" if self.dport else host
        return f"{_NAMES.get(self.protocol, self.protocol)} {self.src} → {to}"

    def connection_status(self) -> int:
        """As the kernel would have it for this packet."""
        answered = _SEEN_REPLY | _CONFIRMED if self.reply else 0
        return self.status | answered | (_NAT_DONE if self.status or self.reply else 0)


def protocol_name(protocol: int) -> str:
    return _NAMES.get(protocol, str(protocol))


def ethernet(packet: Packet) -> Bytes:
    kind = ARP_TYPE if packet.arp else IPV4_TYPE if packet.version == 4 else IPV6_TYPE
    return [*_mac(packet.mac_dst), *_mac(packet.mac_src), *kind.to_bytes(2, "big")]


def network(packet: Packet) -> Bytes:
    """The IP header, or an ARP request: without length, identification and checksum."""
    if packet.arp:
        head = (0, 1, 8, 0, 6, 4, 0, 1)
        return [*head, *_mac(packet.mac_src), *packet.src.packed, *bytes(6), *packet.dst.packed]
    if packet.version == 4:
        head4: Bytes = [0x45, 0, None, None, None, None, None, None, 64, packet.protocol, None, None]
        return [*head4, *packet.src.packed, *packet.dst.packed]
    head6: Bytes = [0x60, 0, None, None, None, None, packet.protocol, 64]
    return [*head6, *packet.src.packed, *packet.dst.packed]


def transport(packet: Packet) -> Bytes:
    if packet.arp:
        return []
    if packet.protocol in (ICMP, ICMP6):
        kinds = (8, 0) if packet.protocol == ICMP else (128, 129)
        return [packet.icmp_type or kinds[packet.reply], 0, *[None] * 6]
    ports: Bytes = [*_port(packet.sport), *_port(packet.dport)]
    if packet.protocol == TCP:  # a SYN, or its answer
        return [*ports, *[None] * 8, None, 0x12 if packet.reply else 0x02, *[None] * 6]
    return [*ports, *[None] * 4]


def _port(port: int) -> Bytes:
    return list(port.to_bytes(2, "big")) if port else [None, None]


def _mac(mac: str) -> Bytes:
    return list(bytes.fromhex(mac.replace(":", ""))) if mac else [None] * 6
