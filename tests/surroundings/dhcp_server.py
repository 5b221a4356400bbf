"""A DHCP server on one link: `dhcp_server.py IFNAME ADDRESS FIRST` gives ADDRESS's subnet from the number FIRST on.

Prints the MAC of each client that it gives an address to.
"""

from __future__ import annotations

import socket
import struct
import sys

DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
OPTIONS = 240
"""Where they begin in a BOOTP message, behind its cookie."""
SO_BINDTODEVICE = 25


def serve(ifname: str, address: str, first: int) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_REUSEADDR, socket.SO_BROADCAST):
        server.setsockopt(socket.SOL_SOCKET, option, 1)
    server.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, ifname.encode() + b"\0")
    server.bind(("", 67))
    print("ready", flush=True)
    given: dict[bytes, str] = {}
    while True:
        asked = server.recv(2048)
        kind = options(asked).get(53, b"\0")[0]
        if kind not in (DISCOVER, REQUEST):
            continue
        mac = asked[28:34]
        leased = given.setdefault(mac, f"{address.rpartition('.')[0]}.{first + len(given)}")
        own = socket.inet_aton(address)
        answer = bytearray(OPTIONS)
        answer[0:3] = b"\2\1\6"
        answer[4:8], answer[10:12] = asked[4:8], asked[10:12]
        answer[16:20], answer[20:24] = socket.inet_aton(leased), own
        answer[28:44], answer[236:240] = asked[28:44], b"\x63\x82\x53\x63"
        answer += bytes((53, 1, OFFER if kind == DISCOVER else ACK))
        answer += b"\x36\x04" + own + b"\x33\x04" + struct.pack("!I", 3600)
        answer += b"\x01\x04\xff\xff\xff\x00" + b"\x03\x04" + own + b"\xff"
        server.sendto(bytes(answer), ("255.255.255.255", 68))
        if kind == REQUEST:
            print(mac.hex(":"), flush=True)


def options(message: bytes) -> dict[int, bytes]:
    found, at = {}, OPTIONS
    while at < len(message) and message[at] != 255:
        if message[at] == 0:
            at += 1
            continue
        length = message[at + 1]
        found[message[at]] = message[at + 2 : at + 2 + length]
        at += 2 + length
    return found


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
