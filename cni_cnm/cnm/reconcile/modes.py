"""Folders and files of ours that any user may write to. Earlier versions made folders with the caller's umask.

Who can write there can place a lease, a record or a link in the place of one. Requests do not look: modes stay as they
are made, so this is compared when everything is.
"""

from __future__ import annotations

import os
import stat

from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.cnm.records import network_records
from cni_cnm.errors import IoFailed, file_hint
from cni_cnm.fields import Fields
from cni_cnm.ipam import host_local
from cni_cnm.ipam.leases import HOST_LOCAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.reconcile.changed import Changed

_DEPTH = 2
"""Levels below the folders of records and leases: `networks/NET/ADDRESS`."""
_SHARED_PARENT = "cni"
"""`/var/lib/cni`: made for leases, by whichever plugin was first."""


def compare(host: Host, changed: Changed) -> Iterator[Difference]:
    for path in dict.fromkeys(_paths(host)) if changed.everything else ():
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if _is_open(status):
            found = f"any user may write to it (mode {stat.S_IMODE(status.st_mode):04o})"
            yield Difference(path, found, path, stays=status.st_uid != os.geteuid())


def repair(host: Host, difference: Difference) -> str:  # noqa: ARG001
    """Take the right to write from all but the owner. The descriptor is of what was looked at, and of no link."""
    try:
        descriptor = os.open(difference.key, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise IoFailed(f"{difference.key} cannot be opened: {error.strerror}", hint=file_hint(error)) from error
    try:
        status = os.fstat(descriptor)
        if not _is_open(status) or status.st_uid != os.geteuid():
            return ""
        mode = stat.S_IMODE(status.st_mode) & ~0o022
        os.fchmod(descriptor, mode)
    except OSError as error:
        raise IoFailed(f"the mode of {difference.key} cannot be changed: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return f"its mode is {mode:04o} now"


def _is_open(status: os.stat_result) -> bool:
    """A folder with the sticky bit, as /tmp, is meant for all."""
    kind = stat.S_ISREG(status.st_mode) or (stat.S_ISDIR(status.st_mode) and not status.st_mode & stat.S_ISVTX)
    return kind and bool(status.st_mode & stat.S_IWOTH)


def _paths(host: Host) -> Iterator[str]:
    """Outer folders first: when one is closed, nothing new appears in it."""
    settings = host.settings
    parent = os.path.dirname(settings.leases_dir)
    if os.path.basename(parent) == _SHARED_PARENT:
        yield parent
    for folder in (settings.run_dir, settings.state_dir, settings.leases_dir):
        yield from _tree(folder, _DEPTH)
    for record in network_records(host.store):
        if record.ipam_type == HOST_LOCAL:
            yield from _tree(host_local.folder_of(record.name, Fields(record.ipam, "ipam."), host), 1)


def _tree(folder: str, depth: int) -> Iterator[str]:
    """The folder and what is below it, if other users get there. Links are not followed."""
    yield folder
    try:
        if not os.lstat(folder).st_mode & stat.S_IXOTH:
            return
        with os.scandir(folder) as entries:
            inside = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return
    for path, is_folder in inside:
        if is_folder and depth > 1:
            yield from _tree(path, depth - 1)
        else:
            yield path
