"""What a child of the service may do: capabilities(7) and no_new_privs (prctl(2)).

A child never gets more than the service has: systemd's unit limits that already (conf/cni-cnm.service).
"""

from __future__ import annotations

import os
from ctypes import CDLL, byref, c_uint32, c_ulong, get_errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER = 0, 1, 2, 3
NET_BIND_SERVICE, NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN = 10, 12, 13, 19, 21
SERVICE = frozenset((CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN))
"""Of the processes that run the engine."""
DOCKER = SERVICE | {NET_BIND_SERVICE}
"""Host ports are held, too."""
AGENT = frozenset((DAC_OVERRIDE, NET_ADMIN))
"""For devices, routes and packet filter of overlay networks, and for records and logs of another owner."""
LINKS = frozenset((NET_ADMIN,))
"""For changing links of the own network namespace."""

_PR_SET_NO_NEW_PRIVS = 38
_VERSION_3 = 0x20080522
_libc = CDLL(None, use_errno=True)


def has(capability: int) -> bool:
    """Whether it is in force for the calling thread."""
    header = (c_uint32 * 2)(_VERSION_3, 0)
    had = (c_uint32 * 6)()
    if _libc.capget(byref(header), byref(had)):
        raise _failure("capget")
    return bool(had[3 * (capability // 32)] >> capability % 32 & 1)


def keep(capabilities: Collection[int], *, executes: bool) -> None:
    """Give up all other capabilities.

    Programs that the process `executes` as root have those of its bounding set, which stays: an IPAM executable is
    allowed what a runtime would allow it. Without any, no_new_privs makes it for good.
    """
    if not executes and _libc.prctl(_PR_SET_NO_NEW_PRIVS, c_ulong(1), c_ulong(0), c_ulong(0), c_ulong(0)):
        raise _failure("prctl")
    header = (c_uint32 * 2)(_VERSION_3, 0)
    had = (c_uint32 * 6)()
    if _libc.capget(byref(header), byref(had)):
        raise _failure("capget")
    for word in range(2):
        wanted = sum(1 << (number - 32 * word) for number in capabilities if number // 32 == word)
        for place in range(3):  # effective, permitted, inheritable
            had[3 * word + place] &= wanted
    if _libc.capset(byref(header), byref(had)):
        raise _failure("capset")


def _failure(call: str) -> OSError:
    number = get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
