"""/proc/sys/net. It shows the namespace of the thread that opens a file in it: call these inside `setns.entered`.

The kernel looks for net/ipv4 of a namespace in a list of those of all namespaces (10 µs for 100 of them, several times
as long with cold caches). An open folder stays that of its namespace, and there is no list below it.

A container without privileges has /proc/sys read-only. There the variable CNI_CNM_PROC_SYS_NET names another mount of
the host's /proc/sys/net, which shows each thread's own namespace as well.
"""

from __future__ import annotations

import os
from errno import EACCES, EINVAL, ENOENT, EPERM, EROFS

from cni_cnm.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    Folders: TypeAlias = Mapping[str, int]
    """Descriptors of open folders, by their names below /proc/sys/net."""

ENVIRONMENT = "CNI_CNM_PROC_SYS_NET"
_ROOT = f"{os.environ.get(ENVIRONMENT) or '/proc/sys/net'}/"
SIZE_MAX = 4096
"""The kernel limits a value to one page."""
_HINTS = {
    ENOENT: "the kernel has no such key here",
    EROFS: "/proc/sys is mounted read-only here, as in a container without privileges: mount the host's /proc/sys/net "
    f"at another place, and name it in the variable {ENVIRONMENT}",
}


_NONE: Folders = {}


def open_folders() -> Folders:
    """Those of the thread's namespace that the host's keys are in. One that is absent is left out."""
    opened = {}
    for name in ("ipv4", "ipv6"):
        try:
            opened[name] = os.open(f"{_ROOT}{name}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            pass
    return opened


def read(key: str, folders: Folders = _NONE) -> str | None:
    """The value, stripped; None if there is no such key. `folders` are those of the thread's namespace."""
    try:
        return _read(_path(key), folders)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KernelError(f"the sysctl {key} cannot be read: {error.strerror}", error.errno or EINVAL) from error


def write_differing(values: Sequence[tuple[str, str]], *, tolerate: bool, folders: Folders = _NONE) -> None:
    """Write those that differ, in order. KernelError names the key.

    With `tolerate` missing and read-only keys are skipped. `folders` as for `read`.
    """
    for key, value in values:
        path = _path(key)
        try:
            _write_differing(path, value, folders)
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
    return f"{_ROOT}{key.removeprefix('net/')}"


def _open(path: str, mode: int, folders: Folders) -> int:
    name, _, rest = path.removeprefix(_ROOT).partition("/")
    folder = folders.get(name) if rest else None
    return os.open(path if folder is None else rest, mode | os.O_CLOEXEC, dir_fd=folder)


def _read(path: str, folders: Folders) -> str:
    fd = _open(path, os.O_RDONLY, folders)
    try:
        return os.read(fd, SIZE_MAX).decode(errors="replace").strip()
    finally:
        os.close(fd)


def _write_differing(path: str, value: str, folders: Folders) -> None:
    # No O_CREAT, no O_TRUNC: an absent key is an error. Offset 0: the kernel ignores writes at others.
    try:
        fd = _open(path, os.O_RDWR, folders)
    except OSError as error:
        if error.errno in (EROFS, EACCES, EPERM) and _same(path, value, folders):
            return
        if error.errno != EACCES:
            raise
        fd = _open(path, os.O_WRONLY, folders)  # net/ipv4/route/flush can only be written
    try:
        try:
            if os.pread(fd, SIZE_MAX, 0).decode(errors="replace").split() == value.split():
                return
        except OSError:
            pass  # stable_secret cannot be read while it is unset
        os.pwrite(fd, value.encode(), 0)
    finally:
        os.close(fd)


def _same(path: str, value: str, folders: Folders) -> bool:
    try:
        return _read(path, folders).split() == value.split()
    except OSError:
        return False
