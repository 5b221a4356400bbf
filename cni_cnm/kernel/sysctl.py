"""/proc/sys/net. It shows the namespace of the thread that opens a file in it: call these inside `setns.entered`."""

from __future__ import annotations

import os
from errno import EACCES, EINVAL, ENOENT, EPERM, EROFS

from cni_cnm.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SIZE_MAX = 4096
"""The kernel limits a value to one page."""
_HINTS = {
    ENOENT: "the kernel has no such key here",
    EROFS: "/proc/sys is mounted read-only here, as in a container without privileges",
}


def read(key: str) -> str | None:
    """The value, stripped; None if there is no such key."""
    try:
        return _read(_path(key))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KernelError(f"the sysctl {key} cannot be read: {error.strerror}", error.errno or EINVAL) from error


def write_differing(values: Sequence[tuple[str, str]], *, tolerate: bool) -> None:
    """Write those that differ, in order. KernelError names the key.

    With `tolerate` missing and read-only keys are skipped.
    """
    for key, value in values:
        path = _path(key)
        try:
            _write_differing(path, value)
        except OSError as error:
            if tolerate and error.errno in (ENOENT, EROFS, EACCES, EPERM):
                continue
            raise KernelError(
                f"the sysctl {key} cannot be set to {value!r}: {error.strerror}",
                error.errno or EINVAL,
                hint=_HINTS.get(error.errno or 0, ""),
            ) from error


def _path(key: str) -> str:
    parts = key.split("/")
    if len(parts) < 2 or parts[0] != "net" or not all(parts) or "\0" in key or {".", ".."} & set(parts):
        raise KernelError(f"{key!r} is not a sysctl of the network", EINVAL, hint="keys look like net/ipv4/ip_forward")
    return f"/proc/sys/{key}"


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, SIZE_MAX).decode(errors="replace").strip()
    finally:
        os.close(fd)


def _write_differing(path: str, value: str) -> None:
    # No O_CREAT, no O_TRUNC: an absent key is an error. Offset 0: the kernel ignores writes at others.
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (EROFS, EACCES, EPERM) and _same(path, value):
            return
        if error.errno != EACCES:
            raise
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # net/ipv4/route/flush can only be written
    try:
        try:
            if os.pread(fd, SIZE_MAX, 0).decode(errors="replace").split() == value.split():
                return
        except OSError:
            pass  # stable_secret cannot be read while it is unset
        os.pwrite(fd, value.encode(), 0)
    finally:
        os.close(fd)


def _same(path: str, value: str) -> bool:
    try:
        return _read(path).split() == value.split()
    except OSError:
        return False
