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
KILL, SETGID, SETUID, SETPCAP = 5, 6, 7, 8
NET_BIND_SERVICE, NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN = 10, 12, 13, 19, 21
SERVICE = frozenset((CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN))
"""Of the processes that run the engine."""
DOCKER = SERVICE | {NET_BIND_SERVICE}
"""Host ports are held, too."""
AGENT = frozenset((DAC_OVERRIDE, NET_ADMIN))
"""For devices, routes and packet filter of overlay networks, and for records and logs of another owner."""
NAMES = frozenset((CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_PTRACE))
"""For the folders of names, and to start and end name servers of another user."""
EXCHANGE = frozenset((CHOWN, DAC_OVERRIDE))
"""For the folders of names."""
LINKS = frozenset((NET_ADMIN,))
"""For changing links of the own network namespace."""

_PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 8, 38, 47
_RAISE = 2
"""PR_CAP_AMBIENT_RAISE."""
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


def become(uid: int, gid: int, capabilities: Collection[int]) -> None:
    """Become another user for good, with these capabilities, which a program that is executed keeps (ambient).

    For a child between fork and exec. It gets no_new_privs.
    """
    if _libc.prctl(_PR_SET_KEEPCAPS, c_ulong(1), c_ulong(0), c_ulong(0), c_ulong(0)):
        raise _failure("prctl")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    header = (c_uint32 * 2)(_VERSION_3, 0)
    wanted = [sum(1 << (number - 32 * word) for number in capabilities if number // 32 == word) for word in range(2)]
    if _libc.capset(byref(header), byref((c_uint32 * 6)(*(value for value in wanted for _ in range(3))))):
        raise _failure("capset")
    for number in capabilities:
        if _libc.prctl(_PR_CAP_AMBIENT, c_ulong(_RAISE), c_ulong(number), c_ulong(0), c_ulong(0)):
            raise _failure("prctl")
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, c_ulong(1), c_ulong(0), c_ulong(0), c_ulong(0)):
        raise _failure("prctl")


def _failure(call: str) -> OSError:
    number = get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
