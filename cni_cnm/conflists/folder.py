"""The folder in which runtimes look for networks: its files in their order, and how a file is put there.

containerd, CRI-O and the kubelet use the first file for all pods, by name. nerdctl, podman and cnitool choose by the
network's name.
"""

from __future__ import annotations

import os
from contextlib import suppress

from cni_cnm.conflists.conflist import Conflist, read
from cni_cnm.errors import CnmError, Conflict, Forbidden, IoFailed, file_hint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "/etc/cni/net.d"
SUFFIXES = (".conf", ".conflist", ".json")
"""Runtimes read no other files (libcni's ConfFiles)."""
_FIRST = ("10", "05", "00")
_BEHIND = ("50", "90", "99")
"""Numbers before the name of a new file, in order of preference."""
_NERDCTL = "nerdctl-"
"""Before the name of a network in the names of nerdctl's files."""
_MODE = 0o644


def names(folder: str) -> list[str]:
    """The files that runtimes read, in their order. None if the folder is absent."""
    try:
        found = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise IoFailed(f"the folder {folder} cannot be read: {error.strerror}", hint=file_hint(error)) from error
    return sorted(name for name in found if name.endswith(SUFFIXES) and os.path.isfile(f"{folder}/{name}"))


def conflists(folder: str) -> Iterator[Conflist]:
    """The files that can be read, in the order of the runtimes. `check` says what is wrong with the others."""
    for name in names(folder):
        with suppress(CnmError):
            yield read(f"{folder}/{name}")


def with_nerdctl(folder: str) -> Iterator[Conflist]:
    """The same, then those of nerdctl 2, which has a subfolder for each of containerd's namespaces.

    Other files of subfolders are left out: they may be copies.
    """
    yield from conflists(folder)
    with suppress(FileNotFoundError):
        for namespace in sorted(os.listdir(folder)):
            below = f"{folder}/{namespace}"
            for name in names(below) if os.path.isdir(below) else ():
                if name.startswith(_NERDCTL):
                    with suppress(CnmError):
                        yield read(f"{below}/{name}")


def of_network(folder: str, network: str) -> list[Conflist]:
    """The files in which this program has a part, and that configure the network of this name."""
    return [one for one in conflists(folder) if one.name == network and one.ours is not None]


def still_configuring(folder: str, network: str) -> list[str]:
    """A sentence for each file that configures a network that was removed. None if the folder cannot be read."""
    with suppress(CnmError):
        return [
            f"{one.path} still configures the network {network}, and the next container makes it again"
            for one in of_network(folder, network)
        ]
    return []


def new_path(folder: str, network: str, *, first: bool) -> str:
    """Where the file of a new network goes: before all others, or behind at least one.

    Raises:
        Conflict: a file of the folder configures a network of that name.
        Forbidden: no name that begins with two digits has that place.
    """
    for one in conflists(folder):
        if one.name == network:
            raise Conflict(
                f"{one.path} configures a network {network} already", hint="choose another name, or edit that file"
            )
    present = names(folder)
    for number in _FIRST if first else _BEHIND:
        name = f"{number}-{network}.conflist"
        if name not in present and (not present or name < present[0]) == first:
            return f"{folder}/{name}"
    if first:
        raise Forbidden(
            f"{folder}/{present[0]} comes before any name that a new file can have",
            hint=f"rename it, for example to 50-{present[0].lstrip('0123456789-')}",
        )
    at = f"{folder} has no other file" if not present else f"it would come before {folder}/{present[0]}"
    raise Forbidden(
        f"the file of the network {network} would be the first: {at}. containerd and CRI-O would then use it for all "
        "pods",
        hint="--default permits that",
    )


def create(path: str, data: bytes) -> None:
    """Make a file, complete at once, in a folder that is made if it is missing.

    Raises:
        Conflict: there is a file of that name.
        IoFailed: it cannot be written; nothing is left of it.
    """
    folder = os.path.dirname(path)
    try:
        with suppress(FileExistsError):
            os.makedirs(folder, 0o755)
        temporary = _write_beside(path, data, _MODE)
        try:
            os.link(temporary, path)
        except FileExistsError as error:
            raise Conflict(f"there is a file {path} already") from error
        finally:
            os.unlink(temporary)
        _flush(folder)
    except OSError as error:
        raise IoFailed(f"{path} cannot be written: {error.strerror}", hint=file_hint(error)) from error


def replace(path: str, data: bytes) -> None:
    """Replace what a file has: a runtime reads the old content or the new one. IoFailed if that cannot be done.

    A symbolic link stays: the file that it leads to is replaced.
    """
    target = os.path.realpath(path)
    try:
        before = os.stat(target)
        temporary = _write_beside(target, data, before.st_mode & 0o777)
        try:
            os.chown(temporary, before.st_uid, before.st_gid)
            os.rename(temporary, target)
        except OSError:
            os.unlink(temporary)
            raise
        _flush(os.path.dirname(target))
    except OSError as error:
        raise IoFailed(f"{path} cannot be written: {error.strerror}", hint=file_hint(error)) from error


def _write_beside(path: str, data: bytes, mode: int) -> str:
    """A temporary file in the same folder, of a name that runtimes do not read."""
    temporary = f"{os.path.dirname(path)}/.{os.path.basename(path)}.{os.getpid()}.new"
    with suppress(FileNotFoundError):  # of an earlier process of this id
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        os.unlink(temporary)
        raise
    return temporary


def _flush(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
