"""Two questions that ioctl(2) answers in microseconds: a link's index, and how many ports a bridge has.

By netlink a link's index comes with 1.5 kB of other attributes, and a bridge's ports with as much for each of them.
The socket is one of rtnetlink: these calls take any socket, and ask its namespace.
"""

from __future__ import annotations

from errno import EINVAL, ENODEV, EOPNOTSUPP
from fcntl import ioctl
from struct import Struct

from cni_cnm.errors import KernelError

_SIOCGIFINDEX, _SIOCDEVPRIVATE = 0x8933, 0x89F0
_GET_PORT_LIST = 7
"""BRCTL_GET_PORT_LIST of linux/if_bridge.h."""
_NAME_BYTES = 16
_INDEX = Struct("@16si20x")
_DATA = Struct("@16sP16x")
"""struct ifreq: name, and index or pointer."""
_PORTS = 1024
"""BR_MAX_PORTS."""


def index_of(socket: int, name: str) -> int:
    """0 if there is no link of that name, or alternative name."""
    try:
        return int(_INDEX.unpack(ioctl(socket, _SIOCGIFINDEX, _INDEX.pack(_name(name), 0)))[1])
    except OSError as error:
        if error.errno == ENODEV:
            return 0
        raise KernelError(f"the index of {name} cannot be read: {error.strerror}", error.errno or EINVAL) from error


def port_count(socket: int, bridge: str) -> int:
    """0 for what is no bridge. The kernel fills an array of indexes by port number (net/bridge/br_ioctl.c)."""
    from ctypes import addressof, c_ulong, create_string_buffer

    indexes = create_string_buffer(4 * _PORTS)
    arguments = (c_ulong * 4)(_GET_PORT_LIST, addressof(indexes), _PORTS, 0)
    try:
        ioctl(socket, _SIOCDEVPRIVATE, _DATA.pack(_name(bridge), addressof(arguments)))
    except OSError as error:
        if error.errno in (ENODEV, EOPNOTSUPP, EINVAL):
            return 0
        raise KernelError(
            f"the ports of {bridge} cannot be counted: {error.strerror}", error.errno or EINVAL
        ) from error
    return _PORTS - memoryview(indexes.raw).cast("i").tolist().count(0)


def fits(name: str) -> bool:
    """Whether an ioctl can be asked about the name. Alternative names may be longer."""
    return len(name.encode(errors="surrogateescape")) < _NAME_BYTES


def _name(name: str) -> bytes:
    return name.encode(errors="surrogateescape")
